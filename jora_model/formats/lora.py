"""LoRA adapters: initialization, and reading and writing PEFT's format."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from jora_model.formats.peft_format import PeftAdapter, tensor_name
from jora_model.spec.config import ModelConfig
from jora_model.spec.hf_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from jora_model.spec.parameters import LINEAR_BY_NAME, dim_sizes, targets_of
from jora_model.spec.settings import LoraSettings
from user_error import UserError


def fresh_adapter(config: ModelConfig, lora: LoraSettings, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return a new adapter with PEFT's initialization: A Kaiming-uniform (a=sqrt(5)), B zero; float32.

    Returns:
        target -> (A `[L, R, in]`, B `[L, out, R]`). PEFT draws A from U(-b, b), b = sqrt(6 / ((1 + 5) in))
        (torch.nn.init.kaiming_uniform_). Drawn on the host, so that it does not depend on the mesh.
    """
    sizes, targets = dim_sizes(config), targets_of(config, lora.target_modules)
    factors = {}
    for index, (target, parameter) in enumerate(LINEAR_BY_NAME.items()):
        if target not in targets:
            continue
        out, inner = (sizes[dim] for dim in parameter.dims)
        # Keyed by the target's index in the table, so that a target's A does not depend on the other targets.
        random = np.random.default_rng([seed, index])
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
    """Write an adapter in PEFT's format; the same factors give the same bytes."""
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
        "target_modules": sorted(factors),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": lora.use_rslora,
    }
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / ADAPTER_CONFIG).write_text(text, encoding="utf-8")


def read_adapter_settings(folder: Path) -> LoraSettings:
    """Return an adapter's settings, with one rank and one scale even if PEFT's patterns set several.

    Raises:
        UserError: the adapter is missing or damaged, or uses a PEFT feature that is not implemented (named).
    """
    return PeftAdapter(folder).settings


def read_adapter(folder: Path, config: ModelConfig) -> tuple[LoraSettings, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return a PEFT adapter's settings and its factors, target -> (A `[L, R, in]`, B `[L, out, R]`).

    Layers and ranks that the adapter lacks are zeros, and stay zero in training.

    Raises:
        UserError: as `read_adapter_settings`; a tensor is missing, unknown or has the wrong shape (named).
    """
    adapter = PeftAdapter(folder)
    lora, sizes = adapter.settings, dim_sizes(config)
    wanted = set(adapter.expected(config.num_layers))
    for module in sorted(wanted - set(adapter.modules)):
        raise UserError(f"{adapter.path} lacks {tensor_name(*module, 'A')}; is it an adapter of this base model?")
    for module in sorted(set(adapter.modules) - wanted):
        raise UserError(
            f"{adapter.path} holds unknown tensors: {tensor_name(*module, 'A')}; is it an adapter of this base model?"
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


def check_start(folder: Path, own: LoraSettings, lora: LoraSettings) -> LoraSettings:
    """Return `lora`, the settings to continue training an adapter with, after checking them against its `own`.

    Only the dropout may differ.

    Raises:
        UserError: names a setting that differs, and shows how to set all of them.
    """
    for name in ("rank", "alpha", "use_rslora", "target_modules"):
        theirs, ours = (getattr(settings, name) for settings in (own, lora))
        if theirs != ours:
            raise UserError(
                f"the adapter {folder} has {name} {_shown(theirs)} and lora.{name} is {_shown(ours)}; to train it "
                f"further: --set lora.rank={own.rank} --set lora.alpha={_shown(own.alpha)} "
                f"--set lora.use_rslora={str(own.use_rslora).lower()} "
                f"--set lora.target_modules={_shown(own.target_modules)}"
            )
    return lora


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
