"""Words in scripts with and without spaces between words, and the runs of them by which near copies are told."""

from __future__ import annotations

import re
import zlib
from functools import cache
from typing import Any

# Thai, Lao, Burmese, Khmer, kana, Han, Hangul: a word has no visible border, or endings grow on it.
_UNSPACED = "\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff\\u3040-\\u30ff\\u3400-\\u9fff\\uac00-\\ud7af\\uf900-\\ufaff"
_RUN = 3  # words in a run
PERMUTATIONS = 128  # of a MinHash sketch

#: A word, or a letter of a script without spaces.
WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")
#: A letter of a script with spaces.
LETTER = re.compile(rf"[^\W{_UNSPACED}]")

Runs = frozenset[bytes]


def word_runs(text: str) -> Runs:
    """The runs of three words in a text in small letters; none where it has fewer words."""
    words = WORD.findall(text.casefold())
    return frozenset(" ".join(words[i : i + _RUN]).encode() for i in range(len(words) - _RUN + 1))


def jaccard(one: Runs, other: Runs) -> float:
    """The share of all runs that both have; one of the two has some."""
    return len(one & other) / len(one | other)


def sketch(runs: Runs) -> Any:
    """The MinHash of runs (datasketch), which names the pairs whose share is worth counting."""
    found = _empty_sketch().copy()
    found.update_batch(sorted(runs))
    return found


@cache
def _empty_sketch() -> Any:
    """Made once: drawing the permutations takes longer than applying them."""
    from datasketch import MinHash

    return MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32)
