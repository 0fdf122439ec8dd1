"""Dense reference attention under `reach`, and rotary embeddings. Shape letters: see the glossary of the design."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jora_model.ops.cpu import product, swapped_halves, swapped_halves_last


class Scores(NamedTuple):
    """How scores follow from queries and keys, the same for all layers of a model.

    Attributes:
        scale: what products are multiplied by; None is 1 / sqrt(H).
        cap: scores are `cap * tanh(score / cap)`; None leaves them.
        width: how many of a head's first dims are rotated; None is all.
    """

    scale: float | None = None
    cap: float | None = None
    width: int | None = None

    def scale_of(self, head_dim: int) -> float:
        """The scale for heads of this size."""
        return 1 / math.sqrt(head_dim) if self.scale is None else self.scale


PLAIN_SCORES = Scores()


class Window(NamedTuple):
    """A query sees a key only if its depth is less than `size` beyond the key's.

    Depths are positions in the trie, not places in the row: a branch does not come closer to what it shares with
    others by being stored first.

    Attributes:
        depths: int32 [B, T], the positions of the tokens.
        size: int32 [B].
    """

    depths: Array
    size: Array


def visible(reach: Int[Array, "B S"], window: Window | None = None) -> Bool[Array, "B T S"]:
    """The attention mask: query i sees key j exactly when `j <= i < reach[j]`, and j is in the window.

    `reach[j]` is the end of position j's subtree in a depth-first forest of token tries. A plain causal sequence
    that ends at n has reach n throughout; padding has `reach[j] = j + 1` and sees itself only.
    """
    index = jnp.arange(reach.shape[1], dtype=jnp.int32)
    i, j = index[None, :, None], index[None, None, :]
    seen = (j <= i) & (i < reach[:, None, :])
    if window is not None:
        seen &= window.depths[:, :, None] - window.depths[:, None, :] < window.size[:, None, None]
    return seen


def attend(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B S K H"],
    v: Float[Array, "B S K H"],
    mask: Bool[Array, "B T S"],
    scores: Scores = PLAIN_SCORES,
) -> Float[Array, "B T N H"]:
    """Dense grouped-query attention; operands in their dtype, scores and softmax in float32.

    Keys and values are not repeated for the query heads of a group. Every query must see at least one key.
    """
    B, T, N, H = q.shape
    K = k.shape[2]
    q = (q.astype(jnp.float32) * jnp.float32(scores.scale_of(H))).astype(q.dtype).reshape(B, T, K, N // K, H)
    products = product("btkgh,bskh->bkgts", q, k)
    if scores.cap is not None:
        products = jnp.tanh(products / jnp.float32(scores.cap)) * jnp.float32(scores.cap)
    products = jnp.where(mask[:, None, None, :, :], products, jnp.float32(-1e30))
    weights = jax.nn.softmax(products, axis=-1).astype(q.dtype)
    return product("bkgts,bskh->btkgh", weights, v).astype(q.dtype).reshape(B, T, N, H)


def rotary(
    positions: Int[Array, "B T"], frequencies: np.ndarray | Array, head_dim: int | None = None, factor: float = 1.0
) -> tuple[Float[Array, "B H T"], Float[Array, "B H T"]]:
    """Cosine and sine of each position's angles, the same for both halves of the rotated dims; float32.

    Args:
        frequencies: inverse frequencies, `[width / 2]`, or `[B, width / 2]` for each row its own.
        head_dim: H; dims beyond the width are not rotated: cosine 1, sine 0.
        factor: what cosine and sine of the rotated dims are multiplied by.
    """
    doubled = jnp.concatenate((jnp.asarray(frequencies),) * 2, axis=-1)
    doubled = doubled[None] if doubled.ndim == 1 else doubled
    angles = positions.astype(jnp.float32)[:, None, :] * doubled[:, :, None]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    if factor != 1:
        cos, sin = cos * jnp.float32(factor), sin * jnp.float32(factor)
    missing = 0 if head_dim is None else head_dim - doubled.shape[-1]
    if missing:
        beyond = ((0, 0), (0, missing), (0, 0))
        cos, sin = jnp.pad(cos, beyond, constant_values=1), jnp.pad(sin, beyond)
    return cos, sin


def rotate(
    x: Float[Array, "*b H T"], cos: Float[Array, "*b H T"], sin: Float[Array, "*b H T"], width: int | None = None
) -> Array:
    """Rotate the two halves of each head (Hugging Face's `rotate_half` convention); the result is float32.

    Args:
        cos, sin: of `rotary`, broadcast to x. With the sine negated this is the gradient, and the inverse if cosine
            and sine are not multiplied by a factor.
        width: rotate as many first dims of each head; by default all.
    """
    swapped = swapped_halves(x, width)
    return x.astype(jnp.float32) * cos + swapped * sin


def rotate_last(
    x: Float[Array, "*b H"], cos: Float[Array, "*b H"], sin: Float[Array, "*b H"], width: int | None = None
) -> Array:
    """`rotate` with the head's dim last; float32."""
    return x.astype(jnp.float32) * cos + swapped_halves_last(x, width) * sin
