"""The reference for training: PEFT, one example at a time."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import peft
import torch
import transformers

from jora_model.model.load import adapter_factors, adapter_magnitudes
from jora_model.model.transformer import Transformer
from jora_model.packing.sequences import Sequence

Factors = dict[str, tuple[np.ndarray, np.ndarray]]


def answer_losses(model: torch.nn.Module, sequence: Sequence) -> torch.Tensor:
    """Cross entropy of each trainable token of one example."""
    tokens = torch.tensor(sequence.tokens, dtype=torch.long)
    logits = model(tokens[None]).logits[0, :-1].float()
    losses = torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="none")
    return losses[torch.tensor(sequence.loss_mask[1:])]


def stacked(tensors: dict[str, torch.Tensor]) -> Factors:
    """PEFT's tensors by name as target -> (A `[L, R, in]`, B `[L, out, R]`)."""
    by_target: dict[str, tuple[dict[int, np.ndarray], dict[int, np.ndarray]]] = {}
    for name, value in tensors.items():
        if match := re.search(r"\.layers\.(\d+)\.\w+\.(\w+)\.lora_([AB])\.", name):
            pair = by_target.setdefault(match[2], ({}, {}))
            pair["AB".index(match[3])][int(match[1])] = value.detach().float().numpy()

    def stack(layers: dict[int, np.ndarray]) -> np.ndarray:
        return np.stack([layers[layer] for layer in sorted(layers)])

    return {target: (stack(a), stack(b)) for target, (a, b) in by_target.items()}


def stacked_magnitudes(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """DoRA's magnitudes by PEFT's names as target -> m `[L, out]`."""
    by_target: dict[str, dict[int, np.ndarray]] = {}
    for name, value in tensors.items():
        if match := re.search(r"\.layers\.(\d+)\.\w+\.(\w+)\.lora_magnitude_vector\.", name):
            by_target.setdefault(match[2], {})[int(match[1])] = value.detach().float().numpy()
    return {target: np.stack([layers[layer] for layer in sorted(layers)]) for target, layers in by_target.items()}


def weights_of_adapter(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[np.ndarray, ...]]:
    """PEFT's tensors by name as target -> A, B, and m if there is one; see `our_weights`."""
    return _joined(stacked(tensors), stacked_magnitudes(tensors))


def our_weights(model: Transformer) -> dict[str, tuple[np.ndarray, ...]]:
    """A model's adapter as target -> A, B, and m with DoRA."""
    return _joined(adapter_factors(model), adapter_magnitudes(model))


def _joined(factors: Factors, magnitudes: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, ...]]:
    return {
        target: (*pair, *([magnitudes[target]] if target in magnitudes else [])) for target, pair in factors.items()
    }


def loss_and_gradients(
    model: transformers.PreTrainedModel,
    adapter: Path,
    sequences: list[Sequence],
    prepare: Callable[[torch.nn.Module, int], None] = lambda model, number: None,
) -> tuple[float, dict[str, tuple[np.ndarray, ...]]]:
    """Sum of the losses over all trainable tokens, and its gradient, by PEFT in the model's dtype.

    Args:
        prepare: called with PEFT's model and the number of each example before it runs.
    """
    tuned = peft.PeftModel.from_pretrained(model, adapter, is_trainable=True)
    tuned.train()
    total = 0.0
    for number, sequence in enumerate(sequences):
        prepare(tuned, number)
        loss = answer_losses(tuned, sequence).sum()
        loss.backward()
        total += loss.item()
    return total, weights_of_adapter({name: p.grad for name, p in tuned.named_parameters() if p.grad is not None})
