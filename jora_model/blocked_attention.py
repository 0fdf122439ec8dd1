"""Attention under `reach` in tiles, with its own gradient: nothing of size [T, S] exists, and what is hidden is
skipped.

The same numbers as `attention.attend` under `attention.visible` (tested). A loop goes over the blocks of queries, and
one within over the tiles of a block that hold a visible pair (`tiles.py`), so time follows the visible pairs, memory is
O(S), and the program's size depends on neither. Forward keeps a running maximum and sum, backward starts from the saved
log-sum-exp (FlashAttention, arXiv 2205.14135).

Every product takes bf16 operands and sums in float32 in both directions. Two traps of XLA's CPU backend decide the
layout: a product with a transposed left operand silently becomes a float32 product of a fifth of the speed, so scores
are kept as [keys, queries] and everything else with its positions last, and only keys and values are transposed (once
a layer); and bf16 arrays that a loop carries may be widened to float32, so they are carried as bits.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from jora_model.linear import as_bits, as_float
from jora_model.tiles import Tiles, block_size, causal_tiles, padded_length

SAVED = "attention"
_HIDDEN = -1e30


def attend_blocked(
    q: Float[Array, "B N H T"],
    k: Float[Array, "B K H T"],
    v: Float[Array, "B K H T"],
    reach: Int[Array, "B T"],
    tiles: Tiles | None = None,
    mesh: Mesh | None = None,
) -> Float[Array, "B N H T"]:
    """Grouped-query attention of rows over themselves: query i sees key j exactly when `j <= i < reach[j]`.

    Keys and values are not repeated for their group of queries. Every query must see itself (padding too).

    Args:
        tiles: those of `reach` (`tiles.visible_tiles`); without them every tile of a causal row is computed.
        mesh: rows are split over its axes `data` and `fsdp`, heads over `tp`. Where key/value heads are too few to be
            split, each device gets a copy of the one that its query heads need.
    """
    if tiles is None:
        tiles = Tiles(*map(jnp.asarray, causal_tiles(*reach.shape)))
    if mesh is None:
        return _attend_rows(q, k, v, reach, tiles)
    copies = mesh.shape["tp"] // k.shape[1] if k.shape[1] % mesh.shape["tp"] else 1
    k, v = (jnp.repeat(x, copies, axis=1) for x in (k, v))
    rows = ("data", "fsdp")
    heads, whole = PartitionSpec(rows, "tp"), PartitionSpec(rows)
    # Each device loops over the tiles of its own rows; left to the compiler, the loop would gather all rows first.
    local = jax.shard_map(
        _attend_rows,
        mesh=mesh,
        in_specs=(heads, heads, heads, whole, Tiles(whole, whole)),
        out_specs=heads,
        check_vma=False,
    )
    return local(q, k, v, reach, tiles)


def _attend_rows(q: Array, k: Array, v: Array, reach: Array, tiles: Tiles) -> Array:
    H, T = q.shape[2:]
    q = (q.astype(jnp.float32) / math.sqrt(H)).astype(q.dtype)
    missing = padded_length(T) - T
    if missing:
        q, k, v = (jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing))) for x in (q, k, v))
        itself = jnp.broadcast_to(jnp.arange(T + 1, T + missing + 1, dtype=reach.dtype), (len(reach), missing))
        reach = jnp.concatenate([reach, itself], axis=1)
    rows = (q, k, v, reach, tiles)
    if len(q) == 1:
        out = _attend_row(*jax.tree.map(lambda x: x[0], rows))[None]
    else:
        out = lax.map(lambda row: _attend_row(*row), rows)
    return out[..., :T]


def _attend_row(q: Array, k: Array, v: Array, reach: Array, tiles: Tiles) -> Array:
    N, H, T = q.shape
    return _attend(q.reshape(k.shape[0], -1, H, T), k, v, reach, tiles.spans, tiles.ends).reshape(N, H, T)


def _product(x: Array, y: Array, x_dim: int, y_dim: int) -> Array:
    """Batched over dim 0 (key/value heads), summed in float32."""
    return lax.dot_general(
        x,
        y,
        (((x_dim,), (y_dim,)), ((0,), (0,))),
        precision=lax.Precision.HIGHEST if x.dtype == jnp.float32 else None,
        preferred_element_type=jnp.float32,
    )


def _transposed(x: Array) -> Array:
    """Bits of `[K, H, T]` as `[K, T, H]`, behind a barrier: in a row of one block the compiler would fold it into the
    products, and XLA's CPU backend finds at run time only that it cannot compute these."""
    return lax.optimization_barrier(as_bits(x).swapaxes(1, 2))


def _hide(scores: Array, reach: Array, span: Array) -> Array:
    """Scores `[K, keys, group * queries]` of a tile, with what is not visible far below everything."""
    K, size, M = scores.shape
    # From the span, not from the loop over blocks: the compiler would keep the queries' places as an array, and reading
    # that for every score takes several times longer than counting.
    i = (span[0] + jnp.arange(size, dtype=jnp.int32))[None, :]
    j = (span[1] + jnp.arange(size, dtype=jnp.int32))[:, None]
    ends = lax.dynamic_slice_in_dim(reach, span[1], size)[:, None]
    seen = (j <= i) & (i < ends) & (j >= span[2])
    seen = jnp.broadcast_to(seen[None, :, None], (K, size, M // size, size)).reshape(scores.shape)
    return jnp.where(seen, scores, jnp.float32(_HIDDEN))


def _keys_of(whole: Array, span: Array, dim: int) -> Array:
    size = block_size(whole.shape[dim])
    return as_float(lax.dynamic_slice_in_dim(whole, span[1], size, axis=dim))


def _block_of(whole: Array, block: Array) -> Array:
    """`[K, G, .., T]` -> `[K, .., G * queries]` of a block: heads of a group side by side, one operand of a product."""
    size = block_size(whole.shape[-1])
    part = jnp.moveaxis(lax.dynamic_slice_in_dim(whole, block * size, size, axis=-1), 1, -2)
    return as_float(part.reshape(*part.shape[:-2], -1))


def _with_block(whole: Array, part: Array, block: Array) -> Array:
    """The opposite of `_block_of`: `whole` with one block replaced, in place within a loop."""
    size = block_size(whole.shape[-1])
    part = as_bits(part).reshape(*part.shape[:-1], whole.shape[1], size)
    return lax.dynamic_update_slice_in_dim(whole, jnp.moveaxis(part, -2, 1), block * size, axis=-1)


def _add_keys(whole: Array, part: Array, span: Array) -> Array:
    """`[K, H, T]` with `[K, H, keys]` added; in place within a loop."""
    old = lax.dynamic_slice_in_dim(whole, span[1], part.shape[2], 2)
    return lax.dynamic_update_slice_in_dim(whole, old + part, span[1], 2)


@jax.custom_vjp
def _attend(q: Array, k: Array, v: Array, reach: Array, spans: Array, ends: Array) -> Array:
    return _forward(q, k, v, reach, spans, ends)[0]


def _forward(q: Array, k: Array, v: Array, reach: Array, spans: Array, ends: Array) -> tuple[Array, Any]:
    """q `[K, G, H, T]`, k and v `[K, H, T]` -> out like q, and what the backward pass needs."""
    K, G, H, T = q.shape
    M = G * block_size(T)
    all_queries, values, keys_T = as_bits(q), as_bits(v), _transposed(k)

    def attend_block(block: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        queries = _block_of(all_queries, block)

        def add(tile: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            out, top, total = sums
            span = spans[tile]
            scores = _hide(_product(_keys_of(keys_T, span, 1), queries, 2, 1), reach, span)
            # A query that saw nothing so far has sums of nonsense; its factor is 0 once it sees itself.
            new_top = jnp.maximum(top, jnp.max(scores, axis=1))
            weights = jnp.exp(scores - new_top[:, None])
            fade = jnp.exp(top - new_top)
            shares = _product(_keys_of(values, span, 2), weights.astype(q.dtype), 2, 1)
            return out * fade[:, None] + shares, new_top, total * fade + jnp.sum(weights, axis=1)

        nothing = jnp.zeros((K, M), jnp.float32)
        start = (jnp.zeros((K, H, M), jnp.float32), nothing + jnp.float32(_HIDDEN), nothing)
        out, top, total = lax.fori_loop(ends[block], ends[block + 1], add, start)
        outs, log_sums = carry
        outs = _with_block(outs, (out / total[:, None]).astype(q.dtype), block)
        return outs, _with_block(log_sums, top + jnp.log(total), block)

    start = (jnp.zeros_like(all_queries), jnp.zeros((K, G, T), jnp.float32))
    out_bits, log_sums = lax.fori_loop(0, T // block_size(T), attend_block, start)
    # Named, so that a layer that is computed again in the backward pass does not compute its attention again.
    out_bits, log_sums = checkpoint_name(out_bits, SAVED), checkpoint_name(log_sums, SAVED)
    return as_float(out_bits), (q, k, v, reach, spans, ends, out_bits, log_sums)


def _backward(residuals: Any, g: Array) -> tuple[Any, ...]:
    q, k, v, reach, spans, ends, out_bits, log_sums = residuals
    all_queries, all_errors, keys = (as_bits(x) for x in (q, g, k))
    keys_T, values_T = _transposed(k), _transposed(v)
    delta = jnp.sum(g.astype(jnp.float32) * as_float(out_bits).astype(jnp.float32), axis=2)

    def attend_block(block: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        queries, errors, log_sum, own_delta = (_block_of(x, block) for x in (all_queries, all_errors, log_sums, delta))

        def add(tile: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            dq, dk, dv = sums
            span = spans[tile]
            scores = _product(_keys_of(keys_T, span, 1), queries, 2, 1) - log_sum[:, None]
            weights = jnp.exp(_hide(scores, reach, span))
            dscores = weights * (_product(_keys_of(values_T, span, 1), errors, 2, 1) - own_delta[:, None])
            dscores, weights = dscores.astype(q.dtype), weights.astype(q.dtype)
            dq = dq + _product(_keys_of(keys, span, 2), dscores, 2, 1)
            dk = _add_keys(dk, _product(queries, dscores, 2, 2), span)
            return dq, dk, _add_keys(dv, _product(errors, weights, 2, 2), span)

        dqs, dk, dv = carry
        start = (jnp.zeros(queries.shape, jnp.float32), dk, dv)
        dq, dk, dv = lax.fori_loop(ends[block], ends[block + 1], add, start)
        return _with_block(dqs, dq.astype(q.dtype), block), dk, dv

    nothing = jnp.zeros(k.shape, jnp.float32)
    start = (jnp.zeros_like(all_queries), nothing, nothing)
    dq_bits, dk, dv = lax.fori_loop(0, q.shape[3] // block_size(q.shape[3]), attend_block, start)
    return as_float(dq_bits), dk.astype(k.dtype), dv.astype(v.dtype), None, None, None


_attend.defvjp(_forward, _backward)
