"""Attention under `reach` in blocks of queries, with its own gradient: nothing of size [T, S] is kept.

The same numbers as `attention.attend` under `attention.visible` (tested), but a block of queries sees only the keys up
to its own end, the log-sum-exp is saved instead of the weights, and every product takes bf16 operands and sums in
float32 in both directions (FlashAttention, arXiv 2205.14135, in plain JAX).
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

BLOCK = 128
SAVED = "attention"
_HIDDEN = -1e30


def attend_blocked(
    q: Float[Array, "B T N H"], k: Float[Array, "B T K H"], v: Float[Array, "B T K H"], reach: Int[Array, "B T"]
) -> Float[Array, "B T N H"]:
    """Grouped-query attention of a row over itself: query i sees key j exactly when `j <= i < reach[j]`.

    Keys and values are not repeated for their group of queries. Every query must see itself (padding too).
    """
    B, T, N, H = q.shape
    K = k.shape[2]
    q = (q.astype(jnp.float32) / math.sqrt(H)).astype(q.dtype).reshape(B, T, K, N // K, H)
    out = _attend(q.transpose(0, 2, 3, 1, 4), k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3), reach)
    return out.transpose(0, 3, 1, 2, 4).reshape(B, T, N, H)


def _product(x: Array, y: Array, x_dim: int, y_dim: int) -> Array:
    """Batched over dims 0 and 1 (batch, key/value head), summed in float32."""
    return lax.dot_general(
        x,
        y,
        (((x_dim,), (y_dim,)), ((0, 1), (0, 1))),
        precision=lax.Precision.HIGHEST if x.dtype == jnp.float32 else None,
        preferred_element_type=jnp.float32,
    )


def _blocks(length: int) -> list[tuple[int, int]]:
    return [(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]


def _scores(q: Array, k: Array, reach: Array, start: int, end: int) -> Array:
    """Masked scores `[B, K, G * block, end]` of the queries of one block."""
    B, K, G = q.shape[:3]
    block = q[:, :, :, start:end].reshape(B, K, G * (end - start), q.shape[-1])
    scores = _product(block, k[:, :, :end], 3, 3)
    i = jnp.arange(start, end, dtype=jnp.int32)[None, :, None]
    j = jnp.arange(end, dtype=jnp.int32)[None, None, :]
    seen = (j <= i) & (i < reach[:, None, :end])
    seen = jnp.broadcast_to(seen[:, None, None], (B, K, G, end - start, end)).reshape(scores.shape)
    return jnp.where(seen, scores, jnp.float32(_HIDDEN))


@jax.custom_vjp
def _attend(q: Array, k: Array, v: Array, reach: Array) -> Array:
    return _forward(q, k, v, reach)[0]


def _forward(q: Array, k: Array, v: Array, reach: Array) -> tuple[Array, Any]:
    """q `[B, K, G, T, H]`, k and v `[B, K, T, H]` -> out like q, and what the backward pass needs."""
    B, K, G, T, H = q.shape
    outs, sums = [], []
    for start, end in _blocks(T):
        scores = _scores(q, k, reach, start, end)
        top = jnp.max(scores, axis=-1, keepdims=True)
        weights = jnp.exp(scores - top)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        out = _product(weights.astype(q.dtype), v[:, :, :end], 3, 2) / total
        outs.append(out.astype(q.dtype).reshape(B, K, G, end - start, H))
        sums.append((top + jnp.log(total)).reshape(B, K, G, end - start))
    # Named, so that a layer that is computed again in the backward pass does not compute its attention again.
    out = checkpoint_name(jnp.concatenate(outs, axis=3), SAVED)
    return out, (q, k, v, reach, out, checkpoint_name(jnp.concatenate(sums, axis=3), SAVED))


def _backward(residuals: Any, g: Array) -> tuple[Array, Array, Array, None]:
    q, k, v, reach, out, log_sums = residuals
    B, K, G, T, H = q.shape
    delta = jnp.sum(g.astype(jnp.float32) * out.astype(jnp.float32), axis=-1)
    dqs = []
    dk_t, dv_t = (jnp.zeros((B, K, H, T), jnp.float32) for _ in "kv")
    for start, end in _blocks(T):
        rows = functools.partial(jnp.reshape, shape=(B, K, G * (end - start), -1))
        g_block, q_block = rows(g[:, :, :, start:end]), rows(q[:, :, :, start:end])
        weights = jnp.exp(_scores(q, k, reach, start, end) - rows(log_sums[:, :, :, start:end]))
        dv_t = dv_t.at[..., :end].add(_product(_transposed(g_block), weights.astype(g.dtype), 3, 2))
        dweights = _product(g_block, v[:, :, :end], 3, 3)
        dscores = (weights * (dweights - rows(delta[:, :, :, start:end]))).astype(g.dtype)
        dqs.append(_product(dscores, k[:, :, :end], 3, 2).astype(q.dtype).reshape(B, K, G, end - start, H))
        dk_t = dk_t.at[..., :end].add(_product(_transposed(q_block), dscores, 3, 2))
    dk, dv = dk_t.swapaxes(2, 3).astype(k.dtype), dv_t.swapaxes(2, 3).astype(v.dtype)
    return jnp.concatenate(dqs, axis=3), dk, dv, None


def _transposed(x: Array) -> Array:
    """The small operand, really transposed: else XLA transposes the large one (a fifth of the backward pass)."""
    return lax.optimization_barrier(x.swapaxes(2, 3))


_attend.defvjp(_forward, _backward)
