"""Tiles of the score matrix that hold a visible pair, listed on the host, so that attention skips the others.

A tile is a block of queries against a span of keys of the same size. Pure NumPy.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Queries of a block, and keys of a span. Measured on 2 cores (9 heads of 64, a row of 1,280, forward and backward):
# 32 ms with 256, 41 ms with 128.
LARGE, SMALL = 256, 128
# Spans begin at multiples of this many keys; a run of as many keys that no query of a block sees is skipped.
_GRAIN = 64
_ANY_DEPTH = 2**30


class Tiles(NamedTuple):
    """Lists of tiles, one per row.

    Attributes:
        spans: int32 [B, n, 3]: first query of the block, first key of the span, first key that counts (keys before it
            belong to the previous tile). Sorted by block, zero-padded.
        ends: int32 [B, blocks + 1]: the tiles of block b are spans[ends[b]:ends[b + 1]]. Blocks after a row's last
            token have none and are not computed.
    """

    spans: np.ndarray
    ends: np.ndarray


def padded_length(length: int) -> int:
    """The length rounded up to full blocks; a row shorter than a block is one block."""
    return length if length <= SMALL else -(-length // SMALL) * SMALL


def block_size(length: int) -> int:
    """Queries per block for rows of this length; the same for the padded length."""
    padded = padded_length(length)
    if padded <= SMALL:
        return padded
    return SMALL if padded % LARGE else LARGE


def block_count(length: int) -> int:
    """Blocks of queries in a row of this length."""
    return padded_length(length) // block_size(length)


def most_tiles(length: int) -> int:
    """Number of tiles of a plain causal row, an upper bound for any forest: the static length of the lists."""
    blocks = block_count(length)
    return blocks * (blocks + 1) // 2


def visible_tiles(
    reach: np.ndarray, lengths: np.ndarray, positions: np.ndarray | None = None, window: int | None = None
) -> Tiles:
    """Tiles of rows.

    Args:
        reach: int32 [B, S] (see `attention.visible`).
        lengths: int [B], positions of each row before its padding. `reach` alone does not tell: a last token that
            shares nothing reaches itself only, as padding does.
        positions: int32 [B, S], depths of the tokens; needed with a window.
        window: tiles whose keys are all beyond it are left out (see `attention.Window`).
    """
    length = reach.shape[1]
    spans = np.zeros((len(reach), most_tiles(length), 3), np.int32)
    ends = np.zeros((len(reach), block_count(length) + 1), np.int32)
    for row, (row_reach, used) in enumerate(zip(reach, lengths.tolist(), strict=True)):
        depths = None if window is None or positions is None else positions[row]
        blocks = _tiles_of(row_reach, used, depths, window or 0)
        flat = [span for block in blocks for span in block]
        spans[row, : len(flat)] = flat
        ends[row, 1:] = np.cumsum([len(block) for block in blocks])
    return Tiles(spans, ends)


def tiles_by_window(
    reach: np.ndarray, lengths: np.ndarray, positions: np.ndarray, windows: Sequence[int | None]
) -> Tiles:
    """`visible_tiles` of each window, in a second dim: spans [B, K, n, 3], ends [B, K, blocks + 1].

    Without any window it has no second dim.
    """
    if not any(windows):
        return visible_tiles(reach, lengths)
    lists = [visible_tiles(reach, lengths, positions, window) for window in windows]
    return Tiles(*(np.stack(arrays, axis=1) for arrays in zip(*lists, strict=True)))


@functools.cache
def causal_tiles(rows: int, length: int) -> Tiles:
    """Tiles of plain causal rows without padding."""
    one = visible_tiles(np.full((1, length), length, np.int32), np.array([length]))
    return Tiles(*(np.repeat(array, rows, axis=0) for array in one))


def _tiles_of(reach: np.ndarray, used: int, depths: np.ndarray | None, window: int) -> list[list[tuple[int, int, int]]]:
    """Spans of each block of queries."""
    length, block = len(reach), block_size(len(reach))
    padded = padded_length(length)
    grain = min(_GRAIN, block)
    # The last query that sees a key of each grain, plus one; padding after the row sees itself.
    seen = np.concatenate([reach, np.arange(length + 1, padded + 1, dtype=reach.dtype)])
    seen = np.maximum.reduceat(seen, np.arange(0, padded, grain))
    deepest = np.zeros(len(seen), np.int64)
    if depths is not None:
        # Padding sees itself, whatever its depth.
        known = np.pad(depths[:used], (0, padded - used), constant_values=_ANY_DEPTH)
        deepest = np.maximum.reduceat(known, np.arange(0, padded, grain))
    blocks: list[list[tuple[int, int, int]]] = []
    for first in range(0, padded, block):
        if first >= used > 0:
            blocks.append([])
            continue
        spans: list[tuple[int, int, int]] = []
        end = 0
        before = -(-(first + block) // grain)
        needed = seen[:before] > first
        if depths is not None and first < used:
            # Keys that are beyond the window of even the least deep query of the block.
            needed &= depths[first : min(first + block, used)].min() - deepest[:before] < window
        for key in (np.flatnonzero(needed) * grain).tolist():
            if key >= end:  # else the previous span covers it
                start = min(key, padded - block)
                spans.append((first, start, max(end, key)))
                end = start + block
        blocks.append(spans)
    return blocks
