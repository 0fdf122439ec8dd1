"""Prefix tries over token arrays: what arrays share at their beginning is stored once, in depth-first order.

    array 1   a b c d x       row        a b c d x e y
    array 2   a b c e y       position   0 1 2 3 4 3 4
                              reach      7 7 7 5 5 7 7      query i sees key j exactly when j <= i < reach[j]

Training packs examples this way (tries.py), and generation prompts (prompt_rows.py). Pure NumPy.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Layout(NamedTuple):
    """A row, int32 [S] each.

    Attributes:
        positions: depth in the trie; padding is 0.
        reach: end of each position's subtree; padding reaches itself only, as a last leaf of one token does.
    """

    tokens: np.ndarray
    positions: np.ndarray
    reach: np.ndarray


@dataclass(frozen=True)
class Forest:
    """Token arrays in the lexicographic order of their shareable prefixes.

    Attributes:
        order: index of each array in the input.
        arrays: int32 [T] each, sorted.
        shared: the first `shared[k]` tokens of array k are also those of array k - 1, int64 [N]; 0 for the first.
        starts: row position of the first token that array k does not share; `starts[N]` is the length in use,
            int64 [N + 1].
    """

    order: list[int]
    arrays: list[np.ndarray]
    shared: np.ndarray
    starts: np.ndarray

    def size(self, start: int = 0, end: int | None = None) -> int:
        """Positions that the trie of arrays start..end takes."""
        end = len(self.order) if end is None else end
        repeated = int(self.shared[start]) if start < end else 0
        return int(self.starts[end] - self.starts[start]) + repeated

    def shared_with(self, start: int, end: int) -> np.ndarray:
        """Length of the prefix that each array shares with its nearest one of start..end, int64 [N]."""
        before = np.minimum.accumulate(self.shared[start:0:-1])[::-1]
        after = np.minimum.accumulate(self.shared[end:])
        return np.concatenate([before, self.shared[start:end], after])

    def groups(self, lengths: np.ndarray, start: int, end: int, ignored: int = 0) -> list[tuple[int, int]]:
        """Split arrays start..end between neighbors that share no more than half of the shorter one.

        Args:
            lengths: what counts as the length of each array, int64 [N], in the order of the input.
            ignored: length of a prefix that counts neither as shared nor in the lengths.
        """
        lengths = lengths[self.order[start:end]]
        links = self.shared[start + 1 : end] - ignored
        apart = 2 * links <= np.minimum(lengths[:-1], lengths[1:]) - ignored
        cuts = (start + 1 + np.flatnonzero(apart)).tolist()
        return list(itertools.pairwise([start, *cuts, end]))

    def layout(self, length: int) -> Layout:
        """All arrays in one row of this length, zero-padded."""
        tokens, positions = np.zeros(length, np.int32), np.zeros(length, np.int32)
        reach = np.arange(1, length + 1, dtype=np.int32)
        # By depth: where the first later array begins that leaves a position of this depth.
        leaves = np.full(max(map(len, self.arrays)), self.starts[-1], np.int32)
        for number in reversed(range(len(self.arrays))):
            array, shared = self.arrays[number], self.shared[number]
            own = slice(self.starts[number], self.starts[number + 1])
            tokens[own] = array[shared:]
            positions[own] = np.arange(shared, len(array))
            reach[own] = leaves[shared : len(array)]
            leaves[shared:] = own.start
        return Layout(tokens, positions, reach)


def build_forest(arrays: Sequence[np.ndarray], shareable: Sequence[int], names: Sequence[str] | None = None) -> Forest:
    """Sort token arrays and find what neighbors share.

    Args:
        shareable: how many of its first tokens each array may share with others.
        names: order of arrays with the same shareable prefix; by default the order of the input.
    """
    prefixes = [array[:count] for array, count in zip(arrays, shareable, strict=True)]
    # Big-endian bytes sort like the tokens.
    keys = [(prefix.astype(">i4").tobytes(), names[index] if names else "") for index, prefix in enumerate(prefixes)]
    order = sorted(range(len(arrays)), key=keys.__getitem__)
    pairs = itertools.pairwise([prefixes[index] for index in order])
    shared = np.array([0, *(common_prefix(a, b) for a, b in pairs)][: len(order)], np.int64)
    lengths = np.array([len(arrays[index]) for index in order], np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths - shared)])
    return Forest(order, [arrays[index] for index in order], shared, starts)


def common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """Length of the common prefix."""
    length = min(len(a), len(b))
    differ = np.flatnonzero(a[:length] != b[:length])
    return int(differ[0]) if len(differ) else length
