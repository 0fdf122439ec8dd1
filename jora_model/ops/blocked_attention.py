"""Attention under `reach` in tiles, with a custom gradient: no array of size [T, S], and no work on hidden tiles.

Same numbers as `attention.attend` under `attention.visible` (tested). The outer loop runs over heads and blocks of
queries, the inner one over the tiles of a block that hold a visible pair (`tiles.py`), so time follows the visible
pairs, memory is O(S), and the program's size depends on neither. Forward keeps a running maximum and sum, backward
starts from the saved log-sum-exp (FlashAttention, arXiv 2205.14135).

Every product takes bf16 operands and sums in float32 in both directions, and one key/value head's tile stays in the
cache. The CPU backend decides the layout (cpu.py): scores are [keys, queries] and positions come last within the loops,
so that no product has a transposed left operand; bf16 arrays that a loop carries are carried as bits. A row is
transposed before and after the loops, on its own: fused with another operation that would take three times as long.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from jora_model.ops.attention import PLAIN_SCORES, Scores, Window, rotate
from jora_model.ops.cpu import LOG2_E, as_bits, as_float, contract, exp2
from jora_model.packing.tiles import Tiles, block_size, causal_tiles, padded_length

SAVED = "attention"
QUERY_BLOCKS, TILES = "query_blocks", "tiles"  # names of the two loops in the compiled program
_HIDDEN = -1e30

Rope = tuple[Float[Array, "B blocks H M"], Float[Array, "B blocks H M"]]


def block_rope(rope: tuple[Float[Array, "B H T"], Float[Array, "B H T"]], group: int) -> Rope:
    """`attention.rotary` in blocks, repeated for each query head of a group, as `attend_blocked` takes it."""

    def parts(x: Array) -> Array:
        B, H, T = x.shape
        size = block_size(T)
        x = jnp.pad(x, ((0, 0), (0, 0), (0, padded_length(T) - T)))
        return jnp.tile(x.reshape(B, H, -1, size).swapaxes(1, 2), (1, 1, 1, group))

    cos, sin = rope
    return parts(cos), parts(sin)


def attend_blocked(
    q: Float[Array, "B T N H"],
    k: Float[Array, "B T K H"],
    v: Float[Array, "B T K H"],
    rope: Rope,
    reach: Int[Array, "B T"],
    tiles: Tiles | None = None,
    mesh: Mesh | None = None,
    scores: Scores = PLAIN_SCORES,
    window: Window | None = None,
) -> Float[Array, "B T N H"]:
    """Grouped-query self-attention of rows: query i sees key j if `j <= i < reach[j]` and j is in the window.

    Keys and values are not repeated for the query heads of a group. Every query must see itself. Blocks after a row's
    last tile are not computed; their output is 0.

    Args:
        q, k: not rotated; rotating within a block costs almost nothing.
        rope: `block_rope` of the positions, for groups of N / K.
        tiles: `tiles.visible_tiles` of the rows; None computes every tile of a causal row.
        mesh: rows are split over its axes `data` and `fsdp`, heads over `tp`. Key/value heads fewer than `tp` are
            replicated: each device gets a copy of the one that its query heads need.
        window: None if no row is longer than it: reading the queries' depths for every score takes time.
    """
    if tiles is None:
        tiles = Tiles(*map(jnp.asarray, causal_tiles(*reach.shape)))
    return over_mesh(partial(_attend_rows, scores), mesh, (q, k, v), (rope, reach, tiles, window))


def over_mesh(attend: Callable[..., Array], mesh: Mesh | None, qkv: tuple[Array, Array, Array], rest: Any) -> Array:
    """`attend(*qkv, *rest)`; on a mesh, each device computes its own rows and heads.

    Args:
        rest: arrays of rows, the same for every head.
    """
    if mesh is None:
        return attend(*qkv, *rest)
    q, k, v = qkv
    copies = mesh.shape["tp"] // k.shape[2] if k.shape[2] % mesh.shape["tp"] else 1
    k, v = (jnp.repeat(x, copies, axis=2) for x in (k, v))
    rows = ("data", "fsdp")
    heads, by_row = PartitionSpec(rows, None, "tp"), PartitionSpec(rows)
    # Each device loops over the tiles of its own rows; the compiler would gather all rows before the loop.
    specs = (heads, heads, heads, *(jax.tree.map(lambda _: by_row, part) for part in rest))
    local = jax.shard_map(attend, mesh=mesh, in_specs=specs, out_specs=heads, check_vma=False)
    return local(q, k, v, *rest)


def used_blocks(ends: Int[Array, "*b ends"]) -> Int[Array, "*b"]:
    """Number of blocks before a row's padding, from `Tiles.ends`."""
    return jnp.sum((ends[..., 1:] > ends[..., :-1]).astype(jnp.int32), axis=-1)


def _attend_rows(
    scores: Scores, q: Array, k: Array, v: Array, rope: Rope, reach: Array, tiles: Tiles, window: Window | None
) -> Array:
    T = q.shape[1]
    missing = padded_length(T) - T
    if missing:
        q, k, v = (jnp.pad(x, ((0, 0), (0, missing), (0, 0), (0, 0))) for x in (q, k, v))
        itself = jnp.broadcast_to(jnp.arange(T + 1, T + missing + 1, dtype=reach.dtype), (len(reach), missing))
        reach = jnp.concatenate([reach, itself], axis=1)
        if window is not None:
            window = Window(jnp.pad(window.depths, ((0, 0), (0, missing))), window.size)
    rows = (q, k, v, rope, reach, *tiles, window)
    if len(q) == 1:
        out = _attend(scores, *jax.tree.map(lambda x: x[0], rows))[None]
    else:
        out = lax.map(lambda row: _attend(scores, *row), rows)
    return out[:, :T]


def _blocks(x: Array, heads: int) -> Array:
    """`[T, N, H]` -> `[K, blocks, H, group * queries]`: positions last, queries of a group adjacent."""
    T, N, H = x.shape
    size = block_size(T)
    parts = x.reshape(T // size, size, heads, N // heads, H)
    return jnp.transpose(parts, (2, 0, 4, 3, 1)).reshape(heads, T // size, H, -1)


def _positions(x: Array, size: int) -> Array:
    """The inverse: `[K, blocks, H, group * queries]` -> `[T, N, H]`."""
    K, blocks, H, M = x.shape
    parts = x.reshape(K, blocks, H, M // size, size)
    return jnp.transpose(parts, (1, 4, 0, 3, 2)).reshape(blocks * size, -1, H)


def _hide(scores: Array, reach: Array, span: Array, window: Window | None) -> Array:
    """Scores `[keys, group * queries]` of a tile, masked."""
    size, M = scores.shape
    # From the span, not from the loop over blocks: the compiler would keep the queries' positions as an array, and
    # reading that for every score takes several times longer than counting.
    i = (span[0] + jnp.arange(size, dtype=jnp.int32))[None, :]
    j = (span[1] + jnp.arange(size, dtype=jnp.int32))[:, None]
    ends = lax.dynamic_slice_in_dim(reach, span[1], size)[:, None]
    seen = (j <= i) & (i < ends) & (j >= span[2])
    if window is not None:
        own, theirs = (lax.dynamic_slice_in_dim(window.depths, span[at], size) for at in (0, 1))
        seen &= own[None, :] - theirs[:, None] < window.size
    seen = jnp.broadcast_to(seen[:, None], (size, M // size, size)).reshape(scores.shape)
    return jnp.where(seen, scores, jnp.float32(_HIDDEN))


def _keys_of(x: Array, head: Array, start: Array, size: int, dim: int) -> Array:
    """`[K, H, T]` or `[K, T, H]` -> the keys of a tile of one head; `dim` is the keys' dim in the result."""
    one = lax.dynamic_index_in_dim(x, head, keepdims=False)
    return as_float(lax.dynamic_slice_in_dim(one, start, size, axis=dim))


def _block_of(x: Array, head: Array, block: Array) -> Array:
    return as_float(lax.dynamic_slice(x, _start(x, head, block), (1, 1, *x.shape[2:]))[0, 0])


def _with_block(x: Array, part: Array, head: Array, block: Array) -> Array:
    """x with one block replaced; in place within a loop."""
    return lax.dynamic_update_slice(x, as_bits(part)[None, None], _start(x, head, block))


def _start(x: Array, head: Array, block: Array) -> tuple[Array, ...]:
    return (head, block, *(jnp.int32(0) for _ in x.shape[2:]))


def _add_keys(x: Array, part: Array, head: Array, start: Array) -> Array:
    """`[K, H, T]` with `[H, keys]` of a head added; in place within a loop."""
    begin = (head, jnp.int32(0), start)
    old = lax.dynamic_slice(x, begin, (1, *part.shape))
    return lax.dynamic_update_slice(x, old + part[None], begin)


def _rotated(x: Array, rope: Rope, block: Array, width: int | None, back: bool = False) -> Array:
    """`[H, M]` of a block, or its keys `[H, size]`, rotated in float32; `back` is the gradient of that."""
    cos, sin = (lax.dynamic_index_in_dim(part, block, keepdims=False)[:, : x.shape[1]] for part in rope)
    return rotate(x, cos, -sin if back else sin, width)


def _rotated_keys(x: Array, rope: Rope, size: int, dtype: Any, width: int | None, back: bool = False) -> Array:
    """`[K, H, T]`, rotated or rotated back, as bits of `dtype`. In a loop: fused with a transposition, both would be
    slow."""
    K, H, T = x.shape

    def rotate_block(number: Array, done: Array) -> Array:
        block = number % (T // size)
        start = (number // (T // size), jnp.int32(0), block * size)
        part = as_float(lax.dynamic_slice(x, start, (1, H, size))[0]).astype(dtype)
        rotated = _rotated(part, rope, block, width, back).astype(dtype)
        return lax.dynamic_update_slice(done, as_bits(rotated)[None], start)

    return lax.fori_loop(0, K * (T // size), rotate_block, as_bits(jnp.zeros(x.shape, dtype)))


def _queries(scores: Scores, part: Array, rope: Rope, block: Array) -> Array:
    """`[H, M]` rotated and scaled, by log2(e) too: scores are exponents of 2. With a cap, `exponents_of` does that."""
    scale = scores.scale_of(len(part)) * (LOG2_E if scores.cap is None else 1.0)
    return (_rotated(part, rope, block, scores.width) * scale).astype(part.dtype)


def exponents_of(scores: Scores, products: Array) -> Array:
    """Exponents of 2 from the products of scaled queries with keys."""
    if scores.cap is None:
        return products
    return jnp.tanh(products * jnp.float32(1 / scores.cap)) * jnp.float32(scores.cap * LOG2_E)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(scores: Scores, *row: Any) -> Array:
    """The first result of `_forward`, whose arguments these are."""
    return _forward(scores, *row)[0]


def _forward(
    scores: Scores,
    q: Array,
    k: Array,
    v: Array,
    rope: Rope,
    reach: Array,
    spans: Array,
    ends: Array,
    window: Window | None,
) -> tuple[Array, Any]:
    """q `[T, N, H]`, k and v `[T, K, H]` -> out like q, and the residuals."""
    T, K, H = k.shape
    size = block_size(T)
    blocks, M = T // size, q.shape[1] // K * size
    all_queries = _blocks(as_bits(q), K)
    keys = _rotated_keys(jnp.transpose(as_bits(k), (1, 2, 0)), rope, size, k.dtype, scores.width).swapaxes(1, 2)
    # A row of ones: the product with the weights then includes their sum.
    values = jnp.transpose(as_bits(v), (1, 2, 0))
    values = jnp.concatenate((values, jnp.broadcast_to(as_bits(jnp.ones((), v.dtype)), (K, 1, T))), axis=1)

    used = used_blocks(ends)

    def attend_block(number: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        head, block = number // used, number % used
        queries = _queries(scores, _block_of(all_queries, head, block), rope, block)

        def add(tile: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            out, top = sums
            span = spans[tile]
            products = contract(_keys_of(keys, head, span[1], size, 0), queries, 1, 0)
            exponents = _hide(exponents_of(scores, products), reach, span, window)
            # The sums of a query that has seen no key are garbage; their factor is 0 once it sees itself.
            new_top = jnp.maximum(top, jnp.max(exponents, axis=0))
            weights = exp2(exponents - new_top[None], q.dtype)
            shares = contract(_keys_of(values, head, span[1], size, 1), weights, 1, 0)
            return out * jnp.exp2(top - new_top)[None] + shares, new_top

        start = (jnp.zeros((H + 1, M), jnp.float32), jnp.full(M, _HIDDEN, jnp.float32))
        with jax.named_scope(TILES):
            out, top = lax.fori_loop(ends[block], ends[block + 1], add, start)
        outs, log_sums = carry
        outs = _with_block(outs, (out[:H] / out[H:]).astype(q.dtype), head, block)
        return outs, _with_block(log_sums, top + jnp.log2(out[H]), head, block)

    start = (jnp.zeros_like(all_queries), jnp.zeros((K, blocks, M), jnp.float32))
    with jax.named_scope(QUERY_BLOCKS):
        out_bits, log_sums = lax.fori_loop(0, K * used, attend_block, start)
    # Named, so that rematerialization of a layer does not compute its attention again.
    out_bits, log_sums = checkpoint_name(out_bits, SAVED), checkpoint_name(log_sums, SAVED)
    return as_float(_positions(out_bits, size)), (q, k, v, rope, reach, spans, ends, window, out_bits, log_sums)


def _backward(scores: Scores, residuals: Any, g: Array) -> tuple[Any, ...]:
    q, k, v, rope, reach, spans, ends, window, out_bits, log_sums = residuals
    T, K, _ = k.shape
    size, used = block_size(T), used_blocks(ends)
    all_queries, all_cotangents = (_blocks(as_bits(x), K) for x in (q, g))
    keys_T = _rotated_keys(jnp.transpose(as_bits(k), (1, 2, 0)), rope, size, k.dtype, scores.width)
    keys, values = keys_T.swapaxes(1, 2), as_bits(v).swapaxes(0, 1)

    def attend_block(number: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        head, block = number // used, number % used
        queries = _queries(scores, _block_of(all_queries, head, block), rope, block)
        cotangents, out, log_sum = (_block_of(x, head, block) for x in (all_cotangents, out_bits, log_sums))
        own = jnp.sum(cotangents.astype(jnp.float32) * out.astype(jnp.float32), axis=0)

        def add(tile: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
            dq, dk, dv = sums
            span = spans[tile]
            first = span[1]
            exponents = exponents_of(scores, contract(_keys_of(keys, head, first, size, 0), queries, 1, 0))
            weights = exp2(_hide(exponents - log_sum[None], reach, span, window), q.dtype)
            dweights = contract(_keys_of(values, head, first, size, 0), cotangents, 1, 0) - own[None]
            dscores = weights.astype(jnp.float32) * dweights
            if scores.cap is not None:  # tanh' = 1 - tanh^2
                dscores = dscores * (1 - jnp.square(exponents * jnp.float32(1 / (scores.cap * LOG2_E))))
            dscores = dscores.astype(q.dtype)
            dq = dq + contract(_keys_of(keys_T, head, first, size, 1), dscores, 1, 0)
            dk = _add_keys(dk, contract(queries, dscores, 1, 1), head, first)
            return dq, dk, _add_keys(dv, contract(cotangents, weights, 1, 1), head, first)

        dqs, dk, dv = carry
        start = (jnp.zeros(queries.shape, jnp.float32), dk, dv)
        with jax.named_scope(TILES):
            dq, dk, dv = lax.fori_loop(ends[block], ends[block + 1], add, start)
        dq = (dq * jnp.float32(scores.scale_of(len(dq)))).astype(q.dtype)
        dq = _rotated(dq, rope, block, scores.width, back=True).astype(q.dtype)
        return _with_block(dqs, dq, head, block), dk, dv

    zeros = jnp.zeros((K, v.shape[2], T), jnp.float32)
    start = (jnp.zeros_like(all_queries), zeros, zeros)
    with jax.named_scope(QUERY_BLOCKS):
        dq_bits, dk, dv = lax.fori_loop(0, K * used, attend_block, start)
    # The queries were scaled by log2(e); the gradient of the keys is not.
    dk = dk * (1.0 / LOG2_E) if scores.cap is None else dk
    dk = as_float(jnp.transpose(_rotated_keys(dk, rope, size, k.dtype, scores.width, back=True), (2, 0, 1)))
    dv = jnp.transpose(dv, (2, 0, 1)).astype(v.dtype)
    return as_float(_positions(dq_bits, size)), dk, dv, None, None, None, None, None


_attend.defvjp(_forward, _backward)
