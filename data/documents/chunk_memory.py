"""Chunks kept by document: a document that was cut before, with the same settings, is not cut again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from data.documents.chunks import Chunk
from data.documents.documents import Document
from data.files.jsonl import parse_jsonl, to_jsonl
from data.files.shelf import Shelf


class ChunkMemory:
    """The chunks of documents, by document id.

    Args:
        path: a file (shelf.py) for one combination of settings, tokenizer and code.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shelf = Shelf(path)

    def chunk(
        self, documents: Sequence[Document], cut: Callable[[Sequence[Document]], Sequence[Chunk]]
    ) -> tuple[list[Chunk], int]:
        """The chunks of documents, in their order; those that are missing are made by `cut` and kept.

        Returns:
            The chunks, and how many documents were cut.
        """
        known = self._shelf.get(document.id for document in documents)
        fresh = {document.id: document for document in documents if document.id not in known}
        if fresh:
            chunks: dict[str, list[Chunk]] = {name: [] for name in fresh}
            for chunk in cut(list(fresh.values())):
                chunks[chunk.document_id].append(chunk)
            made = {name: to_jsonl(items) for name, items in chunks.items()}
            self._shelf.add(made)
            known |= made
        lines = b"".join(known[document.id] for document in documents)
        return parse_jsonl(lines, Chunk, str(self._path)), len(fresh)
