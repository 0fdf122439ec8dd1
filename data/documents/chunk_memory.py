"""Chunks kept by document: a document that was cut before, in the same way, is not cut again.

FOLDER/*.jsonl    chunks, one a line, in shards (shelf.py); a document's stand together in one of them
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from data.documents.chunks import Chunk
from data.documents.documents import Document
from data.files.jsonl import read_jsonl, to_jsonl
from data.files.shelf import Shelf


class ChunkMemory:
    """The chunks of documents that were cut in one way.

    Args:
        folder: of this way: of these settings, this tokenizer and this code.
    """

    def __init__(self, folder: Path) -> None:
        self._shelf = Shelf(folder, ".jsonl")

    def chunk(
        self, documents: Sequence[Document], cut: Callable[[Sequence[Document]], Sequence[Chunk]]
    ) -> tuple[list[Chunk], int]:
        """The chunks of documents, in their order; `cut` makes, and the memory keeps, those that are missing.

        Returns:
            The chunks, and how many documents were cut.
        """
        known = self._read({document.id for document in documents})
        fresh = [document for document in documents if document.id not in known]
        made = _by_document(cut(fresh)) if fresh else {}
        if made:
            self._shelf.add(to_jsonl(chunk for chunks in made.values() for chunk in chunks))
        found = known | made
        return [chunk for document in documents for chunk in found.get(document.id, ())], len(fresh)

    def _read(self, wanted: set[str]) -> dict[str, list[Chunk]]:
        known: dict[str, list[Chunk]] = {}
        for path in self._shelf.shards():
            # Two processes may both have cut a document; each cut all of it.
            for name, chunks in _by_document(read_jsonl(path, Chunk)).items():
                if name in wanted:
                    known.setdefault(name, chunks)
        return known


def _by_document(chunks: Sequence[Chunk]) -> dict[str, list[Chunk]]:
    found: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        found.setdefault(chunk.document_id, []).append(chunk)
    return found
