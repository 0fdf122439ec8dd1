"""Drops chunks that repeat earlier ones, by their runs of words.

Headings are compared with the text: "Open from 9 to 5" below "Library" is not a copy of the same text below "Museum",
while a page of terms repeated under many titles is. Chunks whose numbers differ are never collapsed: a form filled in
with other figures states other facts, however similar its words are.
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
    """A chunk that was dropped because an earlier one says the same.

    Attributes:
        id, document_id, document_path, start, end: of the chunk, as in `Chunk`.
        kept_id: id of the chunk that replaces it.
        similarity: 1 for the same text and headings, white space and case aside; else the Jaccard similarity of their
            runs of three words.
    """

    id: str
    document_id: str
    document_path: str
    start: int
    end: int
    kept_id: str
    similarity: float


def collapse_duplicates(chunks: Sequence[Chunk], near_duplicate: float) -> tuple[list[Chunk], list[Duplicate]]:
    """The chunks that repeat no earlier one, and the duplicates; each in the order of the chunks.

    Args:
        near_duplicate: least similarity of a duplicate, above 0; 1 for exact ones only.
    """
    texts = [" ".join(chunk.search_text.split()).casefold() for chunk in chunks]
    near = _NearCopies(texts, near_duplicate) if near_duplicate < 1 else None
    kept: list[Chunk] = []
    duplicates: list[Duplicate] = []
    exact: dict[str, Chunk] = {}
    for index, (chunk, text) in enumerate(zip(chunks, texts, strict=True)):
        original, similarity = exact.get(text), 1.0
        if original is None and near is not None and (match := near.find(index)) is not None:
            original, similarity = chunks[match[0]], match[1]
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
    """Finds near copies among texts with the same numbers."""

    def __init__(self, texts: Sequence[str], threshold: float) -> None:
        self._numbers = [tuple(sorted(_NUMBER.findall(text))) for text in texts]
        alike = Counter(self._numbers)
        # A text with numbers that no other text has needs no search: most rows of a table or a price list.
        self._runs = {index: word_runs(text) for index, text in enumerate(texts) if alike[self._numbers[index]] > 1}
        members: dict[tuple[str, ...], list[int]] = {}
        for index in self._runs:
            members.setdefault(self._numbers[index], []).append(index)
        self._groups = {
            numbers: AlikeTexts(threshold, [self._runs[index] for index in indices])
            for numbers, indices in members.items()
        }
        self._kept: dict[tuple[str, ...], list[int]] = {numbers: [] for numbers in members}

    def find(self, index: int) -> tuple[int, float] | None:
        """(index, similarity) of the most similar kept text, the first of equals; if there is none, keeps this text and
        returns None."""
        if index not in self._runs:
            return None
        numbers, runs = self._numbers[index], self._runs[index]
        similar = self._groups[numbers].find(runs)
        if not similar:
            self._groups[numbers].add(runs)
            self._kept[numbers].append(index)
            return None
        best, similarity = max(similar, key=lambda item: (item[1], -item[0]))
        return self._kept[numbers][best], similarity
