"""Questions tied to chunks and split by document."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from data.critic.critique import SPLIT, FilterCount, filter_questions
from data.critic.settings import CriticSettings
from data.files.jsonl import read_jsonl, write_jsonl
from data.questions.grounding import check_names
from data.questions.questions import (
    EVIDENCE,
    Question,
    QuestionSettings,
    RawQuestion,
    Rejected,
    count_reasons,
    describe_reasons,
    evidence_of,
)
from data.questions.repair import Repaired
from data.questions.split import SplitSettings, split_documents, split_questions
from data.retrieval.retriever import RetrievalSettings
from tasks.engine.cache import stage
from tasks.stages.loading import open_chunks, open_documents, open_duplicates, open_embed, open_reranker, open_retriever
from tasks.store.artifacts import Artifact
from tasks.store.store import Build, Store
from user_error import UserError

_RAW = "raw_questions.jsonl"
TEACHER_REJECTED = "teacher_rejected.jsonl"  # in the same artifact: unusable parts of a teacher's answers


def check_questions(store: Store, raw: Artifact, documents: Artifact) -> None:
    """Check that the questions are about these documents, before anything is built.

    Raises:
        UserError: every question names a document that does not exist.
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
    critic: CriticSettings,
    split: SplitSettings,
) -> Artifact:
    """Questions tied to quotes and oracle chunks, filtered by the critic and split by document.

    Files: train.jsonl, validation.jsonl (may be empty), eval.jsonl; rejected.jsonl, each with its reason;
    near_duplicates.jsonl, dropped because they repeat held-out questions; repaired.jsonl, quotes before and after;
    filters.json, a list of {"filter", "kept", "rejected"} in order; evidence.json, the number of questions by the kind
    of evidence.

    Raises:
        UserError: no question is left, or the questions are about too few documents.
    """
    embed = open_embed(store, embedder)
    retriever = open_retriever(store, chunks, index, embedder, reranker, retrieval)

    result = filter_questions(
        read_jsonl(store.path(raw) / _RAW, RawQuestion),
        open_documents(store, documents),
        open_chunks(store, chunks),
        questions,
        critic,
        embed,
        retriever.search,
        open_duplicates(store, chunks),
        open_reranker(store, reranker),
    )
    grounded, rejected, funnel = result.questions, result.rejected, result.funnel
    if (unusable := store.path(raw) / TEACHER_REJECTED).is_file():
        unread = read_jsonl(unusable, Rejected)
        rejected = [*unread, *rejected]
        funnel = [FilterCount("teacher", raw.count("questions"), len(unread)), *funnel]
    if not grounded:
        first = rejected[0]
        raise UserError(
            f"none of {len(rejected)} questions can be used: {describe_reasons(rejected)}; correct them, starting "
            f"with {first.source} ({first.detail or first.reason})"
        )
    parts = split_questions(
        grounded, split_documents((question.document_id for question in grounded), split), split, embed
    )
    dropped = FilterCount(SPLIT, len(grounded) - len(parts.dropped), len(parts.dropped))
    settings = {"questions": questions, "critic": critic, "split": split, "retrieval": retrieval}
    inputs = tuple(filter(None, (raw, documents, chunks, index, embedder, reranker)))
    with store.build("questions", settings=settings, inputs=inputs) as build:
        write_parts(
            build,
            {"train": parts.train, "validation": parts.validation, "eval": parts.eval},
            rejected,
            parts.dropped,
            result.repaired,
            [*funnel, dropped],
        )
    return build.artifact


def write_parts(
    build: Build,
    parts: Mapping[str, Sequence[Question]],
    rejected: Sequence[Rejected],
    near_duplicates: Sequence[Question],
    repaired: Sequence[Repaired],
    funnel: Sequence[FilterCount],
) -> None:
    """Write the files of a `questions` artifact, and its counts."""
    for part, questions in parts.items():
        write_jsonl(build.folder / f"{part}.jsonl", questions)
    write_jsonl(build.folder / "rejected.jsonl", rejected)
    write_jsonl(build.folder / "near_duplicates.jsonl", near_duplicates)
    write_jsonl(build.folder / "repaired.jsonl", repaired)
    rows = json.dumps([asdict(row) for row in funnel], indent=1) + "\n"
    (build.folder / "filters.json").write_text(rows, encoding="utf-8")
    build.count(**{part: len(questions) for part, questions in parts.items()})
    fitted = sum(item.to_sentences for item in repaired)
    build.count(rejected=len(rejected), near_duplicates=len(near_duplicates), repaired_quotes=len(repaired) - fitted)
    build.count(quotes_made_whole_sentences=fitted)
    evidence = Counter(kind for questions in parts.values() for kind in map(evidence_of, questions))
    kinds = {kind: evidence[kind] for kind in EVIDENCE}
    (build.folder / "evidence.json").write_text(json.dumps(kinds, indent=1) + "\n", encoding="utf-8")
    build.count(**{f"evidence: {kind}": count for kind, count in kinds.items()})
    build.count(**{f"rejected: {reason}": count for reason, count in count_reasons(rejected).items()})
