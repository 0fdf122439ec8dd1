"""Matches quotes with a text up to typing errors and typography, and returns the text's own slice.

A person retypes a sentence, a teacher straightens its quotation marks: the quote is then located by alignment. Curly
and straight quotes, dashes, ligatures, composed and combining accents and white space are equal at no cost; any other
character that is replaced, deleted or inserted is an edit.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from rapidfuzz.distance import Levenshtein

from data.documents.chunks import Span
from data.text.folded import TYPOGRAPHY

# A quote of ten characters may have one edit, of twenty two: in shorter text an edit makes another phrase.
_CHARACTERS_PER_EDIT = 10
_MOST_STARTS = 2000  # a text with more candidates than this is too repetitive for an unambiguous match
_MARKS = "\u0300-\u036f\u3099\u309a"  # combining accents, and the voicing of kana
_SPECIAL = re.compile(rf"\s+|[{re.escape(''.join(TYPOGRAPHY))}]|[^\s{_MARKS}][{_MARKS}]+")


@dataclass(frozen=True, slots=True)
class QuoteMatch:
    """The span of a text that matches a quote, and the edits between the two."""

    span: Span
    edits: int


@dataclass(frozen=True, slots=True)
class Repaired:
    """A given quote that was replaced by the document's own words, for a person to look at.

    Attributes:
        edits: characters that differ between the given quote and the document's words.
        to_sentences: the quote was a part of a sentence, or had the mark of a list: it became the whole sentences.
    """

    question: str
    given: str
    repaired: str
    edits: int
    source: str
    to_sentences: bool = False


@dataclass(slots=True)
class Repairs:
    """How far quotes may be repaired, and the repairs that were made."""

    most_edits: int
    done: list[Repaired] = field(default_factory=list)


class FoldedText:
    """A text with its typography normalized, and the position of each character in the original."""

    def __init__(self, text: str) -> None:
        pieces: list[str] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        done = 0
        for match in _SPECIAL.finditer(text):
            self._keep(pieces, text, done, match.start())
            special = match[0]
            folded = " " if special.isspace() else TYPOGRAPHY.get(special, unicodedata.normalize("NFC", special))
            pieces.append(folded)
            self.starts += [match.start()] * len(folded)
            self.ends += [match.end()] * len(folded)
            done = match.end()
        self._keep(pieces, text, done, len(text))
        self.folded = "".join(pieces)

    def _keep(self, pieces: list[str], text: str, start: int, end: int) -> None:
        pieces.append(text[start:end])
        self.starts += range(start, end)
        self.ends += range(start + 1, end + 1)

    def matches(self, quote: str, most_edits: int) -> list[QuoteMatch]:
        """The nearest matches of the quote, in text order: all with the same number of edits, at most `most_edits`.

        Matches with the same wording count once, as the first. More than one match means that the quote is ambiguous.
        Where an end could be moved at no cost, it is placed at a word border.
        """
        sought = FoldedText(quote).folded.strip()
        if not sought:
            return []
        most = min(most_edits, len(sought) // _CHARACTERS_PER_EDIT)
        exact = [(match.start(), match.end(), 0) for match in re.finditer(re.escape(sought), self.folded)]
        slices = exact or list(self._near(sought, most))
        fewest = min((edits for *_, edits in slices), default=0)
        apart: list[tuple[int, int]] = []
        for start, end, edits in sorted(slices, key=lambda item: self._rank(item, sought)):
            if edits == fewest and not any(start < other[1] and other[0] < end for other in apart):
                apart.append((start, end))
        by_wording: dict[str, Span] = {}
        for start, end in sorted(apart):
            by_wording.setdefault(self.folded[start:end], (self.starts[start], self.ends[end - 1]))
        return [QuoteMatch(span, fewest) for span in by_wording.values()]

    def _near(self, sought: str, most: int) -> Iterator[tuple[int, int, int]]:
        """(start, end, edits) of the slices within `most` edits.

        Cut the quote into `most` + 1 pieces: at least one of them is unedited in the slice (pigeonhole principle).
        """
        if most < 1:
            return
        size = -(-len(sought) // (most + 1))
        starts: set[int] = set()
        for offset in range(0, len(sought), size):
            for match in re.finditer(f"(?={re.escape(sought[offset : offset + size])})", self.folded):
                starts.update(range(match.start() - offset - most, match.start() - offset + most + 1))
                if len(starts) > _MOST_STARTS:
                    return
        for start in sorted(starts):
            for end in range(start + len(sought) - most, start + len(sought) + most + 1):
                if not 0 <= start < end <= len(self.folded):
                    continue
                text = self.folded[start:end]
                if text == text.strip() and (edits := Levenshtein.distance(sought, text, score_cutoff=most)) <= most:
                    yield start, end, edits

    def _rank(self, match: tuple[int, int, int], sought: str) -> tuple[int, int, int, int]:
        """Sorts (start, end, edits) by edits, cut words and difference in length."""
        start, end, edits = match
        cut_words = sum(
            0 < border < len(self.folded) and self.folded[border - 1].isalnum() and self.folded[border].isalnum()
            for border in (start, end)
        )
        return edits, cut_words, abs(end - start - len(sought)), start
