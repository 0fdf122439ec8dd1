"""Adapters: made fresh, written and read in PEFT's format (`adapter_config.json`, `adapter_model.safetensors`)."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from jora_model.formats.peft_format import PeftAdapter, tensor_name
from jora_model.spec.config import ModelConfig
from jora_model.spec.hf_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from jora_model.spec.parameters import LINEAR_BY_NAME, dim_sizes
from jora_model.spec.settings import LoraSettings
from user_error import UserError


def fresh_adapter(config: ModelConfig, lora: LoraSettings, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A new adapter that changes nothing: A Kaiming-uniform (a=sqrt(5)) as in PEFT, B zero; float32.

    Returns:
        target -> (A `[L, R, in]`, B `[L, out, R]`). PEFT draws A from U(-b, b), b = sqrt(6 / ((1 + 5) in))
        (torch.nn.init.kaiming_uniform_). Drawn on the host, so that every mesh starts from the same numbers.
    """
    sizes = dim_sizes(config)
    factors = {}
    for place, (target, parameter) in enumerate(LINEAR_BY_NAME.items()):
        if target not in lora.target_modules:
            continue
        out, inner = (sizes[dim] for dim in parameter.dims)
        # Keyed by the target's place in the table: another choice of targets leaves a layer's A as it was.
        random = np.random.default_rng([seed, place])
        bound = 1.0 / math.sqrt(inner)
        a = random.uniform(-bound, bound, (config.num_layers, lora.rank, inner)).astype(np.float32)
        factors[target] = (a, np.zeros((config.num_layers, out, lora.rank), np.float32))
    return factors


def write_adapter(
    folder: Path,
    factors: Mapping[str, tuple[np.ndarray, np.ndarray]],
    lora: LoraSettings,
    base_name: str,
) -> None:
    """Write an adapter as PEFT does; the same factors give the same bytes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for target, (a, b) in factors.items():
        for layer in range(a.shape[0]):
            tensors[tensor_name(target, layer, "A")] = np.ascontiguousarray(a[layer])
            tensors[tensor_name(target, layer, "B")] = np.ascontiguousarray(b[layer])
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = {
        "base_model_name_or_path": base_name,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "peft_type": "LORA",
        "r": lora.rank,
        "target_modules": sorted(lora.target_modules),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": lora.use_rslora,
    }
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / ADAPTER_CONFIG).write_text(text, encoding="utf-8")


def read_adapter_settings(folder: Path) -> LoraSettings:
    """The settings that an adapter was trained with: one rank and one scale, also where PEFT's patterns give several.

    Raises:
        UserError: no adapter there, a damaged one, or a PEFT feature that is not implemented (named).
    """
    return PeftAdapter(folder).settings


def read_adapter(folder: Path, config: ModelConfig) -> tuple[LoraSettings, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Read a PEFT adapter, ours or others', for a model: its settings and target -> (A `[L, R, in]`, B `[L, out, R]`).

    Layers and ranks that the adapter leaves out are zeros; training leaves them so.

    Raises:
        UserError: as `read_adapter_settings`; a tensor is missing, unknown or of another shape; the message names it.
    """
    adapter = PeftAdapter(folder)
    lora, sizes = adapter.settings, dim_sizes(config)
    wanted = set(adapter.expected(config.num_layers))
    for place in sorted(wanted - set(adapter.modules)):
        raise UserError(f"{adapter.path} lacks {tensor_name(*place, 'A')}; is it an adapter of this base model?")
    for place in sorted(set(adapter.modules) - wanted):
        raise UserError(
            f"{adapter.path} holds unknown tensors: {tensor_name(*place, 'A')}; is it an adapter of this base model?"
        )
    factors = {}
    for target in lora.target_modules:
        out, inner = (sizes[dim] for dim in LINEAR_BY_NAME[target].dims)
        a = np.zeros((config.num_layers, lora.rank, inner), np.float32)
        b = np.zeros((config.num_layers, out, lora.rank), np.float32)
        for layer in range(config.num_layers):
            if (target, layer) not in wanted:
                continue
            rank = adapter.modules[target, layer].rank
            for letter, shape in (("A", (rank, inner)), ("B", (out, rank))):
                if (given := adapter.shape(target, layer, letter)) != shape:
                    name = tensor_name(target, layer, letter)
                    raise UserError(f"{adapter.path}: {name} has shape {given}; the base model needs {shape}")
            a[layer], b[layer] = adapter.factors(target, layer)
        factors[target] = (a, b)
    return lora, factors


def check_start(folder: Path, found: LoraSettings, lora: LoraSettings) -> LoraSettings:
    """The settings to train an adapter further with, which are its own but for the dropout.

    Raises:
        UserError: they differ; says which, and how to set all of them.
    """
    for name in ("rank", "alpha", "use_rslora", "target_modules"):
        theirs, ours = (getattr(settings, name) for settings in (found, lora))
        if theirs != ours:
            raise UserError(
                f"the adapter {folder} has {name} {_shown(theirs)} and lora.{name} is {_shown(ours)}; to train it "
                f"further: --set lora.rank={found.rank} --set lora.alpha={_shown(found.alpha)} "
                f"--set lora.use_rslora={str(found.use_rslora).lower()} "
                f"--set lora.target_modules={_shown(found.target_modules)}"
            )
    return lora


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
