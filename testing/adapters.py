"""Adapters that change what a model answers."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from jora_model.formats.hf_weights import facts_and_weights
from jora_model.formats.lora import fresh_adapter, write_adapter
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import LINEAR_BY_NAME
from jora_model.spec.settings import LoraSettings


def nonzero_adapter(
    folder: Path, base: Path | ModelConfig, lora: LoraSettings, *, seed: int = 1, spread: float = 0.1
) -> Path:
    """Write an adapter of a base model with normal values of this spread in B, which is zero before training.

    With DoRA, its magnitudes are the lengths of the weights' rows times numbers around one.

    Returns:
        `folder`.
    """
    random = np.random.default_rng(seed)
    config = base if isinstance(base, ModelConfig) else ModelConfig.read(base)
    fresh = fresh_adapter(config, lora, seed)
    factors = {name: (a, random.normal(0, spread, b.shape).astype(np.float32)) for name, (a, b) in fresh.items()}
    magnitudes = {}
    if lora.use_dora:
        assert isinstance(base, Path)
        for name, lengths in lengths_of(base, factors).items():
            magnitudes[name] = lengths * random.uniform(0.7, 1.3, lengths.shape).astype(np.float32)
    write_adapter(folder, factors, lora, "elsewhere", magnitudes)
    return folder


def lengths_of(base: Path, targets: Iterable[str]) -> dict[str, np.ndarray]:
    """The lengths of the rows of a base model's linears, `[L, out]`, from its files."""
    config, checkpoint = facts_and_weights(base)
    return {
        name: np.stack(
            [
                np.linalg.norm(checkpoint.slice(each)[:].astype(np.float32), axis=1)
                for each in LINEAR_BY_NAME[name].hf_names(config.num_layers)
            ]
        )
        for name in targets
    }
