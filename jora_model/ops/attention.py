"""Dense reference attention under `reach`, and rotary embeddings. Shape letters: see the glossary of the design."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jora_model.ops.cpu import product, swapped_halves, swapped_halves_last
from jora_model.spec.config import ModelConfig
from jora_model.spec.rope import llama3_frequencies


def visible(reach: Int[Array, "B S"]) -> Bool[Array, "B T S"]:
    """The attention mask: query i sees key j exactly when `j <= i < reach[j]`.

    `reach[j]` is the end of position j's subtree in a depth-first forest of token tries. A plain causal sequence
    that ends at n has reach n throughout; padding has `reach[j] = j + 1` and sees itself only.
    """
    index = jnp.arange(reach.shape[1], dtype=jnp.int32)
    i, j = index[None, :, None], index[None, None, :]
    return (j <= i) & (i < reach[:, None, :])


def attend(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B S K H"],
    v: Float[Array, "B S K H"],
    mask: Bool[Array, "B T S"],
) -> Float[Array, "B T N H"]:
    """Dense grouped-query attention; operands in their dtype, scores and softmax in float32.

    Keys and values are not repeated for the query heads of a group. Every query must see at least one key.
    """
    B, T, N, H = q.shape
    K = k.shape[2]
    q = (q.astype(jnp.float32) / math.sqrt(H)).astype(q.dtype).reshape(B, T, K, N // K, H)
    scores = product("btkgh,bskh->bkgts", q, k)
    scores = jnp.where(mask[:, None, None, :, :], scores, jnp.float32(-1e30))
    weights = jax.nn.softmax(scores, axis=-1).astype(q.dtype)
    return product("bkgts,bskh->btkgh", weights, v).astype(q.dtype).reshape(B, T, N, H)


def rope_frequencies(config: ModelConfig) -> np.ndarray:
    """Inverse frequencies, float32 `[H/2]`: theta^(-2i/H), scaled for Llama 3."""
    half = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
    frequency = (1.0 / np.power(np.float32(config.rope_theta), half)).astype(np.float32)
    return frequency if config.rope_scaling is None else llama3_frequencies(frequency, config.rope_scaling)


def rotary(
    positions: Int[Array, "B T"], frequencies: np.ndarray
) -> tuple[Float[Array, "B H T"], Float[Array, "B H T"]]:
    """Cosine and sine of each position's angles, the same for both halves of a head; float32."""
    angles = positions.astype(jnp.float32)[:, None, :] * jnp.asarray(np.tile(frequencies, 2))[None, :, None]
    return jnp.cos(angles), jnp.sin(angles)


def rotate(x: Float[Array, "*b H T"], cos: Float[Array, "*b H T"], sin: Float[Array, "*b H T"]) -> Array:
    """Rotate the two halves of each head (Hugging Face's `rotate_half` convention); the result is float32.

    Args:
        cos, sin: of `rotary`, broadcast to x. With the sine negated this is the inverse, and also the gradient.
    """
    swapped = swapped_halves(x)
    return x.astype(jnp.float32) * cos + swapped * sin


def rotate_last(x: Float[Array, "*b H"], cos: Float[Array, "*b H"], sin: Float[Array, "*b H"]) -> Array:
    """`rotate` with the head's dim last; float32."""
    return x.astype(jnp.float32) * cos + swapped_halves_last(x) * sin
