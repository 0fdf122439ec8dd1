"""Matrix products at the machine's speed: operands in the compute dtype, sums in float32, in both directions.

Left to itself, the transpose of a bf16 product with a float32 sum multiplies a float32 cotangent by bf16 weights,
which silently becomes a float32 product of half the speed; hence the custom gradients.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

# What the backward pass may find under this name instead of multiplying again (`Remat`, settings.py).
PRODUCT = "product"


def as_float(weight: Array) -> Array:
    """bf16 weights are held as uint16 bit patterns: inside a scan, XLA's CPU backend widens a whole stack of
    bf16 weights to float32 ahead of the loop (twice the weights in temporaries); bits it leaves alone."""
    return lax.bitcast_convert_type(weight, jnp.bfloat16) if weight.dtype == jnp.uint16 else weight


def as_bits(weight: Array) -> Array:
    """The opposite of `as_float`, for bf16; other dtypes stay as they are."""
    return lax.bitcast_convert_type(weight, jnp.uint16) if weight.dtype == jnp.bfloat16 else weight


def contract(x: Array, w: Array, x_dim: int, w_dim: int) -> Array:
    """Sum over one dim of each; operands as they are, the sum and the result in float32."""
    return lax.dot_general(
        x,
        w,
        (((x_dim % x.ndim,), (w_dim % w.ndim,)), ((), ())),
        precision=lax.Precision.HIGHEST if x.dtype == jnp.float32 else None,
        preferred_element_type=jnp.float32,
    )


def linear(
    x: Float[Array, "B T I"],
    kernel: Array,
    adapter: tuple[Array, Array] | None = None,
    scale: float = 1.0,
    keep: Float[Array, "B T I"] | None = None,
    *,
    transposed: bool = False,
) -> Array:
    """`x W^T + scale (keep * x) A^T B^T` for a frozen kernel W `[O, I]` (bf16 bits, or x's dtype); never `W + BA`.

    Both products are summed in float32 and rounded once. No gradient is formed for the kernel.

    Args:
        adapter: A `[R, I]` and B transposed `[R, O]`, float32: multiplied in x's dtype, gradients summed in float32.
        keep: the dropout's factors for the adapter's input, in x's dtype.
        transposed: the result is `[B, O, T]` instead of `[B, T, O]`, straight from the product.
    """
    return _linear(scale, transposed, x, kernel, adapter, keep)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _linear(scale: float, transposed: bool, x: Array, kernel: Array, adapter: Any, keep: Any) -> Array:
    w = as_float(kernel).astype(x.dtype)
    # The smaller operand first makes the transposed product come out that way.
    out = contract(w, x, 1, -1).swapaxes(0, 1) if transposed else contract(x, w, -1, 1)
    if adapter is not None:
        low, b = _low(scale, x, adapter[0], keep), adapter[1].astype(x.dtype)
        # In float32 where transposed: XLA's CPU backend has no such product of bf16, and says so only at run time.
        wide = (b.astype(jnp.float32), low.astype(jnp.float32))
        out = out + (contract(*wide, 0, -1).swapaxes(0, 1) if transposed else contract(low, b, -1, 0))
    return out.astype(x.dtype)


def _low(scale: float, x: Array, a: Array, keep: Array | None) -> Array:
    """The adapter's inner states, scaled, `[B, T, R]`."""
    x = x if keep is None else x * keep
    return (contract(x, a.astype(x.dtype), -1, 1) * jnp.float32(scale)).astype(x.dtype)


def _linear_forward(
    scale: float, transposed: bool, x: Array, kernel: Array, adapter: Any, keep: Any
) -> tuple[Array, Any]:
    out = as_float(checkpoint_name(as_bits(_linear(scale, transposed, x, kernel, adapter, keep)), PRODUCT))
    return out, (None if adapter is None else x, kernel, adapter, keep)


def _linear_backward(scale: float, transposed: bool, residuals: Any, g: Array) -> tuple[Array, None, Any, None]:
    x, kernel, adapter, keep = residuals
    if transposed:
        # Behind a barrier, or the transposition is folded into products that are slow with it.
        g = lax.optimization_barrier(g.swapaxes(1, 2))
    dx = contract(g, as_float(kernel).astype(g.dtype), -1, 0)
    if adapter is None:
        return dx.astype(g.dtype), None, None, None
    a, b = adapter
    low = _low(scale, x, a, keep)
    dlow = (contract(g, b.astype(g.dtype), -1, 1) * jnp.float32(scale)).astype(g.dtype)
    dropped = contract(dlow, a.astype(g.dtype), -1, 0)
    dx = dx + (dropped if keep is None else dropped * keep.astype(jnp.float32))
    # The narrow operand first: three times faster than the other way around.
    da = _over_tokens(dlow, x if keep is None else x * keep)
    db = _over_tokens(low, g)
    return dx.astype(g.dtype), None, (da, db), None


def _over_tokens(x: Array, y: Array) -> Array:
    """`x^T y` over all tokens, float32."""
    return contract(x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1]), 0, 0)


_linear.defvjp(_linear_forward, _linear_backward)
