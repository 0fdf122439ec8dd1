"""Chunks that repeat others: found by their runs of words, and collapsed into the first that says the same.

What is compared is the text with the headings above it: "Open from 9 to 5" below "Library" is no copy of the same
below "Museum", while a page of terms repeated under many titles is. Chunks whose numbers differ are never collapsed:
a form filled in with other figures states other facts, however alike its words are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from data.documents.chunks import Chunk
from data.text.words import AlikeTexts, word_runs

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A chunk that was left out, since one before it says the same.

    Attributes:
        id, document_id, document_path, start, end: of the chunk, as in `Chunk`.
        kept_id: of the chunk that stands for it.
        similarity: 1 for the same text and headings, white space and case aside; else the share of common runs of
            three words (Jaccard).
    """

    id: str
    document_id: str
    document_path: str
    start: int
    end: int
    kept_id: str
    similarity: float


def collapse_duplicates(chunks: Sequence[Chunk], near_duplicate: float) -> tuple[list[Chunk], list[Duplicate]]:
    """The chunks without those that repeat one before them, and these; each in the order of the chunks.

    Args:
        near_duplicate: the least similarity of a repetition, above 0; 1 for exact ones only.
    """
    texts = [" ".join(chunk.search_text.split()).casefold() for chunk in chunks]
    near = _NearCopies(texts, near_duplicate) if near_duplicate < 1 else None
    kept: list[Chunk] = []
    duplicates: list[Duplicate] = []
    exact: dict[str, Chunk] = {}
    for place, (chunk, text) in enumerate(zip(chunks, texts, strict=True)):
        original, similarity = exact.get(text), 1.0
        if original is None and near is not None and (found := near.find(place)) is not None:
            original, similarity = chunks[found[0]], found[1]
        if original is None:
            kept.append(chunk)
            exact[text] = chunk
        else:
            duplicates.append(
                Duplicate(
                    id=chunk.id,
                    document_id=chunk.document_id,
                    document_path=chunk.document_path,
                    start=chunk.start,
                    end=chunk.end,
                    kept_id=original.id,
                    similarity=round(similarity, 4),
                )
            )
    return kept, duplicates


class _NearCopies:
    """Texts by their runs of words, those with the same numbers apart from the others."""

    def __init__(self, texts: Sequence[str], threshold: float) -> None:
        self._numbers = [tuple(sorted(_NUMBER.findall(text))) for text in texts]
        alike = Counter(self._numbers)
        # A text whose numbers no other has repeats none: most of a table's or a price list's.
        self._runs = {place: word_runs(text) for place, text in enumerate(texts) if alike[self._numbers[place]] > 1}
        members: dict[tuple[str, ...], list[int]] = {}
        for place in self._runs:
            members.setdefault(self._numbers[place], []).append(place)
        self._groups = {
            numbers: AlikeTexts(threshold, [self._runs[place] for place in places])
            for numbers, places in members.items()
        }
        self._kept: dict[tuple[str, ...], list[int]] = {numbers: [] for numbers in members}

    def find(self, place: int) -> tuple[int, float] | None:
        """The first of the texts before it that one is most like, with the share; none where it is new, and it is
        kept then."""
        if place not in self._runs:
            return None
        numbers, runs = self._numbers[place], self._runs[place]
        found = self._groups[numbers].find(runs)
        if not found:
            self._groups[numbers].add(runs)
            self._kept[numbers].append(place)
            return None
        best, similarity = max(found, key=lambda item: (item[1], -item[0]))
        return self._kept[numbers][best], similarity
