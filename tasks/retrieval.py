"""Chunks and their index."""

import numpy as np

from data.chunks import ChunkSettings, chunk_documents
from data.duplicates import Duplicate, collapse_duplicates
from data.embeddings import EmbeddingSettings
from data.index import ChunkIndex
from data.jsonl import write_jsonl
from tasks.cache import stage
from tasks.loading import open_chunks, open_documents, open_embedder, open_tokenizer
from tasks.store import Artifact, Store


@stage(name="chunk-documents", version=1)
def cut_chunks(store: Store, documents: Artifact, base: Artifact, chunking: ChunkSettings) -> Artifact:
    """Chunks of all documents, counted in the base model's tokens, as chunks.jsonl.

    Those that repeat others are left out and listed in duplicates.jsonl (may be empty) with what stands for them.
    """
    found = chunk_documents(open_documents(store, documents), open_tokenizer(store, base).count_tokens, chunking)
    duplicates: list[Duplicate] = []
    if chunking.near_duplicate is not None:
        found, duplicates = collapse_duplicates(found, chunking.near_duplicate)
    with store.build("chunks", settings=chunking, inputs=(documents, base)) as build:
        write_jsonl(build.folder / "chunks.jsonl", found)
        write_jsonl(build.folder / "duplicates.jsonl", duplicates)
        build.count(chunks=len(found), documents=documents.count("documents"))
        if duplicates:
            build.count(collapsed_duplicates=len(duplicates))
    return build.artifact


@stage(name="index-chunks", version=1, retries=2)
def index_chunks(store: Store, chunks: Artifact, embedder: Artifact, embedding: EmbeddingSettings) -> Artifact:
    """Embed every chunk and build the FAISS index."""
    found = open_chunks(store, chunks)
    model = open_embedder(store, embedder, embedding.batch_size)
    texts = [chunk.search_text for chunk in found]
    vectors: np.ndarray = model.embed(texts, progress=True)
    with store.build("index", settings=embedding, inputs=(chunks, embedder)) as build:
        ChunkIndex.build(vectors, [chunk.id for chunk in found], embedder.digest).save(build.folder)
        build.count(chunks=len(found), dimensions=vectors.shape[1])
    return build.artifact
