"""Words in scripts with and without spaces between words, and near copies of texts by their runs of words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

# Thai, Lao, Burmese, Khmer, kana, Han, Hangul, half-width kana: no spaces between words, or (Korean) endings attached
# to them, so that a word has no border that can be seen. For use inside a character class.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f"
)
_RUN = 3  # words in a run

#: A word, or a letter of a script without spaces.
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
#: A letter or digit of a script with spaces.
LETTER = re.compile(rf"[^\W{UNSPACED}]")

Runs = frozenset[bytes]


def word_runs(text: str) -> Runs:
    """The runs of three words in a text, lower-cased; empty if it has fewer words."""
    words = WORD.findall(text.casefold())
    return frozenset(" ".join(words[i : i + _RUN]).encode() for i in range(len(words) - _RUN + 1))


def jaccard(one: Runs, other: Runs) -> float:
    """The Jaccard similarity of two sets, of which at least one is not empty."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


class AlikeTexts:
    """Finds all texts similar to a text by their rarest runs, without comparing each pair.

    Exact, by the prefix filter (Bayardo et al., "Scaling up all pairs similarity search", WWW 2007): with all runs in
    one order, two sets whose Jaccard similarity is at least t have one in common among the first |x| - ceil(t |x|) + 1
    of each. The rarest come first, so that frequent runs propose few pairs.
    """

    def __init__(self, least: float, texts: Iterable[Runs]) -> None:
        """
        Args:
            least: the least similarity t, above 0.
            texts: all that will be added or looked up; one that is both added and looked up, twice.
        """
        self._least = least
        counts: Counter[bytes] = Counter()
        for runs in texts:
            counts.update(runs)
        # A run of only one text leads to no other. Runs of equal count may have any order that is always the same.
        repeated = sorted((count, number, run) for number, (run, count) in enumerate(counts.items()) if count > 1)
        self._ranks = {run: rank for rank, (_, _, run) in enumerate(repeated)}
        self._texts: list[Runs] = []
        self._indices: dict[bytes, list[int]] = {}

    def add(self, runs: Runs) -> None:
        """Adds a text; its index is the number of texts before it. One without runs is similar to none."""
        for run in self._rarest(runs):
            self._indices.setdefault(run, []).append(len(self._texts))
        self._texts.append(runs)

    def find(self, runs: Runs) -> list[tuple[int, float]]:
        """(index, similarity) of all similar texts that were added, by index."""
        candidates = {index for run in self._rarest(runs) for index in self._indices.get(run, ())}
        similar = []
        for index in sorted(candidates):
            other = self._texts[index]
            # The similarity is at most the ratio of the sizes.
            if min(len(runs), len(other)) / max(len(runs), len(other)) >= self._least:
                share = jaccard(runs, other)
                if share >= self._least:
                    similar.append((index, share))
        return similar

    def _rarest(self, runs: Runs) -> list[bytes]:
        # A product like 0.7 * 10 may be slightly above its integer; one run too many is only slower.
        number = len(runs) - math.ceil(self._least * len(runs) - 1e-6) + 1
        repeated = [run for run in runs if run in self._ranks]
        number -= len(runs) - len(repeated)
        return sorted(repeated, key=self._ranks.__getitem__)[:number] if number > 0 else []
