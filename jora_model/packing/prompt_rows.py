"""Rows of prompts: what prompts share at their beginning stands once, as the examples of training do (tries.py).

    prompt 1   a b c d       row        a b c d e f
    prompt 2   a b c e f     position   0 1 2 3 3 4
                             reach      6 6 6 4 6 6      and the prompts end at the places 3 and 5

A prompt's last token is always its own, so that each ends at a place of its own. Pure NumPy.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_SHORTEST_BUCKET = 64


@dataclass(frozen=True)
class PromptRow:
    """A forest of prompts in depth-first order, int32 [S] each, filled up to a `bucket_length`.

    Attributes:
        tokens, positions: position is the depth in the trie; padding is 0.
        reach: end of each position's subtree (`attention.visible`); padding reaches itself only.
        ends: where each prompt's last token stands, in the order in which the prompts were given.
    """

    tokens: np.ndarray
    positions: np.ndarray
    reach: np.ndarray
    ends: np.ndarray

    def seen_from(self, ends: np.ndarray) -> np.ndarray:
        """Which places the prompts that end at `ends` [M] consist of, bool [M, S]."""
        place = np.arange(len(self.reach))[None]
        return (place <= ends[:, None]) & (ends[:, None] < self.reach[None])


def bucket_length(length: int) -> int:
    """The length that rows are padded to: four sizes an octave, so at most a fifth is padding.

    >>> [bucket_length(n) for n in (3, 64, 65, 900, 1025)]
    [64, 64, 80, 1024, 1280]
    """
    if length <= _SHORTEST_BUCKET:
        return _SHORTEST_BUCKET
    step = 1 << ((length - 1).bit_length() - 3)
    return -(-length // step) * step


def common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    """How many tokens two prompts share at their beginning, less than either has."""
    length = min(len(a), len(b)) - 1
    differ = np.flatnonzero(a[:length] != b[:length])
    return int(differ[0]) if len(differ) else length


def sorted_places(prompts: Sequence[np.ndarray]) -> list[int]:
    """Places of the prompts in such an order that those which share the most stand side by side."""
    # Big-endian bytes sort like the tokens.
    keys = [prompt.astype(">i4").tobytes() for prompt in prompts]
    return sorted(range(len(prompts)), key=lambda place: (keys[place], place))


def families(prompts: Sequence[np.ndarray]) -> list[list[int]]:
    """Places of prompts that belong together: neighbours that share more than half of the shorter one.

    A system prompt that all share does not make one family of them; a common context does.
    """
    order = sorted_places(prompts)
    found: list[list[int]] = []
    for before, place in zip([None, *order], order, strict=False):
        if before is not None and belong_together(prompts[before], prompts[place]):
            found[-1].append(place)
        else:
            found.append([place])
    return found


def belong_together(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two prompts share more than half of the shorter one."""
    return 2 * common_prefix(a, b) > min(len(a), len(b))


def row_size(prompts: Sequence[np.ndarray]) -> int:
    """Places that a row of these prompts takes, before padding."""
    if not prompts:
        return 0
    order = sorted_places(prompts)
    shared = sum(common_prefix(prompts[a], prompts[b]) for a, b in itertools.pairwise(order))
    return sum(len(prompt) for prompt in prompts) - shared


def pack_row(prompts: Sequence[np.ndarray]) -> PromptRow:
    """All prompts in one row."""
    order = sorted_places(prompts)
    found = [prompts[place] for place in order]
    shared = [0, *(common_prefix(a, b) for a, b in itertools.pairwise(found))]
    starts = np.concatenate([[0], np.cumsum([len(p) - s for p, s in zip(found, shared, strict=True)])])
    used = int(starts[-1])
    length = bucket_length(used)
    tokens, positions = np.zeros(length, np.int32), np.zeros(length, np.int32)
    reach = np.arange(1, length + 1, dtype=np.int32)
    ends = np.zeros(len(prompts), np.int32)
    for place, prompt, share, start, end in zip(order, found, shared, starts, starts[1:], strict=False):
        tokens[start:end] = prompt[share:]
        positions[start:end] = np.arange(share, len(prompt))
        ends[place] = end - 1
    # By depth: where the first later prompt begins that leaves a place of this depth.
    leaves = np.full(max(len(prompt) for prompt in prompts), used, np.int32)
    for prompt, share, start in reversed(list(zip(found, shared, starts, strict=False))):
        reach[start : start + len(prompt) - share] = leaves[share : len(prompt)]
        leaves[share:] = start
    return PromptRow(tokens, positions, reach, ends)
