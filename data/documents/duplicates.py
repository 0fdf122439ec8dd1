"""Drops chunks that repeat earlier ones, by their runs of words.

Headings are compared with the text: "Open from 9 to 5" below "Library" is not a copy of the same text below "Museum",
while a page of terms repeated under many titles is. Chunks whose numbers differ are never collapsed: a form filled in
with other figures states other facts, however similar its words are. Nor are those that differ in a field of a record,
a row of a table or an entry of a log: two API cards may differ in one word, the name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from data.documents.chunks import Chunk
from data.text.lines import key_of
from data.text.records import record_kind
from data.text.words import AlikeTexts, word_runs

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A chunk that was dropped because an earlier one says the same.

    Attributes:
        id, document_id, document_path, start, end: of the chunk, as in `Chunk`.
        kept_id: id of the chunk that replaces it.
        similarity: 1 for the same text, headings and record, white space and case aside; else the Jaccard similarity of
            their runs of three words.
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
    facts = [_facts(chunk) for chunk in chunks]
    texts = [_compared(chunk, bool(own)) for chunk, own in zip(chunks, facts, strict=True)]
    near = _NearCopies(texts, facts, near_duplicate) if near_duplicate < 1 else None
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


def _compared(chunk: Chunk, record: bool) -> str:
    """The text that is compared. The title of the document is that of its records, not of a text that stands in many
    files."""
    title = chunk.title if record else ""
    return _folded(" ".join((title, *chunk.heading_path, *chunk.belongs_to, *chunk.fields, chunk.text)))


def _facts(chunk: Chunk) -> tuple[str, ...]:
    """The fields, rows and entries of a chunk, and what it belongs to; two chunks with others state other facts."""
    kind = record_kind(chunk.text) or ("fields" if chunk.belongs_to else None)
    lines = chunk.text.split("\n") if kind or "|" in chunk.text else []
    own = [line for line in lines if kind == "log" or line.lstrip().startswith("|") or (kind and key_of(line))]
    if not (own or chunk.belongs_to):
        return ()
    return (chunk.title.casefold(), *map(_folded, (*chunk.belongs_to, *chunk.fields, *own)))


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


class _NearCopies:
    """Finds near copies among texts with the same numbers and the same facts."""

    def __init__(self, texts: Sequence[str], facts: Sequence[tuple[str, ...]], threshold: float) -> None:
        numbers = (tuple(sorted(_NUMBER.findall(text))) for text in texts)
        self._stated = [(*of_text, "", *own) for of_text, own in zip(numbers, facts, strict=True)]
        alike = Counter(self._stated)
        # A text with numbers and facts that no other text has needs no search: most rows of a table or a price list.
        self._runs = {index: word_runs(text) for index, text in enumerate(texts) if alike[self._stated[index]] > 1}
        members: dict[tuple[str, ...], list[int]] = {}
        for index in self._runs:
            members.setdefault(self._stated[index], []).append(index)
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
        numbers, runs = self._stated[index], self._runs[index]
        similar = self._groups[numbers].find(runs)
        if not similar:
            self._groups[numbers].add(runs)
            self._kept[numbers].append(index)
            return None
        best, similarity = max(similar, key=lambda item: (item[1], -item[0]))
        return self._kept[numbers][best], similarity
