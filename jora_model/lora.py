"""Adapters: made fresh, written and read in PEFT's format (`adapter_config.json`, `adapter_model.safetensors`)."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load_file, save_file

from jora_model.config import ModelConfig
from jora_model.parameters import LINEAR_BY_NAME, dim_sizes
from jora_model.settings import LoraSettings

if TYPE_CHECKING:
    from jora_model.model import Llama

_PREFIX = "base_model.model."
# What PEFT's config may hold without changing the arithmetic that is implemented here.
_ONLY = {"bias": "none", "use_dora": False, "fan_in_fan_out": False}


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


def adapter_factors(model: "Llama") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The adapter of a model on the host: target -> (A `[L, R, in]`, B `[L, out, R]`). Of several processes, all must
    call this."""
    from jora_model.distributed import whole  # here, so that JAX stays out of what reads settings

    found = {}
    for target in LINEAR_BY_NAME:
        linear = getattr(model.layers, target)
        if linear.adapted:
            found[target] = (whole(linear.lora_a[...]), whole(linear.lora_b[...]).swapaxes(1, 2))
    return found


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
        stem = LINEAR_BY_NAME[target].hf.removesuffix(".weight")
        for layer in range(a.shape[0]):
            name = _PREFIX + stem.format(layer=layer)
            tensors[f"{name}.lora_A.weight"] = np.ascontiguousarray(a[layer])
            tensors[f"{name}.lora_B.weight"] = np.ascontiguousarray(b[layer])
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
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
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")


def read_adapter_settings(folder: Path) -> LoraSettings:
    """The settings that an adapter was trained with, from its own config.

    Raises:
        ValueError: no adapter there, or it uses a PEFT feature that is not implemented (named).
    """
    path = Path(folder) / "adapter_config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no adapter_config.json; a PEFT adapter folder does") from None
    for key, only in _ONLY.items():
        if config.get(key, only) != only:
            raise ValueError(f"{path}: {key}={config[key]!r} is not implemented; only {only!r} is")
    for key in ("rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform"):
        if config.get(key):
            raise ValueError(f"{path}: {key} is not implemented; train without it")
    targets = config["target_modules"]
    return LoraSettings(
        rank=config["r"],
        alpha=config["lora_alpha"],
        use_rslora=config.get("use_rslora", False),
        dropout=config.get("lora_dropout", 0.0),
        target_modules=(targets,) if isinstance(targets, str) else tuple(targets),
    )


def read_adapter(folder: Path, config: ModelConfig) -> tuple[LoraSettings, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Read a PEFT adapter for a model: its settings and target -> (A `[L, R, in]`, B `[L, out, R]`).

    Raises:
        ValueError: a tensor is missing, unknown or of another shape; the message names it.
    """
    lora = read_adapter_settings(folder)
    path = Path(folder) / "adapter_model.safetensors"
    if not path.exists():
        raise ValueError(f"{folder} holds no adapter_model.safetensors")
    tensors = load_file(path)
    sizes = dim_sizes(config)
    factors = {}
    for target in lora.target_modules:
        parameter = LINEAR_BY_NAME[target]
        out, inner = (sizes[dim] for dim in parameter.dims)
        stem = _PREFIX + parameter.hf.removesuffix(".weight")
        pair = []
        for letter, shape in (("A", (lora.rank, inner)), ("B", (out, lora.rank))):
            stack = []
            for layer in range(config.num_layers):
                name = f"{stem.format(layer=layer)}.lora_{letter}.weight"
                if name not in tensors:
                    raise ValueError(f"{path} lacks {name}; is it an adapter of this base model?")
                tensor = tensors.pop(name)
                if tensor.shape != shape:
                    raise ValueError(f"{path}: {name} has shape {tensor.shape}; the base model needs {shape}")
                stack.append(tensor.astype(np.float32))
            pair.append(np.stack(stack))
        factors[target] = (pair[0], pair[1])
    if tensors:
        raise ValueError(f"{path} holds unknown tensors: {', '.join(sorted(tensors)[:3])}")
    return lora, factors
