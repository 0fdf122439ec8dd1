"""Root-mean-square norms, whose weight is frozen."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jora_model.ops.cpu import as_float, dot_last


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def rms_norm(
    x: Float[Array, "*b D"], weight: Array, eps: float, offset: bool = False, rounds_first: bool = True
) -> Float[Array, "*b D"]:
    """Root-mean-square norm in float32. No gradient is formed for the weight.

    Args:
        offset: multiply by 1 + weight (transformers' GemmaRMSNorm), not by the weight.
        rounds_first: round to x's dtype before the weight (LlamaRMSNorm), not after it (GemmaRMSNorm, Olmo2RMSNorm).
    """
    wide = x.astype(jnp.float32)
    wide, scale = wide * _inverse_root(wide, eps), _scale(weight, x, offset)
    if rounds_first:
        return wide.astype(x.dtype) * scale.astype(x.dtype)
    return (wide * scale.astype(jnp.float32)).astype(x.dtype)


def _inverse_root(x: Array, eps: float) -> Array:
    return jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + eps)


def _scale(weight: Array, x: Array, offset: bool) -> Array:
    scale = as_float(weight)
    if offset:
        scale = scale.astype(jnp.float32) + jnp.float32(1)
    return scale.reshape((1,) * (x.ndim - 1) + scale.shape)


def _forward(x: Array, weight: Array, eps: float, offset: bool, rounds_first: bool) -> tuple[Array, Any]:
    return rms_norm(x, weight, eps, offset, rounds_first), (x, weight)


def _backward(eps: float, offset: bool, rounds_first: bool, residuals: Any, g: Array) -> tuple[Array, None]:
    x, weight = residuals
    wide = x.astype(jnp.float32)
    inverse = _inverse_root(wide, eps)
    scale = _scale(weight, x, offset)
    scale = scale.astype(x.dtype) if rounds_first else scale
    g = g.astype(jnp.float32) * scale.astype(jnp.float32)
    shared = dot_last(g, wide)[..., None] / x.shape[-1]
    shared = shared * jnp.square(inverse)
    return (inverse * (g - wide * shared)).astype(x.dtype), None


rms_norm.defvjp(_forward, _backward)
