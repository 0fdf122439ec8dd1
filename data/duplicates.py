"""Chunks that repeat others: found by MinHash, checked by their words, and collapsed into the first that says the same.

What is compared is the text with the headings above it: "Open from 9 to 5" below "Library" is no copy of the same
below "Museum", while a page of terms repeated under many titles is. Chunks whose numbers differ are never collapsed:
a form filled in with other figures states other facts, however alike its words are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from data.chunks import Chunk
from data.words import PERMUTATIONS, Runs, jaccard, sketch, word_runs

_HIGHEST = 0.9  # threshold of the search, which only proposes; near 1 it cannot be built
_RECALL_WEIGHTS = (0.1, 0.9)  # of false candidates, which are checked, and of missed ones, which are not
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
    kept: list[Chunk] = []
    duplicates: list[Duplicate] = []
    exact: dict[str, Chunk] = {}
    near = _NearDuplicates(near_duplicate) if near_duplicate < 1 else None
    texts = [" ".join(chunk.search_text.split()).casefold() for chunk in chunks]
    numbers = [tuple(sorted(_NUMBER.findall(text))) for text in texts]
    alike = Counter(numbers)
    for chunk, text, own in zip(chunks, texts, numbers, strict=True):
        original, similarity = exact.get(text), 1.0
        if original is None and near is not None and alike[own] > 1:
            original, similarity = near.find(chunk, text, own)
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


class _NearDuplicates:
    """The chunks that were kept, by their runs of words. MinHash proposes, the sets themselves decide."""

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHashLSH

        self._threshold = threshold
        self._lsh = MinHashLSH(threshold=min(threshold, _HIGHEST), num_perm=PERMUTATIONS, weights=_RECALL_WEIGHTS)
        self._kept: list[tuple[Chunk, Runs, tuple[str, ...]]] = []

    def find(self, chunk: Chunk, text: str, numbers: tuple[str, ...]) -> tuple[Chunk | None, float]:
        """The kept chunk with the same numbers that is most like this one, with its similarity; none where it is new,
        and it is kept then."""
        runs = word_runs(text)
        if not runs:
            return None, 0.0
        own = sketch(runs)
        best, similarity = None, 0.0
        for place in sorted(self._lsh.query(own)):
            other, other_runs, other_numbers = self._kept[place]
            alike = jaccard(runs, other_runs)
            if numbers == other_numbers and alike >= self._threshold and alike > similarity:
                best, similarity = other, alike
        if best is None:
            self._lsh.insert(len(self._kept), own)
            self._kept.append((chunk, runs, numbers))
        return best, similarity
