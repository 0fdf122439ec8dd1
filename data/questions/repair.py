"""Quotes that stand in a text but for a slip or for typography: where they stand, letter for letter.

A person retypes a sentence, a teacher straightens its quotation marks: the quote is then found by alignment and becomes
the text's own slice. Curly and straight quotes, dashes, ligatures, accents in one or in two characters and white space
are the same at no cost; any other character that is replaced, left out or put in is an edit.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from data.documents.chunks import Span

# A phrase of ten characters may have one edit, of twenty two: in less text than that, an edit makes another phrase.
_CHARACTERS_PER_EDIT = 10
# A text that repeats itself this often has no one place for a quote.
_MOST_PLACES = 2000
_TYPOGRAPHY = (
    dict.fromkeys("‘’‚‛′´`", "'")
    | dict.fromkeys("“”„‟″«»", '"')
    | dict.fromkeys("‐‑‒–—―−", "-")
    | dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", "")
    | {"…": "...", "ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl"}
)
_MARKS = "\u0300-\u036f\u3099\u309a"  # combining accents, and the voicing of kana
_SPECIAL = re.compile(rf"\s+|[{re.escape(''.join(_TYPOGRAPHY))}]|[^\s{_MARKS}][{_MARKS}]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a quote stands in a text, and the edits between the two."""

    span: Span
    edits: int


@dataclass(frozen=True, slots=True)
class Repaired:
    """A quote that became the document's own words, for a person to look at."""

    question: str
    given: str
    repaired: str
    edits: int
    source: str


@dataclass(slots=True)
class Repairs:
    """How far quotes may be repaired, and those that were."""

    most_edits: int
    done: list[Repaired] = field(default_factory=list)


class FoldedText:
    """A text without differences of typography, which knows where each of its characters comes from."""

    def __init__(self, text: str) -> None:
        pieces: list[str] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        done = 0
        for match in _SPECIAL.finditer(text):
            self._keep(pieces, text, done, match.start())
            found = match[0]
            folded = " " if found.isspace() else _TYPOGRAPHY.get(found, unicodedata.normalize("NFC", found))
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

    def places(self, quote: str, most_edits: int) -> list[Place]:
        """The places nearest to the quote, in order: all with the same number of edits, at most `most_edits`.

        Places that read the same count once, by the first. More than one place means that nobody can say which one is
        meant; an end that might be here or there is put where it cuts no word.
        """
        sought = FoldedText(quote).folded.strip()
        if not sought:
            return []
        most = min(most_edits, len(sought) // _CHARACTERS_PER_EDIT)
        exact = [(match.start(), match.end(), 0) for match in re.finditer(re.escape(sought), self.folded)]
        found = exact or list(self._near(sought, most))
        fewest = min((edits for *_, edits in found), default=0)
        apart: list[tuple[int, int]] = []
        for start, end, edits in sorted(found, key=lambda place: self._doubt(place, sought)):
            if edits == fewest and not any(start < other[1] and other[0] < end for other in apart):
                apart.append((start, end))
        by_wording: dict[str, Span] = {}
        for start, end in sorted(apart):
            by_wording.setdefault(self.folded[start:end], (self.starts[start], self.ends[end - 1]))
        return [Place(span, fewest) for span in by_wording.values()]

    def _near(self, sought: str, most: int) -> Iterator[tuple[int, int, int]]:
        """(start, end, edits) of the slices that are near enough.

        Cut into one piece more than there may be edits, one of the quote's pieces stands in the slice unharmed.
        """
        if most < 1:
            return
        size = -(-len(sought) // (most + 1))
        begins: set[int] = set()
        for offset in range(0, len(sought), size):
            for match in re.finditer(f"(?={re.escape(sought[offset : offset + size])})", self.folded):
                begins.update(range(match.start() - offset - most, match.start() - offset + most + 1))
                if len(begins) > _MOST_PLACES:
                    return
        for start in sorted(begins):
            for end in range(start + len(sought) - most, start + len(sought) + most + 1):
                if not 0 <= start < end <= len(self.folded):
                    continue
                found = self.folded[start:end]
                if found == found.strip() and (edits := edit_distance(sought, found, most)) <= most:
                    yield start, end, edits

    def _doubt(self, place: tuple[int, int, int], sought: str) -> tuple[int, int, int, int]:
        start, end, edits = place
        cut_words = sum(
            0 < border < len(self.folded) and self.folded[border - 1].isalnum() and self.folded[border].isalnum()
            for border in (start, end)
        )
        return edits, cut_words, abs(end - start - len(sought)), start


def edit_distance(a: str, b: str, most: int) -> int:
    """Characters replaced, left out or put in between two texts, or `most` + 1 where there are more than `most`."""
    first = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[first:], b[first:]
    last = next((i for i, (x, y) in enumerate(zip(a[::-1], b[::-1], strict=False)) if x != y), min(len(a), len(b)))
    a, b = a[: len(a) - last], b[: len(b) - last]
    if abs(len(a) - len(b)) > most:
        return most + 1
    # Only the band of diagonals that `most` edits can reach: row[d] is for a[:i] and b[:i + d - most].
    far = most + 1
    row = [d - most if d >= most else far for d in range(2 * most + 1)]
    for i, x in enumerate(a):
        following: list[int] = []
        for d in range(2 * most + 1):
            j = i + d - most
            best = row[d] + (x != b[j]) if 0 <= j < len(b) else far
            if d < 2 * most:
                best = min(best, row[d + 1] + 1)
            if d > 0:
                best = min(best, following[-1] + 1)
            following.append(best if j + 1 <= len(b) else far)
        row = following
        if min(row) > most:
            return far
    return min(row[len(b) - len(a) + most], far)
