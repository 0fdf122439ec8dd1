"""DoRA (arXiv 2402.09353): `m / |W + s B A|` times `W x + s B A x`, row by row; the length has no gradient, as in PEFT.

The length comes from |W|^2, W A^T and A A^T: `W + s B A` is never formed. Training computes the lengths of all layers
once for a microbatch: within a layer they would be computed again for each block of positions and in the backward pass.
"""

from functools import partial

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jora_model.ops.cpu import as_float, contract
from jora_model.ops.linear import linear


def row_lengths(kernel: Array, a: Float[Array, "R in"], b: Float[Array, "out R"], scale: float) -> Float[Array, " out"]:
    """`|W + s B A|` of each row of W (bf16 bits, bf16 or float32), float32, without a gradient."""
    a, b = lax.stop_gradient((a, b))
    wide, a, b = (jnp.asarray(as_float(x), jnp.float32) for x in (kernel, jnp.asarray(a), jnp.asarray(b)))
    squares = jnp.sum(jnp.square(wide), axis=-1)
    squares = squares + jnp.float32(2 * scale) * jnp.sum(b * contract(wide, a, 1, 1), axis=-1)
    squares = squares + jnp.float32(scale * scale) * jnp.sum(b * contract(b, contract(a, a, 1, 1), 1, 0), axis=-1)
    return jnp.sqrt(jnp.maximum(squares, jnp.finfo(jnp.float32).tiny))


def stacked_lengths(
    kernel: Array, a: Float[Array, "L R in"], b: Float[Array, "L R out"], scale: float
) -> Float[Array, "L out"]:
    """`row_lengths` of all layers, one after the other: only one layer's weights are in float32 at once.

    Args:
        kernel: W `[L, out, in]`.
        b: B transposed.
    """

    def of_layer(scale: float, layer: tuple[Array, Array, Array]) -> Array:
        kernel, a, b = layer
        return row_lengths(kernel, a, jnp.swapaxes(b, 0, 1), scale)

    return lax.map(partial(of_layer, scale), (kernel, *lax.stop_gradient((a, b))))


def row_factors(
    kernel: Array,
    a: Float[Array, "R in"],
    b: Float[Array, "out R"],
    scale: float,
    magnitude: Float[Array, " out"],
) -> Float[Array, " out"]:
    """`m / |W + s B A|` of each row, float32; one where `magnitude` is NaN (no adapter there)."""
    lengths = jnp.asarray(magnitude, jnp.float32)
    return jnp.where(jnp.isnan(lengths), jnp.float32(1), lengths / row_lengths(kernel, a, b, scale))


def dora(
    x: Float[Array, "B T I"],
    kernel: Array,
    adapter: tuple[Array, Array],
    magnitude: Float[Array, " O"],
    lengths: Float[Array, " O"],
    scale: float = 1.0,
    keep: Float[Array, "B T I"] | None = None,
    bias: Array | None = None,
) -> Float[Array, "B T O"]:
    """`f (W x + s B A x) + b` with `f = m / |W + s B A|`, for a frozen kernel W `[O, I]` as `linear.linear` takes it.

    With dropout PEFT computes `W x + (f - 1) W x' + f s B A x'` for the dropped input x'; here it takes two products.

    Args:
        adapter: A `[R, I]` and B transposed `[R, O]`, float32.
        magnitude: m, float32: trained as A and B are; NaN where a layer has no adapter, whose f is one.
        lengths: `row_lengths` of this kernel and adapter.
        keep: dropout factors of the adapter's input, in x's dtype.
        bias: b `[O]`, as the kernel; not scaled.
    """
    factor = jnp.where(jnp.isnan(magnitude), jnp.float32(1), magnitude / lengths)
    dropped = x if keep is None else x * keep
    out = linear(dropped, kernel, adapter, scale).astype(jnp.float32) * factor[None, None]
    if keep is not None:
        out = out + linear(x - dropped, kernel).astype(jnp.float32)
    if bias is not None:
        out = out + as_float(bias).astype(jnp.float32)[None, None]
    return out.astype(x.dtype)
