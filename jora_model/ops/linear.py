"""Linear layers with LoRA: operands in the compute dtype, sums in float32, in both directions.

JAX's own transpose of a bf16 product with a float32 sum multiplies a float32 cotangent by bf16 weights, which silently
becomes a float32 product of half the speed; hence the custom gradient.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from jora_model.ops.cpu import as_bits, as_float, contract

# Name under which `Remat` "dots" (settings.py) saves the results of products.
PRODUCT = "product"


def linear(
    x: Float[Array, "B T I"],
    kernel: Array,
    adapter: tuple[Array, Array] | None = None,
    scale: float = 1.0,
    keep: Float[Array, "B T I"] | None = None,
    bias: Array | None = None,
) -> Float[Array, "B T O"]:
    """`x W^T + b + scale (keep * x) A^T B^T` for a frozen kernel W `[O, I]` (bf16 bits, or x's dtype); never `W + BA`.

    All is summed in float32 and rounded once. No gradient is formed for the kernel and the bias.

    Args:
        adapter: A `[R, I]` and B transposed `[R, O]`, float32: multiplied in x's dtype, gradients summed in float32.
        keep: dropout factors of the adapter's input, in x's dtype.
        bias: b `[O]`, as the kernel.
    """
    return _linear(scale, x, kernel, adapter, keep, bias)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _linear(scale: float, x: Array, kernel: Array, adapter: Any, keep: Any, bias: Any) -> Array:
    out = contract(x, as_float(kernel).astype(x.dtype), -1, 1)
    if bias is not None:
        out = out + as_float(bias).astype(jnp.float32).reshape((1,) * (out.ndim - 1) + bias.shape)
    if adapter is not None:
        out = out + contract(_low(scale, x, adapter[0], keep), adapter[1].astype(x.dtype), -1, 0)
    return out.astype(x.dtype)


def _low(scale: float, x: Array, a: Array, keep: Array | None) -> Array:
    """The adapter's rank-R states, scaled, `[B, T, R]`."""
    x = x if keep is None else x * keep
    return (contract(x, a.astype(x.dtype), -1, 1) * jnp.float32(scale)).astype(x.dtype)


def _linear_forward(scale: float, x: Array, kernel: Array, adapter: Any, keep: Any, bias: Any) -> tuple[Array, Any]:
    out = as_float(checkpoint_name(as_bits(_linear(scale, x, kernel, adapter, keep, bias)), PRODUCT))
    return out, (None if adapter is None else x, kernel, adapter, keep)


def _linear_backward(scale: float, residuals: Any, g: Array) -> tuple[Array, None, Any, None, None]:
    x, kernel, adapter, keep = residuals
    dx = contract(g, as_float(kernel).astype(g.dtype), -1, 0)
    if adapter is None:
        return dx.astype(g.dtype), None, None, None, None
    a, b = (factor.astype(g.dtype) for factor in adapter)
    x = x if keep is None else x * keep
    factor = jnp.float32(scale)
    dlow = (contract(g, b, -1, 1) * factor).astype(g.dtype)
    dropped = contract(dlow, a, -1, 0)
    dx = dx + (dropped if keep is None else dropped * keep.astype(jnp.float32))
    # Both narrow states again, with positions last: else sums over positions had a transposed left operand (cpu.py).
    x, g = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
    low, dlow = ((contract(*pair, 1, 1) * factor).astype(g.dtype) for pair in ((a, x), (b, g)))
    return dx.astype(g.dtype), None, (contract(dlow, x, 1, 0), contract(low, g, 1, 0)), None, None


_linear.defvjp(_linear_forward, _linear_backward)
