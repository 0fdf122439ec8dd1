"""Matrix products at the machine's speed: operands in the compute dtype, sums in float32, in both directions.

Left to itself, the transpose of a bf16 product with a float32 sum multiplies a float32 cotangent by bf16 weights,
which silently becomes a float32 product of half the speed; hence the custom gradients.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def as_float(weight: Array) -> Array:
    """bf16 weights are held as uint16 bit patterns: inside a scan, XLA's CPU backend widens a whole stack of
    bf16 weights to float32 ahead of the loop (twice the weights in temporaries); bits it leaves alone."""
    return lax.bitcast_convert_type(weight, jnp.bfloat16) if weight.dtype == jnp.uint16 else weight


def as_bits(weight: Array) -> Array:
    """The opposite of `as_float`, for bf16; other dtypes stay as they are."""
    return lax.bitcast_convert_type(weight, jnp.uint16) if weight.dtype == jnp.bfloat16 else weight


@jax.custom_vjp
def as_words(x: Array) -> Array:
    """bf16 `[.., D]` as float32 words `[.., D/2]` that are never computed with; other dtypes stay as they are.

    The same trap as in `as_float`: what a scan keeps for its backward pass is a stack, and a stack of bf16 is widened
    ahead of the loop. Integers carry no gradient, so pairs travel as words, and so do their cotangents.
    """
    if x.dtype != jnp.bfloat16:
        return x
    return lax.bitcast_convert_type(x.reshape(*x.shape[:-1], -1, 2), jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def from_words(words: Array, dtype: Any) -> Array:
    """The opposite of `as_words`; `dtype` is that of its argument."""
    if dtype != jnp.bfloat16:
        return words
    return lax.bitcast_convert_type(words, jnp.bfloat16).reshape(*words.shape[:-1], -1)


as_words.defvjp(lambda x: (as_words(x), jnp.zeros((0,), x.dtype)), lambda like, g: (from_words(g, like.dtype),))
from_words.defvjp(lambda words, dtype: (from_words(words, dtype), None), lambda dtype, _, g: (as_words(g),))


def contract(x: Array, w: Array, x_dim: int, w_dim: int) -> Array:
    """Sum over one dim of each; operands as they are, the sum and the result in float32."""
    return lax.dot_general(
        x,
        w,
        (((x_dim % x.ndim,), (w_dim,)), ((), ())),
        precision=lax.Precision.HIGHEST if x.dtype == jnp.float32 else None,
        preferred_element_type=jnp.float32,
    )


@jax.custom_vjp
def frozen_matmul(x: Float[Array, "*batch I"], kernel: Array) -> Float[Array, "*batch O"]:
    """`x @ kernel.T` for a frozen kernel `[O, I]` (bf16 bits, or x's dtype); no gradient is formed for the kernel."""
    return contract(x, as_float(kernel).astype(x.dtype), -1, 1).astype(x.dtype)


def _frozen_forward(x: Array, kernel: Array) -> tuple[Array, Array]:
    return frozen_matmul(x, kernel), kernel


def _frozen_backward(kernel: Array, g: Array) -> tuple[Array, None]:
    return contract(g, as_float(kernel).astype(g.dtype), -1, 0).astype(g.dtype), None


frozen_matmul.defvjp(_frozen_forward, _frozen_backward)


@jax.custom_vjp
def trained_matmul(x: Float[Array, "*batch I"], kernel: Float[Array, "O I"]) -> Float[Array, "*batch O"]:
    """`x @ kernel.T` for a trained float32 kernel: multiplied in x's dtype, its gradient summed in float32."""
    return contract(x, kernel.astype(x.dtype), -1, 1).astype(x.dtype)


def _trained_forward(x: Array, kernel: Array) -> tuple[Array, Any]:
    return trained_matmul(x, kernel), (x, kernel)


def _trained_backward(residuals: Any, g: Array) -> tuple[Array, Array]:
    x, kernel = residuals
    dx = contract(g, kernel.astype(g.dtype), -1, 0).astype(g.dtype)
    rows = g.reshape(-1, g.shape[-1])
    dkernel = contract(rows, x.reshape(-1, x.shape[-1]), 0, 0)
    return dx, dkernel.astype(kernel.dtype)


trained_matmul.defvjp(_trained_forward, _trained_backward)
