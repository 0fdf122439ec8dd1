"""Questions tied to chunks and split by document."""

from collections.abc import Sequence

import numpy as np

from data.grounding import check_names, ground_questions, tell_reasons
from data.jsonl import read_jsonl, write_jsonl
from data.questions import QuestionSettings, RawQuestion
from data.retriever import RetrievalSettings
from data.split import SplitSettings, split_documents, split_questions
from tasks.cache import stage
from tasks.loading import open_chunks, open_documents, open_embedder, open_retriever
from tasks.store import Artifact, Store

_RAW = "raw_questions.jsonl"


def check_questions(store: Store, raw: Artifact, documents: Artifact) -> None:
    """Refuse questions about other documents while nothing is built yet.

    Raises:
        ValueError: every question names a document that is not there.
    """
    check_names(read_jsonl(store.path(raw) / _RAW, RawQuestion), open_documents(store, documents))


@stage(name="ground-questions", version=1, retries=2)
def prepare_questions(
    store: Store,
    raw: Artifact,
    documents: Artifact,
    chunks: Artifact,
    index: Artifact,
    embedder: Artifact,
    reranker: Artifact | None,
    retrieval: RetrievalSettings,
    questions: QuestionSettings,
    split: SplitSettings,
) -> Artifact:
    """Tie questions to quotes and oracle chunks, then split them by document.

    Files: train.jsonl, validation.jsonl (may be empty), eval.jsonl, rejected.jsonl, near_duplicates.jsonl.

    Raises:
        ValueError: nothing is left, or the questions are about too few documents.
    """
    model = open_embedder(store, embedder)
    retriever = open_retriever(store, chunks, index, embedder, reranker, retrieval)

    def embed(texts: Sequence[str]) -> np.ndarray:
        return model.embed(texts)

    grounded, rejected = ground_questions(
        read_jsonl(store.path(raw) / _RAW, RawQuestion),
        open_documents(store, documents),
        open_chunks(store, chunks),
        questions,
        embed,
        retriever.search,
    )
    if not grounded:
        first = rejected[0]
        raise ValueError(
            f"none of {len(rejected)} questions can be tied to the documents: {tell_reasons(rejected)}; correct them, "
            f"beginning with {first.source} ({first.detail or first.reason})"
        )
    parts = split_questions(
        grounded, split_documents((question.document_id for question in grounded), split), split, embed
    )
    settings = {"questions": questions, "split": split, "retrieval": retrieval}
    inputs = tuple(filter(None, (raw, documents, chunks, index, embedder, reranker)))
    with store.build("questions", settings=settings, inputs=inputs) as build:
        write_jsonl(build.folder / "train.jsonl", parts.train)
        write_jsonl(build.folder / "validation.jsonl", parts.validation)
        write_jsonl(build.folder / "eval.jsonl", parts.eval)
        write_jsonl(build.folder / "rejected.jsonl", rejected)
        write_jsonl(build.folder / "near_duplicates.jsonl", parts.dropped)
        build.count(
            train=len(parts.train),
            validation=len(parts.validation),
            eval=len(parts.eval),
            rejected=len(rejected),
            near_duplicates=len(parts.dropped),
        )
    return build.artifact
