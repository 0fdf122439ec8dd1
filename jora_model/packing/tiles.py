"""Which tiles of the score matrix hold a visible pair: lists made on the host, so that attention skips the rest.

A tile is a block of queries against a span of keys as wide as the block. Pure NumPy.
"""

import functools
from typing import NamedTuple

import numpy as np

# Queries of a block, and keys of a span. Measured on 2 cores (9 heads of 64, a row of 1,280, forward and backward):
# 256 takes 32 ms, 128 41 ms.
LARGE, SMALL = 256, 128
# Spans begin at multiples of this many keys, and are not read where nothing of as many keys is visible.
_GRAIN = 64


class Tiles(NamedTuple):
    """Lists of tiles, one for each row.

    Attributes:
        spans: int32 [B, n, 3]: first query of the block, first key of the span, first key that counts (the keys before
            it belong to the tile before). Sorted by the block; the rest is 0.
        ends: int32 [B, blocks + 1]: the tiles of block b are spans[ends[b]:ends[b + 1]]. The blocks behind a row's last
            token have none, and nothing of them is computed.
    """

    spans: np.ndarray
    ends: np.ndarray


def padded_length(length: int) -> int:
    """The length in whole blocks; a row shorter than a block is one block."""
    return length if length <= SMALL else -(-length // SMALL) * SMALL


def block_size(length: int) -> int:
    """Queries of a block for rows of a length; the same for the padded length."""
    whole = padded_length(length)
    if whole <= SMALL:
        return whole
    return SMALL if whole % LARGE else LARGE


def block_count(length: int) -> int:
    """Blocks of queries in a row of this length."""
    return padded_length(length) // block_size(length)


def most_tiles(length: int) -> int:
    """Tiles of a plain causal row, which no forest of tries exceeds: the static length of the lists."""
    blocks = block_count(length)
    return blocks * (blocks + 1) // 2


def visible_tiles(reach: np.ndarray) -> Tiles:
    """Tiles of rows with this `reach`, int32 [B, S] (see `attention.visible`)."""
    length = reach.shape[1]
    spans = np.zeros((len(reach), most_tiles(length), 3), np.int32)
    ends = np.zeros((len(reach), block_count(length) + 1), np.int32)
    for row, row_reach in enumerate(reach):
        blocks = _tiles_of(row_reach)
        found = [span for block in blocks for span in block]
        spans[row, : len(found)] = found
        ends[row, 1:] = np.cumsum([len(block) for block in blocks])
    return Tiles(spans, ends)


@functools.cache
def causal_tiles(rows: int, length: int) -> Tiles:
    """Tiles of plain causal rows."""
    one = visible_tiles(np.full((1, length), length, np.int32))
    return Tiles(*(np.repeat(array, rows, axis=0) for array in one))


def last_place(reach: np.ndarray) -> np.ndarray:
    """How many positions of each row come before its padding, which sees itself only: [B, S] -> [B].

    A last token that nothing follows looks like padding; it predicts nothing, and nothing sees it.
    """
    longer = reach > np.arange(1, reach.shape[1] + 1)
    return np.where(longer, reach, 0).max(axis=1)


def _tiles_of(reach: np.ndarray) -> list[list[tuple[int, int, int]]]:
    """Spans for each block of queries."""
    length, block = len(reach), block_size(len(reach))
    whole = padded_length(length)
    grain = min(_GRAIN, block)
    used = last_place(reach[None])[0]
    # How far the keys of a grain are seen; padding behind the row sees itself.
    seen = np.concatenate([reach, np.arange(length + 1, whole + 1, dtype=reach.dtype)])
    seen = np.maximum.reduceat(seen, np.arange(0, whole, grain))
    blocks: list[list[tuple[int, int, int]]] = []
    for first in range(0, whole, block):
        if first >= used > 0:
            blocks.append([])
            continue
        spans: list[tuple[int, int, int]] = []
        end = 0
        for key in (np.flatnonzero(seen[: -(-(first + block) // grain)] > first) * grain).tolist():
            if key >= end:  # else it is in the span before
                start = min(key, whole - block)
                spans.append((first, start, max(end, key)))
                end = start + block
        blocks.append(spans)
    return blocks
