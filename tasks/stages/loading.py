"""Opens artifacts, one function for each kind. Models are cached for the process, since loading takes seconds."""

import functools
from pathlib import Path

from data.documents.chunks import Chunk
from data.documents.documents import Document
from data.documents.duplicates import Duplicate
from data.files.jsonl import read_jsonl
from data.prompting.tokenizer import Tokenizer, load_tokenizer
from data.questions.questions import Question
from data.retrieval.embeddings import Embedder
from data.retrieval.index import ChunkIndex
from data.retrieval.keywords import KeywordIndex
from data.retrieval.reranker import ScorePairs, load_reranker
from data.retrieval.retriever import RetrievalSettings, Retriever
from data.retrieval.vectors import Embed, VectorStore
from tasks.store.artifacts import Artifact
from tasks.store.store import Store

ENDS = "end.json"  # in a folder of prompts: the tokens that end an answer, and those that are no text
KEYWORDS = "keywords"  # folder of an index artifact that hybrid retrieval reads


@functools.cache
def loaded_embedder(folder: Path, batch_tokens: int | None) -> Embedder:
    """The embedder of a folder, cached for the process."""
    return Embedder(folder, batch_tokens)


def open_embedder(store: Store, embedder: Artifact, batch_tokens: int | None = None) -> Embedder:
    """The embedder, cached for the process."""
    return loaded_embedder(store.path(embedder), batch_tokens)


def vectors_folder(store: Store) -> Path:
    """The directory of the vector store."""
    return store.work_dir / "vectors"


def open_vectors(store: Store, embedder: Embedder) -> VectorStore:
    """The stored vectors of this embedder."""
    return VectorStore(vectors_folder(store), embedder.fingerprint, embedder.dimension)


def open_embed(store: Store, embedder: Artifact) -> Embed:
    """A function from texts to normalized vectors, float32 [N, D], that reuses stored vectors: many stages embed the
    same questions."""
    model = open_embedder(store, embedder)
    vectors = open_vectors(store, model)
    return lambda texts: vectors.get(texts, model.embed)


@functools.cache
def _reranker(folder: Path) -> ScorePairs:
    return load_reranker(folder)


def open_reranker(store: Store, reranker: Artifact | None) -> ScorePairs | None:
    """The cross-encoder, cached for the process; None if there is none."""
    return None if reranker is None else _reranker(store.path(reranker))


@functools.cache
def _tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


def open_tokenizer(store: Store, base: Artifact) -> Tokenizer:
    """The base model's tokenizer, cached for the process."""
    return _tokenizer(store.path(base))


def open_documents(store: Store, documents: Artifact) -> list[Document]:
    """Documents in the order of their paths."""
    return read_jsonl(store.path(documents) / "documents.jsonl", Document)


def open_chunks(store: Store, chunks: Artifact) -> list[Chunk]:
    """Chunks in the order of their documents."""
    return read_jsonl(store.path(chunks) / "chunks.jsonl", Chunk)


def open_duplicates(store: Store, chunks: Artifact) -> list[Duplicate]:
    """The chunks that were left out as duplicates."""
    return read_jsonl(store.path(chunks) / "duplicates.jsonl", Duplicate)


def open_index(store: Store, index: Artifact, embedder: Artifact) -> ChunkIndex:
    """The index over the chunks.

    Raises:
        UserError: another embedder built it, or a file of it is damaged.
    """
    # The store has compared digests of files whose times or sizes changed.
    return ChunkIndex.load(store.path(index), embedder.digest, check=False)


def open_retriever(
    store: Store,
    chunks: Artifact,
    index: Artifact,
    embedder: Artifact,
    reranker: Artifact | None,
    retrieval: RetrievalSettings,
    embed: Embed | None = None,
) -> Retriever:
    """The retriever of chunks for questions.

    Args:
        embed: embeds the questions; by default `open_embed`.

    Raises:
        UserError: as `open_index`, or the reranker cannot be loaded.
    """
    return Retriever(
        open_chunks(store, chunks),
        open_index(store, index, embedder),
        embed or open_embed(store, embedder),
        retrieval,
        KeywordIndex.load(store.path(index) / KEYWORDS) if retrieval.hybrid else None,
        open_reranker(store, reranker),
    )


def open_questions(store: Store, questions: Artifact, part: str) -> list[Question]:
    """Questions of one part of the split: `train`, `validation` (may be empty) or `eval`."""
    return read_jsonl(store.path(questions) / f"{part}.jsonl", Question)
