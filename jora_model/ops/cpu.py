"""What XLA's CPU backend needs, with the measured reasons. On other backends the same code is correct.

The backend has four weaknesses, which the other modules avoid by these functions:
- It widens arrays of bf16 to float32 where a loop carries, slices or updates them. It leaves uint16 bit patterns alone.
- A bf16 product with a transposed left operand silently becomes a float32 product of a fifth of the speed. The operands
  are swapped, so that the summed dim of the left one is its last.
- A product with a single row widens every weight (`FEWEST_ROWS`).
- It is slow at exponentials, at argmax, at sums over the last dim, and at swapping the halves of a dim.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

# Bits instead of bf16.


def as_float(x: Array) -> Array:
    """bf16 of uint16 bit patterns; other dtypes are returned as they are.

    Base weights are held as bits: inside a scan, a whole stack of bf16 weights would be widened to float32 ahead of the
    loop. Llama-2-7B (rank 16, one example of 512 tokens): 25,514 MiB of temporaries with bf16, 809 with bits.
    """
    return lax.bitcast_convert_type(x, jnp.bfloat16) if x.dtype == jnp.uint16 else x


def as_bits(x: Array) -> Array:
    """The inverse of `as_float`: uint16 bit patterns of bf16."""
    return lax.bitcast_convert_type(x, jnp.uint16) if x.dtype == jnp.bfloat16 else x


def storage_dtype(compute_dtype: Any) -> Any:
    """The dtype that base weights are held in: uint16 (bits of bf16) or float32."""
    return jnp.uint16 if jnp.dtype(compute_dtype) == jnp.bfloat16 else jnp.float32


def stored(x: np.ndarray, dtype: Any) -> np.ndarray:
    """Weights on the host as a `storage_dtype`; same values as `as_float` of it."""
    if dtype == jnp.uint16:
        return x.astype(ml_dtypes.bfloat16, copy=False).view(np.uint16)
    return x.astype(np.float32)


def take_rows(weights: Array, indices: Int[Array, "*b"]) -> Float[Array, "*b D"]:
    """Rows of stored weights, bf16 or float32. Taken as bits: else all weights would be converted first."""
    return as_float(jnp.take(weights, indices, axis=0))


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def saved_as_bits(x: Array, name: str) -> Array:
    """x itself; the backward pass reads it by this `checkpoint_name`, as bits.

    A stack of bf16 states would be copied, by way of float32, for every layer that a scan stores in it; bits are
    written in place.
    """
    return as_float(checkpoint_name(as_bits(x), name))


@saved_as_bits.defjvp
def _saved_jvp(name: str, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # Written out: within a call of the function above, the backward pass would not see the name.
    return as_float(checkpoint_name(as_bits(primals[0]), name)), tangents[0]


# The KV ring of answers, of which each step writes a column: of bf16, the full ring would be copied to write a column,
# and again to read it.
RING_DTYPE = jnp.float32

# Products.

# Rows of a product's left operand at least. With one row, every weight is widened to float32 (2 times slower).
FEWEST_ROWS = 2


def contract(x: Array, w: Array, x_dim: int, w_dim: int) -> Array:
    """Sum over one dim of each; operands as they are, the sum and the result in float32.

    Where x has more than two dims, the sum is over its last: it is reshaped to a matrix, or a transposed copy of w
    would be made first. In two dims, keep `x_dim` last: see above.
    """
    if x.ndim > 2:
        assert x_dim in (-1, x.ndim - 1), f"cannot sum over dim {x_dim} of {x.shape}"
        return contract(x.reshape(-1, x.shape[-1]), w, 1, w_dim).reshape(*x.shape[:-1], w.shape[1 - w_dim])
    return lax.dot_general(
        x,
        w,
        (((x_dim % x.ndim,), (w_dim % w.ndim,)), ((), ())),
        precision=_precision(x),
        preferred_element_type=jnp.float32,
    )


def product(expression: str, x: Array, y: Array) -> Array:
    """`jnp.einsum` with operands as they are, the sum and the result in float32."""
    return jnp.einsum(expression, x, y, precision=_precision(x), preferred_element_type=jnp.float32)


def _precision(x: Array) -> lax.Precision | None:
    return lax.Precision.HIGHEST if x.dtype == jnp.float32 else None


def swapped_halves(x: Float[Array, "*b H T"], width: int | None = None) -> Float[Array, "*b H T"]:
    """The two halves of dim -2 in the other order, the second one negated: `rotate_half` of transformers. float32.

    A product with a permutation, which is exact: slices would be moved number by number.

    Args:
        width: swap the halves of as many first entries, and return zeros for the others; by default all.
    """
    return product("ij,...jt->...it", jnp.asarray(_half_swap(x.shape[-2], width), x.dtype), x)


def swapped_halves_last(x: Float[Array, "*b H"], width: int | None = None) -> Float[Array, "*b H"]:
    """`swapped_halves` over the last dim."""
    return contract(x, jnp.asarray(_half_swap(x.shape[-1], width).T, x.dtype), -1, 0)


def _half_swap(size: int, width: int | None) -> np.ndarray:
    width = width or size
    swap = np.zeros((size, size), np.float32)
    eye = np.eye(width // 2, dtype=np.float32)
    swap[: width // 2, width // 2 : width] = -eye
    swap[width // 2 : width, : width // 2] = eye
    return swap


def dot_last(x: Float[Array, "*b D"], y: Float[Array, "*b D"]) -> Float[Array, "*b"]:
    """Sum of x * y over the last dim, float32. As a product: XLA's sum is seven times slower."""
    return jnp.einsum("...d,...d->...", x, y, precision=lax.Precision.HIGHEST)


# Slow operations.

LOG2_E = float(np.log2(np.e))

# 2^f for f in [-0.5, 0.5], least largest relative error for a third degree: 7.5e-5, a fiftieth of bf16's rounding.
_POWERS = (0.9999280735783662, 0.6932609862236716, 0.2426111218766845, 0.05517166492416092)


def exp2(x: Float[Array, "..."], dtype: Any) -> Array:
    """2^x for float32 x <= 1, in `dtype`: as exact as the dtype, and no more.

    In bf16 it takes 0.33 ns an element where XLA's exponential and conversion take 0.66 (one core with AVX-512), and
    attention computes one for every visible pair, twice. The error is that of rounding, 2^-8, and at most a fiftieth
    more; below 2^-126 the result is 2^-126.
    """
    if jnp.dtype(dtype) != jnp.bfloat16:
        return jnp.exp2(x).astype(dtype)
    x = jnp.maximum(x, jnp.float32(-126))
    # Not by adding and subtracting a large number, which the compiler removes.
    exponent = jnp.floor(x + jnp.float32(0.5))
    f = x - exponent
    power = jnp.float32(_POWERS[-1])
    for factor in reversed(_POWERS[:-1]):
        power = power * f + jnp.float32(factor)
    bits = lax.bitcast_convert_type(power, jnp.int32) + (exponent.astype(jnp.int32) << 23)
    rounded = ((bits + 0x8000) >> 16).astype(jnp.uint16)
    return lax.bitcast_convert_type(rounded, jnp.bfloat16)


_ARGMAX_RUN = 256


def argmax_last(x: Float[Array, "B V"]) -> Int[Array, " B"]:
    """Index of the first of the largest, as `jnp.argmax`, which takes number by number.

    The maximum of each run of numbers, the first run with the largest maximum, and the first index within it.
    """
    B, V = x.shape
    size = next(size for size in range(min(V, _ARGMAX_RUN), 0, -1) if V % size == 0)
    runs = x.reshape(B, V // size, size)
    best = jnp.argmax(jnp.max(runs, axis=-1), axis=-1)
    run = jnp.take_along_axis(runs, best[:, None, None], axis=1)[:, 0]
    return (best * size + jnp.argmax(run, axis=-1)).astype(jnp.int32)
