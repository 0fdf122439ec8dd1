"""Rotary embeddings in GGUF files: fields `ARCHITECTURE.rope.*`, and factors of each frequency as tensors.

llama.cpp computes `linear` and `yarn` from fields. `longrope` has its two lists of factors as tensors, and of Llama 3's
scaling there is only a tensor with the divisor of each frequency, from which its four parameters are found again.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from jora_model.spec.rope import Rope, llama3_frequencies
from user_error import UserError

FREQUENCIES = "rope_freqs.weight"
SHORT, LONG = "rope_factors_short.weight", "rope_factors_long.weight"
ROPE_TENSORS = (FREQUENCIES, SHORT, LONG)
ROPE_FIELDS = {
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.finetuned",
}
# Published models have 8 or 32, 1, 4 and 8192, which come first: (factor, low, high, original length).
_LLAMA3 = tuple(
    itertools.product(
        (8.0, 32.0, 2.0, 4.0, 16.0, 64.0),
        (1.0,),
        (4.0, 2.0, 3.0, 8.0),
        (8192, *(2**n for n in range(5, 18) if n != 13)),
    )
)
_CLOSE = 1e-5  # float32 frequencies


def shortest(value: float) -> float:
    """Return the shortest decimal of a float32: GGUF's 1e-5 reads as 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def rope_parameters(fields: Mapping[str, Any], factors: Mapping[str, np.ndarray], width: int) -> dict[str, Any]:
    """Return the `rope_parameters` of config.json without theta; empty if nothing is scaled.

    Args:
        fields: of the architecture, without its name; `rope.freq_base` is there.
        factors: the tensors of `ROPE_TENSORS` that the file has, float32 `[width / 2]`.
        width: how many dims of a head are rotated.

    Raises:
        UserError: a kind that is not implemented, a missing field, or factors of no known parameters.
    """
    for name, values in factors.items():
        if values.shape != (width // 2,):
            raise UserError(f"tensor {name} has shape {values.shape}; {width // 2} frequencies are rotated")
    kind = fields.get("rope.scaling.type", "none")
    if "rope.scale_linear" in fields:  # the old name
        kind, fields = "linear", {"rope.scaling.factor": fields["rope.scale_linear"], **fields}
    if FREQUENCIES in factors and not np.all(factors[FREQUENCIES] == 1):
        if kind != "none":
            raise UserError(f"rope.scaling.type={kind!r} beside the tensor {FREQUENCIES} is not implemented")
        return _llama3(factors[FREQUENCIES], shortest(fields["rope.freq_base"]), width)
    if SHORT in factors or LONG in factors:
        return _longrope(fields, factors)
    if kind == "none" or (kind == "linear" and shortest(fields.get("rope.scaling.factor", 1.0)) == 1):
        return {}
    if kind not in ("linear", "yarn"):
        raise UserError(f"rope.scaling.type={kind!r} is not implemented; allowed are none, linear, yarn and longrope")
    scaled: dict[str, Any] = {"rope_type": kind, "factor": shortest(_need(fields, "rope.scaling.factor"))}
    if kind == "yarn":
        scaled["original_max_position_embeddings"] = _need(fields, "rope.scaling.original_context_length")
        for theirs, ours in (("yarn_beta_fast", "beta_fast"), ("yarn_beta_slow", "beta_slow")):
            if f"rope.scaling.{theirs}" in fields:
                scaled[ours] = shortest(fields[f"rope.scaling.{theirs}"])
        attention = fields.get("rope.scaling.yarn_attn_factor")
        share = fields.get("rope.scaling.attn_factor")
        if attention is not None:
            scaled["attention_factor"] = shortest(attention)
        elif share is not None:
            scaled["attention_factor"] = shortest(share * _yarn_attention(scaled["factor"]))
    return scaled


def rope_fields(rope: Rope) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the fields `rope.scaling.*` and the tensors of a rotary embedding.

    Raises:
        UserError: llama.cpp does not compute it.
    """
    if rope.kind == "llama3":
        # In float32, as the converter computes them.
        plain = 1 / rope.theta ** (np.arange(0, rope.width, 2, dtype=np.float64) / rope.width)
        return {}, {FREQUENCIES: (plain / llama3_frequencies(plain, rope)).astype(np.float32)}
    if rope.kind == "longrope":
        fields = {
            "rope.scaling.type": "longrope",
            "rope.scaling.attn_factor": rope.attention_factor,
            "rope.scaling.original_context_length": rope.original_positions,
        }
        lists = {LONG: rope.long_factors, SHORT: rope.factors}
        return fields, {name: np.array(values, np.float32) for name, values in lists.items()}
    if rope.kind == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": rope.factor}, {}
    if rope.kind == "yarn":
        if not rope.truncate:
            raise UserError("llama.cpp rounds the borders of yarn's ramp (truncate=false)")
        fields = {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": rope.factor,
            "rope.scaling.original_context_length": rope.original_positions,
        }
        usual = _yarn_attention(rope.factor)
        if not math.isclose(rope.attention_factor, usual, rel_tol=1e-6):
            # What llama.cpp multiplies its own factor by; it ignores `yarn_attn_factor` (llama-context.cpp).
            fields["rope.scaling.attn_factor"] = rope.attention_factor / usual
        if rope.beta_fast != 32 or rope.beta_slow != 1:
            fields |= {"rope.scaling.yarn_beta_fast": rope.beta_fast, "rope.scaling.yarn_beta_slow": rope.beta_slow}
        return fields, {}
    return {}, {}


def _yarn_attention(factor: float) -> float:
    return 0.1 * math.log(factor) + 1 if factor > 1 else 1.0


def _need(fields: Mapping[str, Any], key: str) -> Any:
    if key not in fields:
        raise UserError(f"field {key} is missing")
    return fields[key]


def _longrope(fields: Mapping[str, Any], factors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    missing = [name for name in (SHORT, LONG) if name not in factors]
    if missing:
        raise UserError(f"tensor {missing[0]} is missing; longrope needs both lists of factors")
    scaled = {
        "rope_type": "longrope",
        "short_factor": [shortest(factor) for factor in factors[SHORT]],
        "long_factor": [shortest(factor) for factor in factors[LONG]],
        "original_max_position_embeddings": _need(fields, "rope.scaling.original_context_length"),
    }
    if "rope.scaling.attn_factor" in fields:
        scaled["attention_factor"] = shortest(fields["rope.scaling.attn_factor"])
    return scaled


def _llama3(divisors: np.ndarray, theta: float, width: int) -> dict[str, Any]:
    """Find the parameters whose divisors these are; other parameters with the same divisors mean the same."""
    for factor, low, high, original in _LLAMA3:
        if abs(float(divisors.max()) / factor - 1) > _CLOSE and float(divisors.max()) > factor:
            continue
        rope = Rope("llama3", theta, width, factor, original, low_freq_factor=low, high_freq_factor=high)
        _, tensors = rope_fields(rope)
        if np.allclose(tensors[FREQUENCIES], divisors, rtol=_CLOSE, atol=0):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }
    raise UserError(
        f"rope scaling as a tensor ({FREQUENCIES}) has divisors of no known parameters of Llama 3's scaling; use the "
        "model's Hugging Face id or folder"
    )
