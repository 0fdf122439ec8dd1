"""A PEFT adapter folder as others write it: what its config means, and which tensors belong to which layer.

The arithmetic of PEFT's LoRA (tuners/lora) is honoured where it can be written as one rank and one scale for the whole
adapter: `rank_pattern` by rows of zeros, `alpha_pattern` by a factor on B, `layers_to_transform` by zeros. Whatever
else changes a logit is refused by name.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from jora_model.spec.parameters import LINEAR_BY_NAME
from jora_model.spec.settings import ALL_LINEAR, LoraSettings
from user_error import UserError

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
PREFIX = "base_model.model."
# What changes the arithmetic, with the only value that is implemented (None and empty count as absent).
_ONLY = {"bias": "none", "peft_type": "LORA", "task_type": "CAUSAL_LM"}
# What is read below, or changes nothing about the logits of a trained adapter.
_READ = {"r", "lora_alpha", "use_rslora", "lora_dropout", "target_modules", "exclude_modules"}
_READ |= {"layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "init_lora_weights"}
_HARMLESS = {
    "auto_mapping",
    "base_model_name_or_path",
    "ensure_weight_tying",
    "eva_config",
    "inference_mode",
    "loftq_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
}
# Others (pissa, olora, corda, ..) begin by changing the base model's weights, which the adapter alone does not tell.
_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
_TENSOR = re.compile(rf"{re.escape(PREFIX)}(model\.layers\.(\d+)\.\w+\.(\w+))\.lora_([AB])\.weight")


@dataclass(frozen=True, slots=True)
class Module:
    """One layer's adapter as the folder has it: its rank and the factor on B(A(x))."""

    rank: int
    scale: float


class PeftAdapter:
    """An adapter folder, opened: its config is checked, its tensors are read when they are asked for.

    Attributes:
        settings: the whole adapter as one rank and one scale.
        modules: (target, layer) -> what the folder has for it.
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            UserError: no adapter there, a pickle instead, a damaged file, a feature that is not implemented.
        """
        self.folder = Path(folder)
        self._config = read_config(self.folder)
        self.path = self.folder / WEIGHTS
        if not self.path.is_file():
            if (self.folder / PICKLE).is_file():
                raise UserError(
                    f"{self.folder} holds {PICKLE}, a pickle, which may run any code when it is opened; "
                    f"ask its author for {WEIGHTS}"
                )
            raise UserError(f"{self.folder} holds no {WEIGHTS}")
        shapes = self._shapes()
        self._names: dict[tuple[str, int], dict[str, str]] = {}
        for name in shapes:
            key, letter = self._place(name)
            self._names.setdefault(key, {})[letter] = name
        self.modules = {}
        for key, pair in self._names.items():
            if set(pair) != {"A", "B"}:
                raise UserError(f"{self.path} holds {next(iter(pair.values()))} without its other factor")
            self.modules[key] = self._module(*key, shapes[pair["A"]][0])
        if not self.modules:
            raise UserError(f"{self.path} holds no tensor")
        self.settings = self._settings()

    def expected(self, layers: int) -> Iterator[tuple[str, int]]:
        """(target, layer) of all that its config says there is, in a model of so many layers."""
        wanted = self._config.get("layers_to_transform")
        for target, parameter in LINEAR_BY_NAME.items():
            for layer in range(layers):
                name = parameter.hf.removesuffix(".weight").format(layer=layer)
                if wanted is not None and layer not in (wanted if isinstance(wanted, list) else [wanted]):
                    continue
                if _matches(self._config["target_modules"], name) and not _matches(
                    self._config.get("exclude_modules"), name
                ):
                    yield target, layer

    def name(self, target: str, layer: int, letter: str) -> str:
        """A tensor's name."""
        return f"{PREFIX}{LINEAR_BY_NAME[target].hf.removesuffix('.weight').format(layer=layer)}.lora_{letter}.weight"

    def factors(self, target: str, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """A `[R, in]` and B `[out, R]` of a module in float32, R being the adapter's one rank."""
        pair = self._names[target, layer]
        with self._open() as file:
            a, b = (file.get_tensor(pair[letter]).astype(np.float32) for letter in "AB")
        module = self.modules[target, layer]
        missing = self.settings.rank - module.rank
        a, b = np.pad(a, ((0, missing), (0, 0))), np.pad(b, ((0, 0), (0, missing)))
        if module.scale != self.settings.scale:
            b = b * np.float32(module.scale / self.settings.scale)
        return a, b

    def shape(self, target: str, layer: int, letter: str) -> tuple[int, ...]:
        """A tensor's shape, in the folder."""
        with self._open() as file:
            return tuple(file.get_slice(self._names[target, layer][letter]).get_shape())

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        with self._open() as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in sorted(file.keys())}

    def _open(self) -> Any:
        try:
            return safe_open(self.path, framework="numpy")
        except SafetensorError as error:
            raise UserError(f"{self.path} is damaged: {error}") from None

    def _place(self, name: str) -> tuple[tuple[str, int], str]:
        match = _TENSOR.fullmatch(name)
        if match is not None:
            target, layer = match[3], int(match[2])
            if target in LINEAR_BY_NAME and name == self.name(target, layer, match[4]):
                return (target, layer), match[4]
        raise UserError(
            f"{self.path} holds unknown tensors: {name}; implemented is LoRA on {', '.join(ALL_LINEAR)} of the layers"
        )

    def _module(self, target: str, layer: int, rank: int) -> Module:
        name = LINEAR_BY_NAME[target].hf.removesuffix(".weight").format(layer=layer)
        said = _by_pattern(self._config.get("rank_pattern"), name, self._config["r"])
        if rank != said:
            raise UserError(f"{self.path}: {name} has rank {rank}; {CONFIG} says {said}")
        alpha = _by_pattern(self._config.get("alpha_pattern"), name, self._config["lora_alpha"])
        return Module(rank, alpha / (math.sqrt(rank) if self._config.get("use_rslora") else rank))

    def _settings(self) -> LoraSettings:
        config, first = self._config, next(iter(self.modules.values()))
        rank = max(module.rank for module in self.modules.values())
        rslora = bool(config.get("use_rslora"))
        alpha = config["lora_alpha"]
        if all(module == first for module in self.modules.values()):  # a pattern may say the same of all
            alpha = first.scale * (math.sqrt(rank) if rslora else rank)
            alpha = config["lora_alpha"] if math.isclose(alpha, config["lora_alpha"]) else alpha
        try:
            return LoraSettings(
                rank=rank,
                alpha=alpha,
                use_rslora=rslora,
                dropout=config.get("lora_dropout") or 0.0,
                target_modules=tuple({target for target, _ in self.modules}),
            )
        except ValidationError as error:
            raise UserError(f"{self.folder / CONFIG}: {_first(error)}") from None


def read_config(folder: Path) -> dict[str, Any]:
    """A folder's `adapter_config.json`, in which nothing stands that is not implemented.

    Raises:
        UserError: it is missing, damaged, or names a feature of PEFT that is not implemented.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} holds no {CONFIG}; a PEFT adapter folder does") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no JSON: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no JSON object, as PEFT's does")
    for key, only in _ONLY.items():
        if (value := config.get(key, only)) is not None and value != only:
            raise UserError(f"{path}: {key}={value!r} is not implemented; only {only!r} is")
    for key, value in sorted(config.items()):
        if value and key not in _READ | _HARMLESS | set(_ONLY):
            raise UserError(f"{path}: {key}={value!r} is not implemented; train without it")
    if config.get("init_lora_weights") not in _STARTS:
        raise UserError(
            f"{path}: init_lora_weights={config['init_lora_weights']!r} has changed the base model's weights, which is "
            "not implemented; let PEFT convert it (save_pretrained with path_initial_model_for_weight_conversion)"
        )
    for key, kind in (("r", int), ("lora_alpha", int | float), ("target_modules", str | list)):
        value = config.get(key)
        if not isinstance(value, kind) or isinstance(value, bool) or not value:
            raise UserError(f"{path}: {key}={value!r} is not what PEFT writes there")
    return config


def _matches(targets: Any, name: str) -> bool:
    """Whether a module is one of PEFT's `target_modules`: a list of name endings, a regular expression, all-linear."""
    if not targets:
        return False
    if isinstance(targets, str):
        return targets == "all-linear" or re.fullmatch(targets, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _by_pattern(patterns: Mapping[str, Any] | None, name: str, otherwise: Any) -> Any:
    """The value of the first pattern that a module's name ends in (PEFT's get_pattern_key)."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            return value
    return otherwise


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"
