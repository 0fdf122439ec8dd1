"""Stages of retrieval: cut chunks, build the index, measure recall of the oracles; and the check of that recall."""

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
from data.scoring.retrieval_misses import LOW_RECALL, Misses, check_recall, likely_cause, recall_warning
from data.scoring.retrieval_scores import measure_retrieval, retrieval_table
from tasks.engine.cache import stage
from tasks.engine.code import stage_code
from tasks.engine.keys import stage_key
from tasks.stages.embedding import embed_missing
from tasks.stages.json_files import read_json, write_json
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
    """Cut all documents into chunks, measured in the base model's tokens; writes chunks.jsonl.

    Chunks of unchanged documents are reused. Duplicates are left out and listed in duplicates.jsonl (may be empty)
    with the chunk that replaces them.
    """
    code = stage_code(chunk_documents, ("data.documents.chunks", "data.prompting.tokenizer"))
    key = stage_key("chunks", 1, code.digest, {"base": base, "chunking": chunking}, code.libraries)
    count_tokens = open_tokenizer(store, base).count_tokens
    kept, _ = ChunkMemory(store.work_dir / "chunks" / f"{key}.sqlite").chunk(
        open_documents(store, documents), lambda fresh: chunk_documents(fresh, count_tokens, chunking)
    )
    duplicates: list[Duplicate] = []
    if chunking.near_duplicate is not None:
        kept, duplicates = collapse_duplicates(kept, chunking.near_duplicate)
    with store.build("chunks", settings=chunking, inputs=(documents, base)) as build:
        write_jsonl(build.folder / "chunks.jsonl", kept)
        write_jsonl(build.folder / "duplicates.jsonl", duplicates)
        build.count(chunks=len(kept), documents=documents.count("documents"))
        if duplicates:
            build.count(collapsed_duplicates=len(duplicates))
    return build.artifact


def _index_space(store: Store, chunks: Artifact, *others: object) -> int:
    """Bytes of the stored and indexed vectors and of the keyword index: a few times the texts."""
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
    """Build the FAISS index of all chunks and, for hybrid retrieval, the BM25 index.

    Raises:
        UserError: FAISS does not know the kind of index, or its recall is below `min_recall`.
    """
    all_chunks = open_chunks(store, chunks)
    model = open_embedder(store, embedder, embedding.batch_tokens)
    texts = [chunk.search_text for chunk in all_chunks]
    vectors = open_vectors(store, model).get(texts, partial(model.embed, progress=True))
    built = ChunkIndex.build(vectors, [chunk.id for chunk in all_chunks], embedder.digest, index)
    settings = {"embedding": embedding, "index": index, "quality": asdict(built.quality)}
    with store.build("index", settings=settings, inputs=(chunks, embedder)) as build:
        built.save(build.folder)
        if hybrid:
            KeywordIndex.build([chunk.keyword_text for chunk in all_chunks]).save(build.folder / KEYWORDS)
        build.count(chunks=len(all_chunks), dimensions=vectors.shape[1])
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
    """Measure how well retrieval finds the oracles of each part, and their documents.

    Writes retrieval.json, retrieval.txt (a table, and a line where recall is low) and misses.json: counts of the missed
    questions by what they have in common, and the likely cause.
    """
    parts = {
        # Unanswerable questions have no oracle.
        part: [question for question in open_questions(store, questions, part) if question.answerable]
        for part in ("train", "validation", "eval")
    }
    retriever = open_retriever(store, chunks, index, embedder, reranker, retrieval)
    misses = Misses(retriever)
    rows = measure_retrieval(retriever, parts, misses)
    counts = misses.counts()
    cause = likely_cause(rows, counts)
    warning = recall_warning(rows, cause, LOW_RECALL)
    inputs = tuple(filter(None, (questions, chunks, index, embedder, reranker)))
    with store.build("retrieval", settings=retrieval, inputs=inputs) as build:
        write_json(build.folder / "retrieval.json", rows)
        write_json(build.folder / "misses.json", {**asdict(counts), "cause": cause})
        shown = f"{retrieval_table(rows)}\nLow recall: {warning}\n" if warning else retrieval_table(rows)
        (build.folder / "retrieval.txt").write_text(shown, encoding="utf-8")
        build.count(questions=sum(map(len, parts.values())))
    return build.artifact


def check_measured(store: Store, retrieval: Artifact, min_recall: float | None, *, warns: bool) -> None:
    """Warn that a low recall was measured, or refuse; the arguments are those of `check_recall`.

    Raises:
        UserError: it is below `min_recall`.
    """
    rows, misses = (read_json(store.path(retrieval) / name) for name in ("retrieval.json", "misses.json"))
    check_recall(rows, misses["cause"], min_recall, warns=warns)
