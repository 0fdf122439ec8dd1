"""PEFT's adapter_config.json: what it says of each module, and what is not implemented.

Modules are found as PEFT finds them (`check_target_module_exists`, `get_pattern_key`): the patterns of a config are put
into larger ones there, so that they are checked in that form.
"""

import math
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from jora_model.spec.hf_files import ADAPTER_CONFIG, read_object
from user_error import UserError

# Keys that change the arithmetic, with the only value that is implemented (None and empty count as absent).
_ONLY = {"peft_type": "LORA", "task_type": "CAUSAL_LM"}
# Keys that are read here, or that do not change the logits of a trained adapter.
_READ = {"r", "lora_alpha", "use_rslora", "lora_dropout", "target_modules", "exclude_modules", "use_dora"}
_READ |= {"layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "init_lora_weights"}
_READ |= {"modules_to_save", "trainable_token_indices", "ensure_weight_tying"}
_HARMLESS = {
    "auto_mapping",
    "bias",  # the trained biases are tensors in the file
    "base_model_name_or_path",
    "corda_config",
    "eva_config",
    "fan_in_fan_out",  # of linears it means nothing: PEFT sets it to false
    "inference_mode",
    "loftq_config",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
}
# Initializations that leave the base model as it is.
_KEEP_THE_BASE = (None, True, False, "gaussian", "eva", "orthogonal", "mica")
# Those that take the adapter's first value out of the base's weights, and can be repeated from those weights.
REPEATABLE = ("pissa", "olora")
# The longest that one pattern may take for one module: some take centuries ("(a+)+b").
_SECONDS = 2.0

Wrapped = Literal["alone", "end of a name", "layers", "saved"]


class PeftConfig:
    """A checked `adapter_config.json`."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            UserError: it is missing or damaged, or names a feature of PEFT that is not implemented.
        """
        self.path = folder / ADAPTER_CONFIG
        try:
            self._values = read_object(self.path)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{folder} holds no {ADAPTER_CONFIG}; a PEFT adapter folder does") from None
        self._compiled: dict[str, Any] = {}
        _check_features(self.path, self._values)
        _check_types(self.path, self._values)
        self._check_patterns()

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the file; `default` if it is absent or null."""
        value = self._values.get(key)
        return default if value is None else value

    @property
    def use_dora(self) -> bool:
        """Whether every adapted module has a magnitude."""
        return bool(self.get("use_dora"))

    @property
    def repeated_init(self) -> str | None:
        """The initialization, if it has changed the base's weights (one of `REPEATABLE`)."""
        name = str(self.get("init_lora_weights")).lower()
        return name if name in REPEATABLE else None

    def adapts(self, module: str) -> bool:
        """Whether a module gets LoRA factors."""
        exclude = self.get("exclude_modules")
        if exclude and self._among(exclude, module, "exclude_modules"):
            return False
        if any(self._matches("modules_to_save", name, module, "saved") for name in self.get("modules_to_save", ())):
            return False
        targets, layers = self.get("target_modules"), self.get("layers_to_transform", [])
        if isinstance(targets, str) or module in targets or layers == []:
            return self._among(targets, module, "target_modules")
        number = self._layer(module)
        chosen = layers if isinstance(layers, list) else [layers]
        return self._among(targets, module, "target_modules") and number in chosen

    def saves(self, module: str) -> bool:
        """Whether a module, or one around it, is in `modules_to_save`: its weights are stored whole."""
        parts = module.split(".")
        around = [".".join(parts[: count + 1]) for count in range(len(parts))]
        return any(name.endswith(ending) for name in around for ending in self.get("modules_to_save", ()))

    def rank(self, module: str) -> int:
        """The rank that the config gives a module."""
        return int(self._by_pattern("rank_pattern", module, self.get("r")))

    def scale(self, module: str, rank: int) -> float:
        """The factor on a module's B(A(x))."""
        alpha = float(self._by_pattern("alpha_pattern", module, self.get("lora_alpha")))
        return alpha / (math.sqrt(rank) if self.get("use_rslora") else rank)

    def tokens(self, module: str) -> tuple[int, ...] | None:
        """The tokens whose rows of an embedding or head are stored; None if there are none."""
        indices = self.get("trainable_token_indices", [])
        if not isinstance(indices, dict):
            indices = {"embed_tokens": indices} if indices else {}
        for ending, rows in indices.items():
            if module.endswith(ending):
                return tuple(rows)
        return None

    def _among(self, targets: Any, module: str, key: str) -> bool:
        """PEFT's `target_modules`: a list of name endings, a regular expression, or all-linear."""
        if isinstance(targets, str):
            if key == "target_modules" and targets.lower() == "all-linear":
                return module.rpartition(".")[2] not in ("lm_head", "embed_tokens")
            return self._matches(key, targets, module, "alone")
        return any(module == target or module.endswith(f".{target}") for target in targets)

    def _layer(self, module: str) -> int | None:
        patterns = self.get("layers_pattern") or [None]
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            if pattern is None:
                match = re.match(r".*?\.[^.]*\.(?P<idx>\d+)\.", module)
            else:
                match = self._match("layers_pattern", pattern, module, "layers")
            if match is not None:
                return int(match["idx"])
        return None

    def _by_pattern(self, key: str, module: str, default: Any) -> Any:
        """Return the value of the first pattern that matches the end of a module's name (PEFT's get_pattern_key)."""
        for pattern, value in self.get(key, {}).items():
            if self._matches(key, pattern, module, "end of a name"):
                return value
        return default

    def _matches(self, key: str, pattern: str, module: str, form: Wrapped) -> bool:
        return self._match(key, pattern, module, form) is not None

    def _match(self, key: str, pattern: str, module: str, form: Wrapped) -> Any:
        import regex  # has a time limit, which `re` lacks; the two agree on what PEFT's users write

        whole = _whole(pattern, form)
        if whole not in self._compiled:
            self._compiled[whole] = regex.compile(whole)
        found = self._compiled[whole]
        try:
            return (found.fullmatch if form == "alone" else found.match)(module, timeout=_SECONDS)
        except TimeoutError:
            raise UserError(
                f"{self.path}: {key}: {pattern!r} takes more than {_SECONDS:g} s for {module}; repeated groups "
                "that can match the same text in many ways do that, so write it without them"
            ) from None

    def _check_patterns(self) -> None:
        """Raise UserError for a pattern that is not a regular expression where PEFT puts it."""
        expressions: list[tuple[str, str, Wrapped]] = []
        for key in ("target_modules", "exclude_modules"):
            expressions += [(key, pattern, "alone") for pattern in [self.get(key)] if isinstance(pattern, str)]
        for key in ("rank_pattern", "alpha_pattern"):
            expressions += [(key, pattern, "end of a name") for pattern in self.get(key, {})]
        patterns = self.get("layers_pattern", [])
        named = [patterns] if isinstance(patterns, str) else patterns
        expressions += [("layers_pattern", pattern, "layers") for pattern in named if pattern]
        expressions += [("modules_to_save", name, "saved") for name in self.get("modules_to_save", [])]
        for key, pattern, form in expressions:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of sets that may mean something else in a later Python
                    re.compile(_whole(pattern, form))
            except (re.error, RecursionError, OverflowError) as error:
                raise UserError(
                    f"{self.path}: {key}: {pattern!r} is not a regular expression: {error or type(error).__name__}"
                ) from None


def _whole(pattern: str, form: Wrapped) -> str:
    """The pattern as PEFT uses it."""
    if form == "end of a name":
        return rf"(.*\.)?({pattern})$"
    if form == "layers":
        return rf"(?:^|.*?\.){pattern}\.(?P<idx>\d+)\."
    return rf"(^|.*\.){pattern}($|\..*)" if form == "saved" else pattern


def _check_features(path: Path, config: Mapping[str, Any]) -> None:
    for key, only in _ONLY.items():
        if (value := config.get(key, only)) is not None and value != only:
            raise UserError(f"{path}: {key}={value!r} is not implemented; only {only!r} is")
    for key, value in sorted(config.items()):
        if value and key not in _READ | _HARMLESS | set(_ONLY):
            raise UserError(f"{path}: {key}={value!r} is not implemented; train without it")
    init = config.get("init_lora_weights")
    if init in _KEEP_THE_BASE or str(init).lower() in REPEATABLE:
        return
    if init == "loftq":
        raise UserError(
            f"{path}: init_lora_weights='loftq' was trained on a quantized copy of the base model, which the adapter "
            "does not hold; merge it into that copy with PEFT (merge_and_unload) and name the result as base_model"
        )
    if not isinstance(init, str) or not init.startswith(("pissa", "corda", "lora_ga")):
        raise UserError(f"{path}: init_lora_weights={init!r} is not known; PEFT 0.21 writes no such value")
    raise UserError(
        f"{path}: init_lora_weights={init!r} has changed the base model's weights by what the adapter does not hold; "
        "let PEFT convert it to plain LoRA (save_pretrained with path_initial_model_for_weight_conversion), or save "
        "the changed base model and name it as base_model, with init_lora_weights=true"
    )


def _check_types(path: Path, config: Mapping[str, Any]) -> None:
    """Raise UserError for a value of a type that PEFT does not write."""
    names = {key: config.get(key) for key in ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern")}
    for key, value in names.items():
        if isinstance(value, list) and not all(isinstance(name, str) for name in value):
            raise UserError(f"{path}: {key}={value!r} must be a list of module names")
    kinds: dict[str, Any] = {"r": int, "lora_alpha": int | float, "target_modules": str | list}
    for key, kind in kinds.items():
        if not isinstance(config.get(key), kind) or isinstance(config.get(key), bool) or not config.get(key):
            raise UserError(f"{path}: {key}={config.get(key)!r} is not what PEFT writes there")
    kinds = {"exclude_modules": str | list, "modules_to_save": list, "layers_pattern": str | list}
    for key, kind in kinds.items():
        if config.get(key) and not isinstance(config[key], kind):
            raise UserError(f"{path}: {key}={config[key]!r} is not what PEFT writes there")
    kinds = {"rank_pattern": int, "alpha_pattern": int | float}
    for key, kind in kinds.items():
        table = config.get(key) or {}
        if not isinstance(table, dict) or not all(isinstance(value, kind) and value for value in table.values()):
            raise UserError(f"{path}: {key}={table!r} must map module names to numbers")
    layers = config.get("layers_to_transform")
    if layers is not None and not _are_numbers(layers if isinstance(layers, list) else [layers]):
        raise UserError(f"{path}: layers_to_transform={layers!r} must be the number of a layer, or a list of them")
    if isinstance(config["target_modules"], str) and layers not in (None, []):
        raise UserError(f"{path}: layers_to_transform needs a list of target_modules; PEFT allows no pattern beside it")
    tokens = config.get("trainable_token_indices") or []
    for rows in tokens.values() if isinstance(tokens, dict) else [tokens]:
        if not isinstance(rows, list) or not _are_numbers(rows) or len(set(rows)) != len(rows):
            raise UserError(f"{path}: trainable_token_indices={tokens!r} must list token ids, each once")


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values)
