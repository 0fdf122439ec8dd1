"""Rows of prompts: prefixes that prompts share are stored once (forest.py).

    prompt 1   a b c d       row        a b c d e f
    prompt 2   a b c e f     position   0 1 2 3 3 4
                             reach      6 6 6 4 6 6      and the prompts end at positions 3 and 5 of the row

A prompt's last token is never shared, so each prompt has an end of its own. Pure NumPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jora_model.packing.forest import Forest, build_forest, common_prefix

_SHORTEST_BUCKET = 64


@dataclass(frozen=True)
class PromptRow:
    """A forest of prompts, int32 [S] each, padded to a `bucket_length`.

    Attributes:
        tokens, positions: position is the depth in the trie; padding is 0.
        reach: end of each position's subtree (`attention.visible`); padding reaches itself only.
        ends: index of each prompt's last token, in the order in which the prompts were given.
        used: how many of the positions hold a token.
    """

    tokens: np.ndarray
    positions: np.ndarray
    reach: np.ndarray
    ends: np.ndarray
    used: int

    def seen_from(self, ends: np.ndarray) -> np.ndarray:
        """Mask of the tokens of the prompts that end at `ends` [M], bool [M, S]."""
        index = np.arange(len(self.reach))[None]
        return (index <= ends[:, None]) & (ends[:, None] < self.reach[None])


def bucket_length(length: int) -> int:
    """The length that rows are padded to: four sizes an octave, so at most a fifth is padding.

    >>> [bucket_length(n) for n in (3, 64, 65, 900, 1025)]
    [64, 64, 80, 1024, 1280]
    """
    if length <= _SHORTEST_BUCKET:
        return _SHORTEST_BUCKET
    step = 1 << ((length - 1).bit_length() - 3)
    return -(-length // step) * step


def families(prompts: Sequence[np.ndarray]) -> list[list[int]]:
    """Indices of prompts that belong together: neighbors that share more than half of the shorter one.

    A system prompt that all share does not make one family of them; a common context does.
    """
    forest = _forest(prompts)
    lengths = np.array([len(prompt) for prompt in prompts], np.int64)
    return [forest.order[a:b] for a, b in forest.groups(lengths, 0, len(prompts)) if a < b]


def belong_together(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two prompts share more than half of the shorter one."""
    return 2 * common_prefix(a[:-1], b[:-1]) > min(len(a), len(b))


def row_size(prompts: Sequence[np.ndarray]) -> int:
    """Positions that a row of these prompts takes, before padding."""
    return _forest(prompts).size()


def pack_row(prompts: Sequence[np.ndarray]) -> PromptRow:
    """All prompts in one row."""
    forest = _forest(prompts)
    ends = np.zeros(len(prompts), np.int32)
    ends[forest.order] = forest.starts[1:] - 1
    used = forest.size()
    return PromptRow(*forest.layout(bucket_length(used)), ends, used)


def _forest(prompts: Sequence[np.ndarray]) -> Forest:
    return build_forest(prompts, [len(prompt) - 1 for prompt in prompts])
