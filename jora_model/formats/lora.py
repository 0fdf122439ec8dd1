"""LoRA adapters: initialization, and reading and writing PEFT's format."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from jora_model.formats.fitted_adapter import FittedAdapter, WithReplaced
from jora_model.formats.hf_weights import facts_and_weights
from jora_model.formats.peft_format import PeftAdapter, tensor_name
from jora_model.formats.peft_names import PREFIX
from jora_model.spec.config import ModelConfig
from jora_model.spec.hf_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from jora_model.spec.parameters import EMBED, HEAD, LINEAR_BY_NAME, dim_sizes, parameters_of, targets_of
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
    magnitudes: Mapping[str, np.ndarray] | None = None,
    whole: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write an adapter in PEFT's format; the same factors give the same bytes.

    Args:
        magnitudes: of DoRA, target -> `[L, out]`, NaN where a layer has no adapter, which is left out then.
        whole: Hugging Face name -> a weight in place of the base's, which PEFT calls a module to save.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, np.ndarray] = {}
    modules, adapted = [], _adapted(factors, magnitudes or {})
    for target, (a, b) in factors.items():
        lengths = (magnitudes or {}).get(target)
        for layer in range(a.shape[0]):
            if (module := LINEAR_BY_NAME[target].module(layer)) not in adapted:
                continue
            if lengths is not None:
                tensors[f"{PREFIX}{module}.lora_magnitude_vector"] = np.ascontiguousarray(lengths[layer])
            tensors[tensor_name(module, "A")] = np.ascontiguousarray(a[layer])
            tensors[tensor_name(module, "B")] = np.ascontiguousarray(b[layer])
    all_layers = len(adapted) == sum(len(a) for a, _ in factors.values())
    for name, weight in (whole or {}).items():
        module, _, kind = name.rpartition(".")
        if module in adapted:
            tensors[f"{PREFIX}{module}.base_layer.{kind}"] = weight
        else:
            modules.append(module)
            tensors[f"{PREFIX}{name}"] = weight
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
        "target_modules": sorted(factors if all_layers else adapted),
        "task_type": "CAUSAL_LM",
        "use_dora": bool(magnitudes),
        "use_rslora": lora.use_rslora,
    }
    if modules:
        config["modules_to_save"] = sorted(set(modules))
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / ADAPTER_CONFIG).write_text(text, encoding="utf-8")


def _adapted(factors: Mapping[str, tuple[np.ndarray, np.ndarray]], magnitudes: Mapping[str, np.ndarray]) -> set[str]:
    """The modules that have factors; with DoRA, those that have a magnitude."""
    return {
        LINEAR_BY_NAME[target].module(layer)
        for target, (a, _) in factors.items()
        for layer in range(len(a))
        if target not in magnitudes or not np.isnan(magnitudes[target][layer]).any()
    }


def import_adapter(folder: Path, base: Path, target: Path, base_name: str) -> None:
    """Write an adapter of others in the form that training writes: one rank, one scale, float32.

    Raises:
        UserError: it is not an adapter of this base model, or uses a feature of PEFT that is not implemented.
    """
    config, checkpoint = facts_and_weights(base)
    fitted = FittedAdapter(folder, config, checkpoint)
    tensors = WithReplaced(checkpoint, fitted.replaced)
    names = {name for p in parameters_of(fitted.config) for name in p.hf_names(config.num_layers)}
    adapted = _adapted(fitted.factors, fitted.magnitudes)
    wanted = set(fitted.replaced.names)
    for module in {name.rpartition(".")[0] for name in wanted} - adapted:  # PEFT saves a module with its bias
        wanted |= {f"{module}.weight", f"{module}.bias"} & names
    whole = {name: tensors.slice(name)[:].astype(np.float32) for name in sorted(wanted)}
    if EMBED.hf in whole and fitted.config.tie_embeddings:
        # PEFT trains copies of modules: the head would stay as it was.
        whole[HEAD.hf] = whole[EMBED.hf]
    write_adapter(target, fitted.factors, fitted.lora, base_name, fitted.magnitudes, whole)


def read_adapter_settings(folder: Path) -> LoraSettings:
    """Return an adapter's settings, with one rank and one scale even if PEFT's patterns set several.

    Raises:
        UserError: the adapter is missing or damaged, or uses a PEFT feature that is not implemented (named).
    """
    return PeftAdapter(folder).settings


def check_adapter(folder: Path, config: ModelConfig) -> None:
    """Check by headers that an adapter fits a base model; raises UserError as `FittedAdapter`."""
    FittedAdapter(folder, config, headers_only=True)


def read_adapter(folder: Path, config: ModelConfig) -> tuple[LoraSettings, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return the settings and factors of an adapter that is LoRA on linears and nothing else.

    Returns:
        target -> (A `[L, R, in]`, B `[L, out, R]`). Layers and ranks that it lacks are zeros, and stay so in training.

    Raises:
        UserError: as `FittedAdapter`; it has DoRA or weights in place of the base's.
    """
    fitted = FittedAdapter(folder, config)
    if (beyond := PeftAdapter(folder).beyond_lora) is not None:
        raise UserError(f"{fitted.path} holds {beyond}, which is more than LoRA on linears")
    return fitted.lora, fitted.factors


def check_start(folder: Path, own: LoraSettings, lora: LoraSettings) -> LoraSettings:
    """Return `lora`, the settings to continue training an adapter with, after checking them against its `own`.

    Only the dropout may differ.

    Raises:
        UserError: it is more than LoRA or DoRA on linears; or names a setting that differs, and shows how to set all.
    """
    PeftAdapter(folder.expanduser()).check_trainable()
    for name in ("rank", "alpha", "use_rslora", "use_dora", "target_modules"):
        theirs, ours = (getattr(settings, name) for settings in (own, lora))
        # Of targets the order means nothing: that of a model with fused projections is not that of the table.
        if theirs != ours and not (name == "target_modules" and set(theirs) == set(ours)):
            raise UserError(
                f"the adapter {folder} has {name} {_shown(theirs)} and lora.{name} is {_shown(ours)}; to train it "
                f"further: --set lora.rank={own.rank} --set lora.alpha={_shown(own.alpha)} "
                f"--set lora.use_rslora={str(own.use_rslora).lower()} --set lora.use_dora={str(own.use_dora).lower()} "
                f"--set lora.target_modules={_shown(own.target_modules)}"
            )
    return lora


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
