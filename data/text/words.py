"""Words in scripts with and without spaces between words: phrases in a text, and near copies by their runs of words."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

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


@lru_cache(maxsize=1024)
def phrase_pattern(phrase: str, flags: int = re.IGNORECASE) -> re.Pattern[str] | None:
    """A pattern that finds a phrase in a text as whole words, case and white space aside; None for an empty phrase.

    It does not match inside a longer word, nor inside a number: "3" is not in "3.5" nor in "1,300". In scripts without
    spaces between words it matches anywhere. This is the one definition of "the answer is in the text" for building
    data; the metrics use SQuAD's normalisation instead (data.scoring.scores).

    Args:
        flags: 0, with phrase and text case-folded by the caller, where one text is searched often: it is much faster.
    """
    words = [re.escape(word) for word in phrase.split()]
    if not words:
        return None
    # Behind the first word, since a pattern that begins with a literal is searched much faster.
    before = rf"(?<!{LETTER.pattern}{words[0]})(?<!\d[.,]{words[0]})" if LETTER.match(phrase.lstrip()) else ""
    after = rf"(?!{LETTER.pattern}|[.,]\d)" if LETTER.match(phrase.rstrip()[-1]) else ""
    return re.compile(r"\s+".join([words[0] + before, *words[1:]]) + after, flags)


def word_runs(text: str) -> Runs:
    """The runs of three words in a text in small letters; none where it has fewer words."""
    words = WORD.findall(text.casefold())
    return frozenset(" ".join(words[i : i + _RUN]).encode() for i in range(len(words) - _RUN + 1))


def jaccard(one: Runs, other: Runs) -> float:
    """The share of all runs that both have; one of the two has some."""
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


class AlikeTexts:
    """Texts by their rarest runs, so that all that are alike are found without comparing each with each.

    Exact, by the prefix filter (Bayardo et al., "Scaling up all pairs similarity search", WWW 2007): with all runs in
    one order, of two sets whose Jaccard share is at least t the first |x| - ceil(t |x|) + 1 of each have one in common.
    The rarest stand first, so that what many texts repeat proposes few pairs.
    """

    def __init__(self, least: float, texts: Iterable[Runs]) -> None:
        """
        Args:
            least: the share t from which on two texts are alike, above 0.
            texts: all that will be added or looked up; one that is added and then looked up again, twice.
        """
        self._least = least
        counts: Counter[bytes] = Counter()
        for runs in texts:
            counts.update(runs)
        # One of a text alone leads to no other. Any order of those of one count will do, if it is always the same.
        repeated = sorted((count, place, run) for place, (run, count) in enumerate(counts.items()) if count > 1)
        self._ranks = {run: rank for rank, (_, _, run) in enumerate(repeated)}
        self._texts: list[Runs] = []
        self._places: dict[bytes, list[int]] = {}

    def add(self, runs: Runs) -> None:
        """One text more; its place is the number of those before it. Without runs it is like no other."""
        for run in self._rarest(runs):
            self._places.setdefault(run, []).append(len(self._texts))
        self._texts.append(runs)

    def find(self, runs: Runs) -> list[tuple[int, float]]:
        """The places of all added texts that are alike, ascending, with the shares."""
        places = {place for run in self._rarest(runs) for place in self._places.get(run, ())}
        found = []
        for place in sorted(places):
            other = self._texts[place]
            # The share is at most that of the sizes.
            if min(len(runs), len(other)) / max(len(runs), len(other)) >= self._least:
                share = jaccard(runs, other)
                if share >= self._least:
                    found.append((place, share))
        return found

    def _rarest(self, runs: Runs) -> list[bytes]:
        # A product like 0.7 * 10 may lie a hair above its integer; one run too many is only slower.
        number = len(runs) - math.ceil(self._least * len(runs) - 1e-6) + 1
        repeated = [run for run in runs if run in self._ranks]
        number -= len(runs) - len(repeated)
        return sorted(repeated, key=self._ranks.__getitem__)[:number] if number > 0 else []
