"""Rotary embeddings of a checkpoint: how config.json says them, and their frequencies.

transformers is the reference for what a config means, also where it says a fact twice (modeling_rope_utils.py,
`convert_rope_params_to_dict` and `standardize_rope_params` of version 5):

- `rope_scaling` wins over `rope_parameters`, and `rope_type` over `type`;
- theta within that dict wins over `rope_theta`, and that over the class's default;
- `original_max_position_embeddings` beside the dict wins over that within it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jora_model.spec.architecture import Architecture
from user_error import UserError

Kind = Literal["none", "default", "linear", "dynamic", "yarn", "llama3", "longrope"]
KINDS = ("default", "linear", "dynamic", "llama3", "longrope", "yarn")
LAYER_TYPES = ("full_attention", "sliding_attention")
# Kinds whose frequencies depend on the length that the model was trained with.
_WITH_ORIGINAL = ("llama3", "yarn", "longrope")
_ZERO_IS_ABSENT = ("beta_fast", "beta_slow", "mscale", "mscale_all_dim")
_WITH_LOGARITHM = ("rope_theta", "original_max_position_embeddings")
_MOST = 1e30  # of any number: larger ones overflow float32


@dataclass(frozen=True)
class Rope:
    """Rotary embedding of some layers.

    Attributes:
        width: how many of a head's dims are rotated; its first ones.
        original_positions: the length before the extension; of `longrope`, the longest sequence for the short factors.
        attention_factor: what cosine and sine are multiplied by.
        factors, long_factors: of `longrope`, one for each frequency.
    """

    kind: Kind
    theta: float
    width: int
    factor: float = 1.0
    original_positions: int = 0
    attention_factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()

    def frequencies(self, long: bool = False) -> np.ndarray:
        """Return the inverse frequencies, float32 `[width / 2]`.

        Args:
            long: of `longrope`, those for sequences of more than `original_positions`.

        Source: transformers, modeling_rope_utils.py, the function of each kind.
        """
        if self.kind == "none":
            return np.zeros(self.width // 2, np.float32)
        exponents = np.arange(0, self.width, 2, dtype=np.float32) / np.float32(self.width)
        powers = np.power(np.float32(self.theta), exponents).astype(np.float32)
        frequency = (1.0 / powers).astype(np.float32)
        if self.kind == "linear":
            return frequency / np.float32(self.factor)
        if self.kind == "llama3":
            return llama3_frequencies(frequency, self)
        if self.kind == "yarn":
            return self._yarn(powers)
        if self.kind == "longrope":
            factors = np.asarray(self.long_factors if long else self.factors, np.float32)
            return (1.0 / (factors * powers)).astype(np.float32)
        # `dynamic` changes the frequencies of sequences beyond max_position_embeddings only, and there are none.
        return frequency

    def _yarn(self, powers: np.ndarray) -> np.ndarray:
        """YaRN (arXiv 2309.00071, section 3.2): high frequencies stay, low ones are divided by the factor."""

        def dim_of(rotations: float) -> float:
            turns = self.original_positions / (rotations * 2 * math.pi)
            return self.width * math.log(turns) / (2 * math.log(self.theta))

        low, high = dim_of(self.beta_fast), dim_of(self.beta_slow)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, self.width - 1)
        high += 0.001 if low == high else 0
        ramp = (np.arange(self.width // 2, dtype=np.float32) - np.float32(low)) / np.float32(high - low)
        kept = 1 - np.clip(ramp, 0, 1)
        stretched = 1.0 / (np.float32(self.factor) * powers)
        return (stretched * (1 - kept) + (1.0 / powers) * kept).astype(np.float32)


def llama3_frequencies(frequency: np.ndarray, rope: Rope) -> np.ndarray:
    """Return Llama 3's scaled inverse frequencies, in the dtype of `frequency`.

    Source: transformers, modeling_rope_utils.py, `_compute_llama3_parameters`.
    """
    wavelength = 2 * np.pi / frequency
    low = rope.original_positions / rope.low_freq_factor
    high = rope.original_positions / rope.high_freq_factor
    smooth = (rope.original_positions / wavelength - rope.low_freq_factor) / (
        rope.high_freq_factor - rope.low_freq_factor
    )
    blended = (1 - smooth) * frequency / rope.factor + smooth * frequency
    scaled = np.where(wavelength > low, frequency / rope.factor, frequency)
    return np.where((wavelength <= low) & (wavelength >= high), blended, scaled).astype(frequency.dtype)


def read_ropes(config: Mapping[str, Any], architecture: Architecture, head_dim: int) -> dict[str, Rope]:
    """Return the rotary embedding of each type of layer; one model-wide embedding has the type "".

    Raises:
        UserError: a kind that is not implemented, or a value that is missing or of a wrong type (named).
    """
    scaling, parameters = config.get("rope_scaling"), config.get("rope_parameters")
    for key, value in (("rope_scaling", scaling), ("rope_parameters", parameters)):
        if value is not None and not isinstance(value, dict):
            raise UserError(f"config.json: {key}={value!r} must be an object")
    default_theta = architecture.defaults.get("rope_theta", 10_000.0)
    if architecture.ropes == "one":
        values = dict(scaling or parameters or {})
        objects = sorted(key for key, value in values.items() if isinstance(value, dict))
        if objects:
            raise UserError(
                f"config.json: rope_parameters.{objects[0]} is an object, and {architecture.name} has one rotary "
                "embedding for all layers; give its values beside rope_type"
            )
        _set_default(values, "rope_theta", config.get("rope_theta", default_theta))
        # Phi-3 rotates a part of each head. Other classes take this field, and fail with it or do not read it.
        if "partial_rotary_factor" in config:
            values.setdefault("partial_rotary_factor", config["partial_rotary_factor"])
        original = config.get("original_max_position_embeddings")
        if original is None:
            original = architecture.defaults.get("original_max_position_embeddings")
        if original is not None:
            values["original_max_position_embeddings"] = original
        return {"": _rope(values, config, architecture, head_dim, "rope_parameters")}
    nested = dict(parameters or {})
    for name in LAYER_TYPES:
        if not isinstance(nested.get(name), dict | None):
            raise UserError(f"config.json: rope_parameters.{name}={nested[name]!r} must be an object")
    # An old `type` in `rope_scaling` does not replace the `rope_type` of this default.
    default = {"rope_type": "default"}
    full, sliding = (default if nested.get(name) is None else nested[name] for name in LAYER_TYPES)
    full, sliding = {**full, **(scaling or {})}, dict(sliding)
    local = config.get("rope_local_base_freq", 10_000.0) if "rope_local_base_freq" in architecture.reads else None
    _set_default(full, "rope_theta", config.get("rope_theta", default_theta))
    _set_default(sliding, "rope_theta", default_theta if local is None else local)
    for values in (full, sliding):
        # transformers reads these beside the two dicts, where nothing writes them.
        values["truncate"] = nested.get("truncate", True)
        if "partial_rotary_factor" in config:
            values.setdefault("partial_rotary_factor", config["partial_rotary_factor"])
    return {
        name: _rope(values, config, architecture, head_dim, f"rope_parameters.{name}")
        for name, values in zip(LAYER_TYPES, (full, sliding), strict=True)
    }


def _set_default(values: dict[str, Any], key: str, value: Any) -> None:
    if values.get(key) is None:
        values[key] = value


def _rope(
    values: Mapping[str, Any], config: Mapping[str, Any], architecture: Architecture, head_dim: int, where: str
) -> Rope:
    kind = values.get("rope_type", values.get("type", "default"))
    if architecture.fused and kind in ("su", "yarn"):  # old names in Phi-3's configs
        kind = "longrope"
    allowed = ("default", "longrope") if architecture.fused else KINDS
    if kind not in allowed:
        raise UserError(
            f"config.json: rope type {kind!r} of {architecture.name} is not implemented; allowed are "
            f"{', '.join(allowed)}"
        )

    def number(key: str, default: float | None = None) -> float:
        value = values.get(key)
        value = default if value is None else value
        if value is None:
            raise UserError(f"config.json: {where}.{key} is missing")
        least = 1 if key in _WITH_LOGARITHM else 0
        zero = key in _ZERO_IS_ABSENT and value == 0
        if isinstance(value, bool) or not isinstance(value, int | float) or not (zero or least < value < _MOST):
            raise UserError(f"config.json: {where}.{key}={value!r} must be a number above {least}")
        return float(value)

    theta, partial = number("rope_theta"), number("partial_rotary_factor", 1.0)
    width = head_dim
    if architecture.fused or kind != "default":  # no other class reads the factor for its default embedding
        width = int(head_dim * partial)
    if width % 2 or not 0 < width <= head_dim or (width != head_dim and not architecture.fused):
        raise UserError(
            f"config.json: partial_rotary_factor={partial:g} of a head of {head_dim} is not implemented for "
            f"{architecture.name}; only 1.0 is"
        )
    rope = Rope(kind, theta, width)
    if kind == "default":
        return rope
    positions = int(config.get("max_position_embeddings") or architecture.defaults.get("max_position_embeddings", 2048))
    original = int(number("original_max_position_embeddings", positions)) if kind in _WITH_ORIGINAL else 0
    if kind in ("linear", "dynamic"):
        return Rope(kind, theta, width, number("factor"))
    if kind == "llama3":
        low, high = number("low_freq_factor"), number("high_freq_factor")
        if low == high:
            raise UserError(
                f"config.json: {where}: low_freq_factor and high_freq_factor are both {low:g}; they must differ"
            )
        return Rope(kind, theta, width, number("factor"), original, low_freq_factor=low, high_freq_factor=high)
    factor = number("factor", positions / original)
    if kind == "yarn":
        return Rope(
            kind,
            theta,
            width,
            factor,
            original,
            _yarn_attention(values, factor, number),
            # Zero counts as absent there.
            beta_fast=number("beta_fast", 32) or 32.0,
            beta_slow=number("beta_slow", 1) or 1.0,
            truncate=bool(values.get("truncate", True)),
        )
    if values.get("attention_factor") is not None:
        attention = number("attention_factor")
    else:
        attention = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    short, long = (_factors(values, key, width, where) for key in ("short_factor", "long_factor"))
    return Rope(kind, theta, width, factor, original, attention, factors=short, long_factors=long)


def _yarn_attention(values: Mapping[str, Any], factor: float, number: Any) -> float:
    if values.get("attention_factor") is not None:
        return float(number("attention_factor"))

    def scale(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    first, second = number("mscale", 0), number("mscale_all_dim", 0)
    return scale(first) / scale(second) if first and second else scale(1.0)


def _factors(values: Mapping[str, Any], key: str, width: int, where: str) -> tuple[float, ...]:
    factors = values.get(key)
    if not isinstance(factors, list) or not all(isinstance(x, int | float) and 0 < x < _MOST for x in factors):
        raise UserError(f"config.json: {where}.{key} must be a list of {width // 2} numbers above 0")
    if len(factors) != width // 2:
        raise UserError(f"config.json: {where}.{key} has {len(factors)} numbers; a head needs {width // 2}")
    return tuple(float(factor) for factor in factors)
