"""The compiled functions of generation: a layer over a row of prompts, and a layer over one new token per slot.

They are called layer by layer with the weights as arguments: a scan over stacked weights would copy each layer's slice
out of the stack at every token. The KV cache of prompts is never written again; that of answers is a ring buffer, in
float32 (`cpu.RING_DTYPE`).
"""

import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jora_model.generation.layer_weights import LayerWeights
from jora_model.generation.stacked_adapters import adapted
from jora_model.model.layer import after_attention, before_attention, embedded, normalize, scaled_logits
from jora_model.model.transformer import rope_of, scores_of
from jora_model.ops.attention import Scores, Window, rotate, rotate_last
from jora_model.ops.blocked_attention import attend_blocked, block_rope, exponents_of
from jora_model.ops.cpu import LOG2_E, RING_DTYPE, argmax_last, contract, exp2, product, take_rows
from jora_model.ops.position_blocks import positions_of_block
from jora_model.packing.tiles import Tiles
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import widths_of

_HIDDEN = -1e30
# Position-wise parts of longer rows run in blocks, which stay in the cache (a row of 2,560 on 2 cores: 45 ms of
# processor time per layer instead of 60; a row of 1,024 takes the same either way).
_LONGEST_UNBLOCKED = 1024


class Cache(NamedTuple):
    """KV cache of one layer, keys rotated: `[K, H, S]` of a row of prompts in the compute dtype, `[B, K, H, S]` and
    `[B, K, S, H]` of the answers' ring in float32."""

    keys: Array
    values: Array


class Sums(NamedTuple):
    """Attention of each slot's query over its prompt, float32: `out` is normalized, `log_sum` has base 2."""

    out: Float[Array, "B N H"]
    log_sum: Float[Array, "B N"]


class Lanes(NamedTuple):
    """Which slots attend to which rows: G rows of one length with M lanes each, one slot per lane.

    Attributes:
        slots: int32 [G * M], the slot of each lane; any for an empty lane.
        lane_of: int32 [B], the lane of each slot, or -1 if it attends to none of these rows.
        visible: bool [G, M, S], the positions of its row that each lane sees, windows aside.
        depths: int32 [G, S], the positions of the rows' tokens.
    """

    slots: Array
    lane_of: Array
    visible: Array
    depths: Array


class Programs(NamedTuple):
    """Each is compiled once per shape of its arguments."""

    start_row: Callable[..., Any]
    row_layer: Callable[..., Any]
    start: Callable[..., Any]
    queries: Callable[..., Any]
    over_rows: Callable[..., Any]
    finish_layer: Callable[..., Any]
    logits: Callable[..., Any]


@functools.cache
def programs(config: ModelConfig, dtype: Any) -> Programs:
    """The programs of a model; shared by models of the same config, so that a second one compiles nothing."""
    return Programs(
        jax.jit(partial(_start_row, config, dtype)),
        jax.jit(partial(_row_layer, config)),
        jax.jit(partial(_start, config, dtype)),
        jax.jit(partial(_queries, config)),
        jax.jit(partial(_over_rows, config), donate_argnames="sums"),
        jax.jit(partial(_finish_layer, config), donate_argnames="ring"),
        jax.jit(partial(_logits, config)),
    )


class _Part:
    """One layer, as layer.py reads it: one product a group, with the adapter of each token."""

    def __init__(self, config: ModelConfig, weights: LayerWeights, which: Array):
        self._config, self._weights, self._which = config, weights, which

    def norm(self, name: str, x: Array) -> Array:
        return normalize(self._config, x, self._weights.norms[name])

    def project(self, group: str, x: Array) -> tuple[Array, ...]:
        weights = self._weights
        out = adapted(x, weights.kernels[group], weights.adapters[group], self._which, weights.biases.get(group))
        return tuple(jnp.split(out, np.cumsum(widths_of(self._config, group))[:-1].tolist(), axis=-1))


# Rows of prompts.


def _start_row(
    config: ModelConfig,
    dtype: Any,
    embed: Array,
    tokens: Int[Array, " S"],
    positions: Int[Array, " S"],
    long: Bool[Array, "1"],
) -> tuple[Array, list[Any]]:
    """States, and for each rope its angles and its angles in blocks."""
    angles = [rope_of(rope, positions[None], config.head_dim, long) for rope in config.ropes]
    group = config.num_heads // config.num_kv_heads
    return embedded(config, take_rows(embed, tokens).astype(dtype)), [(x, block_rope(x, group)) for x in angles]


def _row_layer(
    config: ModelConfig,
    weights: LayerWeights,
    x: Float[Array, "S D"],
    rope: Any,
    reach: Int[Array, "1 S"],
    tiles: Tiles,
    which: Int[Array, "1"],
    window: Window | None,
) -> tuple[Array, Cache]:
    """States after a layer, and its KV cache."""
    part, scores = _Part(config, weights, which), scores_of(config)
    angles, blocks = rope
    q, k, v = before_attention(config, part, x)
    attended = attend_blocked(q[None], k[None], v[None], blocks, reach, tiles, scores=scores, window=window)[0]
    keys = rotate(jnp.transpose(k, (1, 2, 0)), angles[0], angles[1], scores.width).astype(x.dtype)
    cache = Cache(keys, jnp.transpose(v, (1, 2, 0)))
    if len(x) <= _LONGEST_UNBLOCKED:
        return after_attention(config, part, x, attended), cache
    size = positions_of_block(len(x))
    parts = (x.reshape(-1, size, x.shape[1]), attended.reshape(-1, size, *attended.shape[1:]))
    done = lax.map(lambda block: after_attention(config, part, *block), parts)
    return done.reshape(x.shape), cache


# One token per slot.


def _start(
    config: ModelConfig,
    dtype: Any,
    embed: Array,
    tokens: Int[Array, " B"],
    positions: Int[Array, " B"],
    long: Bool[Array, " B"],
) -> tuple[Array, list[Any]]:
    """States, and for each rope its angles `[B, 1, H]`."""
    angles = [rope_of(rope, positions[:, None], config.head_dim, long) for rope in config.ropes]
    swapped = [(cos.swapaxes(1, 2), sin.swapaxes(1, 2)) for cos, sin in angles]
    return embedded(config, take_rows(embed, tokens).astype(dtype)), swapped


def _queries(
    config: ModelConfig, weights: LayerWeights, x: Float[Array, "B D"], rope: Any, which: Int[Array, " B"]
) -> tuple[Array, Array, Array]:
    """Queries `[B, N, H]`, rotated and scaled, by log2(e) too without a cap; keys `[B, K, H]`, rotated; values."""
    scores = scores_of(config)
    q, k, v = before_attention(config, _Part(config, weights, which), x)
    scale = jnp.float32(scores.scale_of(config.head_dim) * (LOG2_E if scores.cap is None else 1.0))
    q, k = (rotate_last(y, rope[0], rope[1], scores.width) for y in (q, k))
    return (q * scale).astype(x.dtype), k.astype(x.dtype), v


def _over_rows(
    config: ModelConfig,
    q: Float[Array, "B N H"],
    rows: tuple[Cache, ...],
    lanes: Lanes,
    positions: Int[Array, " B"],
    window: Int[Array, ""] | None,
    *,
    sums: Sums,
) -> Sums:
    """`sums` with those slots updated that attend to these rows; a row is read once for all of its lanes.

    Args:
        positions: of the new tokens.
        window: of this layer; None if it hides nothing.
    """
    N, K, H = config.num_heads, config.num_kv_heads, config.head_dim
    G, M, _ = lanes.visible.shape
    queries = jnp.take(q, lanes.slots, axis=0).reshape(G, M, K, N // K, H)
    queries = jnp.transpose(queries, (0, 2, 1, 3, 4)).reshape(G, K, -1, H)
    visible = lanes.visible
    if window is not None:
        own = jnp.take(positions, lanes.slots).reshape(G, M)
        visible &= own[:, :, None] - lanes.depths[:, None] < window
    parts = [_over_row(scores_of(config), queries[g], row, visible[g]) for g, row in enumerate(rows)]
    outs, log_sums = (jnp.stack(part) for part in zip(*parts, strict=True))

    def by_lane(x: Array) -> Array:
        """`[G, K, M * N / K, ..]` -> `[G * M, N, ..]`"""
        x = x.reshape(G, K, M, N // K, *x.shape[3:])
        return jnp.moveaxis(x, 1, 2).reshape(G * M, N, *x.shape[4:])

    here = lanes.lane_of >= 0
    lane = jnp.maximum(lanes.lane_of, 0)
    return Sums(
        jnp.where(here[:, None, None], jnp.take(by_lane(outs), lane, axis=0), sums.out),
        jnp.where(here[:, None], jnp.take(by_lane(log_sums), lane, axis=0), sums.log_sum),
    )


def _over_row(scores: Scores, q: Float[Array, "K Q H"], row: Cache, visible: Bool[Array, "M S"]) -> tuple[Array, Array]:
    K, Q, _ = q.shape
    M, S = visible.shape
    mask = jnp.broadcast_to(visible[None, :, None], (K, M, Q // M, S)).reshape(K, Q, S)
    exponents = exponents_of(scores, product("kqh,khs->kqs", q, row.keys))
    exponents = jnp.where(mask, exponents, jnp.float32(_HIDDEN))
    top = jnp.max(exponents, axis=-1)
    weights = exp2(exponents - top[..., None], q.dtype)
    total = jnp.sum(weights.astype(jnp.float32), axis=-1)
    return product("kqs,khs->kqh", weights, row.values) / total[..., None], top + jnp.log2(total)


def _finish_layer(
    config: ModelConfig,
    weights: LayerWeights,
    x: Float[Array, "B D"],
    q: Float[Array, "B N H"],
    k: Float[Array, "B K H"],
    v: Float[Array, "B K H"],
    sums: Sums,
    column: Int[Array, ""],
    ages: Int[Array, " B"],
    which: Int[Array, " B"],
    window: Int[Array, ""] | None,
    *,
    ring: Cache,
) -> tuple[Array, Cache]:
    """Write the new column, attend to the ring, merge with the prompts, and run the rest of the layer.

    Args:
        column: index in the ring of the new tokens.
        ages: how many of the last columns belong to each slot's answer, including the new one.
    """
    B, N, H = q.shape
    K = config.num_kv_heads
    ring = Cache(
        lax.dynamic_update_slice_in_dim(ring.keys, k.astype(RING_DTYPE)[..., None], column, axis=3),
        lax.dynamic_update_slice_in_dim(ring.values, v.astype(RING_DTYPE)[:, :, None], column, axis=2),
    )
    R = ring.keys.shape[-1]
    back = (column - jnp.arange(R, dtype=jnp.int32)) % R
    seen = ages if window is None else jnp.minimum(ages, window)
    own = (back[None] < seen[:, None])[:, None, None]
    queries = q.astype(RING_DTYPE).reshape(B, K, N // K, H)
    exponents = exponents_of(scores_of(config), product("bkgh,bkhs->bkgs", queries, ring.keys))
    exponents = jnp.where(own, exponents, jnp.float32(_HIDDEN)).reshape(B, N, R)
    top = jnp.maximum(jnp.max(exponents, axis=-1), sums.log_sum)
    shares = jnp.exp2(exponents - top[..., None])
    prompt = jnp.exp2(sums.log_sum - top)
    total = jnp.sum(shares, axis=-1) + prompt
    out = product("bkgs,bksh->bkgh", shares.reshape(B, K, N // K, R), ring.values).reshape(B, N, H)
    out = (out + sums.out * prompt[..., None]) / total[..., None]
    return after_attention(config, _Part(config, weights, which), x, out.astype(x.dtype)), ring


def _logits(
    config: ModelConfig, norm: Array, head: Array, x: Float[Array, "T D"], indices: Int[Array, " B"]
) -> tuple[Float[Array, "B V"], Int[Array, " B"]]:
    """Float32 logits at these positions only, and the likeliest token of each."""
    x = normalize(config, jnp.take(x, indices, axis=0), norm)
    logits = scaled_logits(config, contract(x, head, -1, 1))
    return logits, argmax_last(logits)
