"""The blocked attention and its gradient equal the dense reference under random forests of tries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jora_model.ops.attention import Scores, Window, attend, rotary, visible
from jora_model.ops.blocked_attention import attend_blocked, block_rope
from jora_model.packing.tiles import (
    Tiles,
    block_size,
    causal_tiles,
    most_tiles,
    padded_length,
    visible_tiles,
)


def used_length(length: int) -> int:
    """Positions before the padding of `random_reach`."""
    return length - length // 10


def random_reach(length: int, seed: int) -> np.ndarray:
    """`reach` of a random depth-first forest, its last tenth padding."""
    random = np.random.default_rng(seed)
    reach = np.arange(1, length + 1, dtype=np.int32)

    def grow(start: int, end: int) -> None:
        while start < end:
            stop = int(random.integers(start + 1, end + 1))
            run = int(random.integers(1, min(40, stop - start) + 1))
            reach[start : start + run] = stop
            grow(start + run, stop)
            start = stop

    grow(0, used_length(length))
    return reach


def rotated(x: jax.Array, rope: tuple[jax.Array, jax.Array]) -> jax.Array:
    """`[B, T, N, H]` as `rotate_half` of transformers has it, in float32."""
    cos, sin = (part.swapaxes(1, 2)[:, :, None] for part in rope)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=3)
    return (x.astype(jnp.float32) * cos + jnp.concatenate((-second, first), axis=3) * sin).astype(x.dtype)


@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize(
    ("length", "dtype", "tolerance"),
    [
        pytest.param(300, "float32", 2e-6, marks=pytest.mark.slow),
        (448, "float32", 2e-6),
        pytest.param(768, "float32", 2e-6, marks=pytest.mark.slow),
        (256, "bfloat16", 2e-2),
        pytest.param(50, "float32", 2e-6, marks=pytest.mark.slow),
    ],
)
def test_blocked_equals_dense(length, dtype, tolerance, tiled):
    random = np.random.default_rng(1)
    q, k, v = (jnp.asarray(random.normal(size=(2, length, heads, 16)), dtype) for heads in (6, 2, 2))
    reach = np.stack([random_reach(length, 0), random_reach(length, 1)])
    # Nothing is asked of padding, whose blocks are skipped.
    lengths = np.full(2, used_length(length))
    real = np.arange(length)[None] < lengths[:, None]
    probe = jnp.asarray(random.normal(size=q.shape) * real[:, :, None, None], jnp.float32)
    reach = jnp.asarray(reach)
    rope = rotary(jnp.asarray(random.integers(0, 99, (2, length)), jnp.int32), np.array([1.0, 0.3, 0.1] * 3)[:8])

    def dense(q, k, v):
        q, k = (rotated(x, rope) for x in (q, k))
        return attend(q, k, v, visible(reach))

    tiles = Tiles(*map(jnp.asarray, visible_tiles(np.asarray(reach), lengths))) if tiled else None

    def blocked(q, k, v):
        return attend_blocked(q, k, v, block_rope(rope, 3), reach, tiles)

    def gradients(f):
        return jax.grad(lambda *qkv: jnp.sum(f(*qkv).astype(jnp.float32) * probe), argnums=(0, 1, 2))(q, k, v)

    outputs = tuple(f(q, k, v) * real[:, :, None, None].astype(dtype) for f in (blocked, dense))
    pairs = [outputs, *zip(gradients(blocked), gradients(dense), strict=True)]
    for ours, reference in pairs:
        reference = np.asarray(reference, np.float32)
        np.testing.assert_allclose(
            np.asarray(ours, np.float32), reference, rtol=0, atol=tolerance * np.abs(reference).max()
        )


def depths_of(reach: np.ndarray) -> np.ndarray:
    """Depth of each place of a forest: how many places before it reach it."""
    index = np.arange(len(reach), dtype=np.int32)
    return ((index[None] < index[:, None]) & (index[:, None] < reach[None])).sum(axis=1).astype(np.int32)


@pytest.mark.parametrize(
    ("length", "window", "cap"),
    [
        (300, 60, 1.5),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((50, 5, None), (768, 200, None), (448, None, 0.7))),
    ],
)
def test_windows_caps_and_scales_equal_dense(length, window, cap):
    """Outputs and gradients, with a scale of its own, a part of each head rotated, cosine and sine multiplied."""
    random = np.random.default_rng(2)
    q, k, v = (jnp.asarray(random.normal(size=(2, length, heads, 16)), "float32") for heads in (4, 2, 2))
    reaches = np.stack([random_reach(length, 3), random_reach(length, 4)])
    positions = np.stack([depths_of(reach) for reach in reaches])
    lengths = np.full(2, used_length(length))
    real = np.arange(length)[None] < lengths[:, None]
    probe = jnp.asarray(random.normal(size=q.shape) * real[:, :, None, None], jnp.float32)
    reach, depths = jnp.asarray(reaches), jnp.asarray(positions)
    scores = Scores(scale=0.31, cap=cap, width=12)
    size = None if window is None else Window(depths, jnp.full(2, window, jnp.int32))
    rope = rotary(depths, np.array([1.0, 0.3, 0.1, 0.05, 0.02, 0.01], np.float32), 16, 1.3)

    def dense(q, k, v):
        def partly(x):
            cut = tuple(part[:, :12] for part in rope)
            return jnp.concatenate((rotated(x[..., :12], cut), x[..., 12:]), axis=3)

        return attend(partly(q), partly(k), v, visible(reach, size), scores)

    tiles = Tiles(*map(jnp.asarray, visible_tiles(reaches, lengths, positions, window)))

    def blocked(q, k, v):
        return attend_blocked(q, k, v, block_rope(rope, 2), reach, tiles, scores=scores, window=size)

    def gradients(f):
        return jax.grad(lambda *qkv: jnp.sum(f(*qkv) * probe), argnums=(0, 1, 2))(q, k, v)

    outputs = tuple(f(q, k, v) * real[:, :, None, None].astype("float32") for f in (blocked, dense))
    for ours, reference in [outputs, *zip(gradients(blocked), gradients(dense), strict=True)]:
        np.testing.assert_allclose(ours, reference, rtol=0, atol=3e-6 * np.abs(reference).max())


def test_a_window_counts_depth_and_not_places():
    """A prefix of 2 with branches of 2 and 2: of a window of 2 the second branch sees the prefix's last token."""
    reach = np.array([[6, 6, 4, 4, 6, 6]], np.int32)
    depths = np.array([[0, 1, 2, 3, 2, 3]], np.int32)
    seen = visible(jnp.asarray(reach), Window(jnp.asarray(depths), jnp.array([2], jnp.int32)))[0]
    assert [np.flatnonzero(row).tolist() for row in np.asarray(seen)] == [[0], [0, 1], [1, 2], [2, 3], [1, 4], [4, 5]]


def test_visible_by_hand():
    """A prefix of 2 with branches of 1 and 2, then one place of padding."""
    expected = [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 0, 1, 0, 0],
        [1, 1, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    seen = visible(jnp.asarray([[5, 5, 3, 5, 5, 6]], jnp.int32))[0]
    np.testing.assert_array_equal(np.asarray(seen, np.int32), expected)


def test_blocks_stay_when_a_row_is_padded():
    for length in range(1, 1200):
        whole = padded_length(length)
        assert whole >= length
        assert whole % block_size(length) == 0
        assert (padded_length(whole), block_size(whole)) == (whole, block_size(length))


@pytest.mark.parametrize("window", [None, 3, 70])
@pytest.mark.parametrize("length", [50, 128, 300, 448, 768, 1280])
def test_tiles_hold_every_visible_pair_once(length, window):
    reach = random_reach(length, length)[None]
    used, block, whole = used_length(length), block_size(length), padded_length(length)
    depths = depths_of(reach[0])[None]
    tiles = visible_tiles(reach, np.array([used]), depths, window)
    assert window is None or tiles.ends[0, -1] <= visible_tiles(reach, np.array([used])).ends[0, -1]
    found = np.zeros((whole, whole), int)
    for number, (start, end) in enumerate(zip(tiles.ends[0], tiles.ends[0, 1:], strict=False)):
        for first, key, low in tiles.spans[0, start:end]:
            assert first == number * block
            assert 0 <= key <= whole - block
            found[first : first + block, max(key, low) : key + block] += 1
    # Blocks that hold nothing but padding have no tiles.
    used = -(-used // block) * block
    size = None if window is None else Window(jnp.asarray(depths), jnp.array([window], jnp.int32))
    seen = np.array(visible(jnp.asarray(reach), size)[0])
    seen[used:] = False
    assert found.max() == 1
    assert (found[:length, :length][seen] == 1).all()
    assert not found[used:].any()


def test_tiles_beyond_the_window_are_skipped():
    """A plain row of 2,048 in blocks of 256: of a window of 300 each block needs at most two of the others' spans."""
    reach, lengths = np.full((1, 2048), 2048, np.int32), np.array([2048])
    depths = np.arange(2048, dtype=np.int32)[None]
    tiles = visible_tiles(reach, lengths, depths, 300)
    assert np.diff(tiles.ends[0]).max() <= 3
    assert tiles.ends[0, -1] < 24 < visible_tiles(reach, lengths).ends[0, -1]


def test_hidden_tiles_are_skipped():
    """Two sequences of half a row each: a quarter of the pairs is visible, and little more is computed."""
    reach = np.repeat(np.array([1024, 2048], np.int32), 1024)[None]
    assert visible_tiles(reach, np.array([2048])).ends[0, -1] == 20
    assert causal_tiles(1, 2048).ends[0, -1] == most_tiles(2048) == 36


def test_a_last_sequence_of_one_token_has_a_tile():
    """At position 256, where a block begins; `reach` is the same as that of padding."""
    reach = np.array([[256] * 256 + list(range(257, 513))], np.int32)
    for length, tiles in ((256, 1), (257, 2)):
        assert visible_tiles(reach, np.array([length])).ends[0].tolist() == [0, 1, tiles]


@pytest.mark.parametrize("length", [50, 256])
def test_one_head_and_one_block_in_bf16(length):
    """Loops of one turn: unrolled, they must not become products that XLA's CPU backend refuses at run time."""
    random = np.random.default_rng(2)
    q, k, v = (jnp.asarray(random.normal(size=(1, length, heads, 16)), "bfloat16") for heads in (3, 1, 1))
    rope = block_rope(rotary(jnp.arange(length, dtype=jnp.int32)[None], np.full(8, 0.1, np.float32)), 3)
    reach = jnp.full((1, length), length, jnp.int32)

    @jax.jit
    def gradients(*qkv):
        return jax.grad(lambda *qkv: jnp.sum(attend_blocked(*qkv, rope, reach).astype(jnp.float32)), (0, 1, 2))(*qkv)

    assert all(np.isfinite(np.asarray(x, np.float32)).all() for x in gradients(q, k, v))
