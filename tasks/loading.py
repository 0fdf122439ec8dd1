"""Open artifacts: each function reads one kind. Models that take seconds to load are kept for the process."""

import functools
from pathlib import Path

from data.chunks import Chunk
from data.documents import Document
from data.duplicates import Duplicate
from data.embeddings import Embedder
from data.index import ChunkIndex
from data.jsonl import read_jsonl
from data.questions import Question
from data.tokenizer import Tokenizer, load_tokenizer
from tasks.store import Artifact, Store


@functools.cache
def _embedder(folder: Path, batch_size: int) -> Embedder:
    return Embedder(folder, batch_size)


def open_embedder(store: Store, embedder: Artifact, batch_size: int = 64) -> Embedder:
    """The embedder, loaded once for the process."""
    return _embedder(store.path(embedder), batch_size)


@functools.cache
def _tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


def open_tokenizer(store: Store, base: Artifact) -> Tokenizer:
    """The base model's tokenizer, loaded once for the process."""
    return _tokenizer(store.path(base))


def open_documents(store: Store, documents: Artifact) -> list[Document]:
    """Documents in the order of their paths."""
    return read_jsonl(store.path(documents) / "documents.jsonl", Document)


def open_chunks(store: Store, chunks: Artifact) -> list[Chunk]:
    """Chunks in the order of their documents."""
    return read_jsonl(store.path(chunks) / "chunks.jsonl", Chunk)


def open_duplicates(store: Store, chunks: Artifact) -> list[Duplicate]:
    """The chunks that were left out because they repeat others."""
    return read_jsonl(store.path(chunks) / "duplicates.jsonl", Duplicate)


def open_index(store: Store, index: Artifact, embedder: Artifact) -> ChunkIndex:
    """The index over the chunks.

    Raises:
        ValueError: another embedder built it, or a file of it is damaged.
    """
    return ChunkIndex.load(store.path(index), embedder.digest)


def open_questions(store: Store, questions: Artifact, part: str) -> list[Question]:
    """Questions of one part of the split: `train`, `validation` (may be none) or `eval`."""
    return read_jsonl(store.path(questions) / f"{part}.jsonl", Question)
