"""PEFT adapter folders, also those of other tools: what the config means, and which tensors belong to which layer.

PEFT's LoRA (tuners/lora) is supported where one rank and one scale can express the adapter: `rank_pattern` by rows of
zeros, `alpha_pattern` by a factor on B, `layers_to_transform` by zeros. Any other setting that changes a logit is
rejected by name.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from jora_model.formats.hf_weights import open_tensors
from jora_model.spec.hf_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_object
from jora_model.spec.parameters import LINEAR_BY_NAME
from jora_model.spec.settings import ALL_LINEAR, LoraSettings
from user_error import UserError

_PICKLE = "adapter_model.bin"
_PREFIX = "base_model.model."
# Keys that change the arithmetic, with the only value that is implemented (None and empty count as absent).
_ONLY = {"bias": "none", "peft_type": "LORA", "task_type": "CAUSAL_LM"}
# Keys that are read below, or that do not change the logits of a trained adapter.
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
# Other initializations (pissa, olora, corda, ...) change the base model's weights, which the adapter does not contain.
_INITIALIZATIONS = (None, True, False, "gaussian", "eva", "orthogonal")
_TENSOR = re.compile(rf"{re.escape(_PREFIX)}(model\.layers\.(\d+)\.\w+\.(\w+))\.lora_([AB])\.weight")


def tensor_name(target: str, layer: int, letter: str) -> str:
    """Return PEFT's name of factor A or B (`letter`) of a layer's module."""
    return f"{_PREFIX}{LINEAR_BY_NAME[target].module(layer)}.lora_{letter}.weight"


@dataclass(frozen=True, slots=True)
class Module:
    """The rank of one adapted module in the folder, and its factor on B(A(x))."""

    rank: int
    scale: float


class PeftAdapter:
    """An adapter folder: its config and tensor names are checked when it is opened; tensors are read on request.

    Attributes:
        settings: the whole adapter as one rank and one scale.
        modules: (target, layer) -> the module's own rank and scale.
    """

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            UserError: no adapter there, a pickle instead, a damaged file, or a feature that is not implemented.
        """
        self.folder = Path(folder)
        self._config = read_config(self.folder)
        self.path = self.folder / ADAPTER_WEIGHTS
        if not self.path.is_file():
            if (self.folder / _PICKLE).is_file():
                raise UserError(
                    f"{self.folder} holds {_PICKLE}, a pickle, which may run any code when it is opened; "
                    f"ask its author for {ADAPTER_WEIGHTS}"
                )
            raise UserError(f"{self.folder} holds no {ADAPTER_WEIGHTS}")
        file = open_tensors(self.path)
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
        factors: dict[tuple[str, int], dict[str, tuple[int, ...]]] = {}
        for name, shape in shapes.items():
            key, letter = self._parse(name)
            factors.setdefault(key, {})[letter] = shape
        self._shapes = factors
        self.modules = {}
        for key, pair in factors.items():
            if set(pair) != {"A", "B"}:
                raise UserError(f"{self.path} holds {tensor_name(*key, next(iter(pair)))} without its other factor")
            self.modules[key] = self._module(*key, pair["A"][0])
        if not self.modules:
            raise UserError(f"{self.path} holds no tensor")
        self.settings = self._settings()

    def expected(self, layers: int) -> Iterator[tuple[str, int]]:
        """Yield (target, layer) of every module that the config adapts in a model with this number of layers."""
        wanted = self._config.get("layers_to_transform")
        for target, parameter in LINEAR_BY_NAME.items():
            for layer in range(layers):
                name = parameter.module(layer)
                if wanted is not None and layer not in (wanted if isinstance(wanted, list) else [wanted]):
                    continue
                if _matches(self._config["target_modules"], name) and not _matches(
                    self._config.get("exclude_modules"), name
                ):
                    yield target, layer

    def factors(self, target: str, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """Return A `[R, in]` and B `[out, R]` of a module in float32, padded to the adapter's one rank R."""
        file = open_tensors(self.path)
        a, b = (file.get_tensor(tensor_name(target, layer, letter)).astype(np.float32) for letter in "AB")
        module = self.modules[target, layer]
        missing = self.settings.rank - module.rank
        a, b = np.pad(a, ((0, missing), (0, 0))), np.pad(b, ((0, 0), (0, missing)))
        if module.scale != self.settings.scale:
            b = b * np.float32(module.scale / self.settings.scale)
        return a, b

    def shape(self, target: str, layer: int, letter: str) -> tuple[int, ...]:
        """Return a factor's shape in the file."""
        return self._shapes[target, layer][letter]

    def _parse(self, name: str) -> tuple[tuple[str, int], str]:
        """Split a tensor name into (target, layer) and A or B."""
        match = _TENSOR.fullmatch(name)
        if match is not None:
            target, layer = match[3], int(match[2])
            if target in LINEAR_BY_NAME and name == tensor_name(target, layer, match[4]):
                return (target, layer), match[4]
        raise UserError(
            f"{self.path} holds unknown tensors: {name}; implemented is LoRA on {', '.join(ALL_LINEAR)} of the layers"
        )

    def _module(self, target: str, layer: int, rank: int) -> Module:
        name = LINEAR_BY_NAME[target].module(layer)
        said = _by_pattern(self._config.get("rank_pattern"), name, self._config["r"])
        if rank != said:
            raise UserError(f"{self.path}: {name} has rank {rank}; {ADAPTER_CONFIG} says {said}")
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
            first_error = error.errors()[0]
            where = ".".join(map(str, first_error["loc"]))
            said = first_error["msg"].removeprefix("Value error, ")
            raise UserError(f"{self.folder / ADAPTER_CONFIG}: {where}: {said}") from None


def read_config(folder: Path) -> dict[str, Any]:
    """Return a folder's `adapter_config.json`, checked to name nothing that is not implemented.

    Raises:
        UserError: it is missing or damaged, or names a feature of PEFT that is not implemented.
    """
    path = folder / ADAPTER_CONFIG
    try:
        config = read_object(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} holds no {ADAPTER_CONFIG}; a PEFT adapter folder does") from None
    for key, only in _ONLY.items():
        if (value := config.get(key, only)) is not None and value != only:
            raise UserError(f"{path}: {key}={value!r} is not implemented; only {only!r} is")
    for key, value in sorted(config.items()):
        if value and key not in _READ | _HARMLESS | set(_ONLY):
            raise UserError(f"{path}: {key}={value!r} is not implemented; train without it")
    if config.get("init_lora_weights") not in _INITIALIZATIONS:
        raise UserError(
            f"{path}: init_lora_weights={config['init_lora_weights']!r} has changed the base model's weights, which is "
            "not implemented; let PEFT convert it (save_pretrained with path_initial_model_for_weight_conversion)"
        )
    for key, kind in (("r", int), ("lora_alpha", int | float), ("target_modules", str | list)):
        value = config.get(key)
        if not isinstance(value, kind) or isinstance(value, bool) or not value:
            raise UserError(f"{path}: {key}={value!r} is not what PEFT writes there")
    _check_patterns(path, config)
    return config


def _check_patterns(path: Path, config: Mapping[str, Any]) -> None:
    """Raise UserError for a pattern that is not a regular expression, or a table of patterns that is not one."""
    expressions = [(key, config.get(key)) for key in ("target_modules", "exclude_modules")]
    for key, kind in (("rank_pattern", int), ("alpha_pattern", int | float)):
        table = config.get(key) or {}
        if not isinstance(table, dict) or not all(isinstance(value, kind) for value in table.values()):
            raise UserError(f"{path}: {key}={table!r} must map module names to numbers")
        expressions += [(key, pattern) for pattern in table]
    for key, expression in expressions:
        try:
            re.compile(expression if isinstance(expression, str) else "")
        except re.error as error:
            raise UserError(f"{path}: {key}: {expression!r} is not a regular expression: {error}") from None


def _matches(targets: Any, name: str) -> bool:
    """Whether a module is one of PEFT's `target_modules`: a list of name endings, a regular expression, all-linear."""
    if not targets:
        return False
    if isinstance(targets, str):
        return targets == "all-linear" or re.fullmatch(targets, name) is not None
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _by_pattern(patterns: Mapping[str, Any] | None, name: str, default: Any) -> Any:
    """Return the value of the first pattern that matches the end of a module's name (PEFT's get_pattern_key)."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            return value
    return default
