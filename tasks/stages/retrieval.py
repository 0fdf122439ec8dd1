"""Chunks, their index, and how well it finds the oracles of questions."""

import json
from dataclasses import asdict
from functools import partial

from data.documents.chunk_memory import ChunkMemory
from data.documents.chunks import ChunkSettings, chunk_documents
from data.documents.duplicates import Duplicate, collapse_duplicates
from data.files.jsonl import write_jsonl
from data.retrieval.embeddings import EmbeddingSettings
from data.retrieval.index import ChunkIndex
from data.retrieval.index_kinds import IndexSettings
from data.retrieval.keywords import KeywordIndex
from data.retrieval.retriever import RetrievalSettings
from data.scoring.retrieval_scores import measure_retrieval, retrieval_table
from tasks.engine.cache import stage
from tasks.engine.code import stage_code
from tasks.engine.keys import stage_key
from tasks.stages.embedding import embed_missing
from tasks.stages.loading import (
    KEYWORDS,
    open_chunks,
    open_documents,
    open_embedder,
    open_questions,
    open_retriever,
    open_tokenizer,
    open_vectors,
)
from tasks.store.artifacts import Artifact
from tasks.store.store import Store


@stage(name="chunk-documents", version=1)
def cut_chunks(store: Store, documents: Artifact, base: Artifact, chunking: ChunkSettings) -> Artifact:
    """Chunks of all documents, counted in the base model's tokens, as chunks.jsonl.

    Those of documents that were cut before are kept. Those that repeat others are left out and listed in
    duplicates.jsonl (may be empty) with what stands for them.
    """
    code = stage_code(chunk_documents, ("data.documents.chunks", "data.prompting.tokenizer"))
    way = stage_key("chunks", 1, code.digest, {"base": base, "chunking": chunking}, code.libraries)
    count_tokens = open_tokenizer(store, base).count_tokens
    found, _ = ChunkMemory(store.work_dir / "chunks" / f"{way}.sqlite").chunk(
        open_documents(store, documents), lambda fresh: chunk_documents(fresh, count_tokens, chunking)
    )
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


def _index_space(store: Store, chunks: Artifact, *others: object) -> int:
    """Vectors, kept and in the index, and the words: a few times the texts."""
    return 8 * chunks.bytes


@stage(name="index-chunks", version=2, retries=2, prepare=embed_missing, space=_index_space)
def index_chunks(
    store: Store,
    chunks: Artifact,
    embedder: Artifact,
    embedding: EmbeddingSettings,
    index: IndexSettings,
    hybrid: bool,
) -> Artifact:
    """The FAISS index over every chunk's vector, and BM25 over its words where retrieval is hybrid.

    Raises:
        UserError: FAISS knows no such kind of index, or it finds less than `min_recall`.
    """
    found = open_chunks(store, chunks)
    model = open_embedder(store, embedder, embedding.batch_tokens)
    texts = [chunk.search_text for chunk in found]
    vectors = open_vectors(store, model).get(texts, partial(model.embed, progress=True))
    built = ChunkIndex.build(vectors, [chunk.id for chunk in found], embedder.digest, index)
    settings = {"embedding": embedding, "index": index, "quality": asdict(built.quality)}
    with store.build("index", settings=settings, inputs=(chunks, embedder)) as build:
        built.save(build.folder)
        if hybrid:
            KeywordIndex.build(texts).save(build.folder / KEYWORDS)
        build.count(chunks=len(found), dimensions=vectors.shape[1])
    return build.artifact


@stage(name="measure-retrieval", version=1)
def measure(
    store: Store,
    questions: Artifact,
    chunks: Artifact,
    index: Artifact,
    embedder: Artifact,
    reranker: Artifact | None,
    retrieval: RetrievalSettings,
) -> Artifact:
    """How well retrieval finds the oracles of each part's questions: retrieval.json, and retrieval.txt, a table."""
    parts = {
        # What the documents do not answer has no oracle to be found.
        part: [question for question in open_questions(store, questions, part) if question.quotes]
        for part in ("train", "validation", "eval")
    }
    rows = measure_retrieval(open_retriever(store, chunks, index, embedder, reranker, retrieval), parts)
    inputs = tuple(filter(None, (questions, chunks, index, embedder, reranker)))
    with store.build("retrieval", settings=retrieval, inputs=inputs) as build:
        text = json.dumps(rows, indent=1, sort_keys=True) + "\n"
        (build.folder / "retrieval.json").write_text(text, encoding="utf-8")
        (build.folder / "retrieval.txt").write_text(retrieval_table(rows), encoding="utf-8")
        build.count(questions=sum(map(len, parts.values())))
    return build.artifact
