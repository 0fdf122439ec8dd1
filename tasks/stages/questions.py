"""Questions tied to chunks and split by document."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from data.critic.critique import SPLIT, FilterCount, filter_questions
from data.critic.settings import CriticSettings
from data.documents.documents import Document
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
from data.questions.split import SplitSettings, check_enough, most_documents, split_questions
from data.questions.squad import named_or_quoted
from data.retrieval.retriever import RetrievalSettings
from tasks.engine.cache import stage
from tasks.engine.logs import run_log
from tasks.stages.json_files import read_json, write_json
from tasks.stages.loading import open_chunks, open_documents, open_duplicates, open_embed, open_reranker, open_retriever
from tasks.stages.sources import UNREADABLE_QUESTIONS
from tasks.store.artifacts import Artifact
from tasks.store.store import Build, Store
from user_error import UserError

_RAW = "raw_questions.jsonl"
_SPLIT = "split.json"
TEACHER_REJECTED = "teacher_rejected.jsonl"  # in the same artifact: unusable parts of a teacher's answers


def check_questions(store: Store, raw: Artifact | None, documents: Artifact, split: SplitSettings) -> None:
    """Check that the questions are about these documents, and about enough to be split, before anything is built.

    Args:
        raw: None if a teacher will write them.

    Raises:
        UserError: every question names a document that does not exist, or as far as names tell all are about fewer
            documents than the split has sides.
    """
    of_corpus = open_documents(store, documents)
    questions = [] if raw is None else _read_raw(store, raw, of_corpus)
    if raw is not None:
        check_names(questions, of_corpus)
    # Without one, grounding says why.
    if split.by == "document" and (number := most_documents(questions, of_corpus)):
        check_enough(number, split)


def _read_raw(store: Store, raw: Artifact, documents: Sequence[Document]) -> list[RawQuestion]:
    return named_or_quoted(read_jsonl(store.path(raw) / _RAW, RawQuestion), documents)


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
    filters.json, a list of {"filter", "kept", "rejected"} in order; split.json, how they were split; evidence.json, the
    number of questions by the kind of evidence.

    Raises:
        UserError: no question is left, or the questions are about too few documents.
    """
    embed = open_embed(store, embedder)
    retriever = open_retriever(store, chunks, index, embedder, reranker, retrieval)

    of_corpus = open_documents(store, documents)
    result = filter_questions(
        _read_raw(store, raw, of_corpus),
        of_corpus,
        open_chunks(store, chunks),
        questions,
        critic,
        embed,
        retriever.search,
        open_duplicates(store, chunks),
        open_reranker(store, reranker),
    )
    grounded, rejected, funnel = result.questions, result.rejected, result.funnel
    for name, unusable in (("teacher", TEACHER_REJECTED), ("question file", UNREADABLE_QUESTIONS)):
        unread = read_jsonl(path, Rejected) if (path := store.path(raw) / unusable).is_file() else []
        if unread or (path.is_file() and name == "teacher"):
            rejected = [*unread, *rejected]
            funnel = [FilterCount(name, raw.count("questions"), len(unread)), *funnel]
    if not grounded:
        first = rejected[0]
        raise UserError(
            f"none of {len(rejected)} questions can be used: {describe_reasons(rejected)}; correct them, starting "
            f"with {first.source} ({first.detail or first.reason})"
        )
    parts = split_questions(grounded, {document.id: document for document in of_corpus}, split, embed)
    run_log().info("split: %s", parts.facts["note"])
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
            parts.facts,
        )
    return build.artifact


def read_split(store: Store, questions: Artifact) -> dict[str, Any]:
    """How questions were split (`QuestionSplit.facts`); artifacts before 2026-12 were split by document and have no
    facts."""
    path = store.path(questions) / _SPLIT
    return read_json(path) if path.is_file() else {"by": "document", "note": ""}


def write_parts(
    build: Build,
    parts: Mapping[str, Sequence[Question]],
    rejected: Sequence[Rejected],
    near_duplicates: Sequence[Question],
    repaired: Sequence[Repaired],
    funnel: Sequence[FilterCount],
    split: Mapping[str, Any],
) -> None:
    """Write the files of a `questions` artifact, and its counts; `split` are the facts of `QuestionSplit`."""
    for part, questions in parts.items():
        write_jsonl(build.folder / f"{part}.jsonl", questions)
    write_jsonl(build.folder / "rejected.jsonl", rejected)
    write_jsonl(build.folder / "near_duplicates.jsonl", near_duplicates)
    write_jsonl(build.folder / "repaired.jsonl", repaired)
    rows = json.dumps([asdict(row) for row in funnel], indent=1) + "\n"
    (build.folder / "filters.json").write_text(rows, encoding="utf-8")
    write_json(build.folder / _SPLIT, split)
    build.count(**{part: len(questions) for part, questions in parts.items()})
    fitted = sum(item.to_sentences for item in repaired)
    build.count(rejected=len(rejected), near_duplicates=len(near_duplicates), repaired_quotes=len(repaired) - fitted)
    build.count(quotes_made_whole_sentences=fitted)
    evidence = Counter(kind for questions in parts.values() for kind in map(evidence_of, questions))
    kinds = {kind: evidence[kind] for kind in EVIDENCE}
    (build.folder / "evidence.json").write_text(json.dumps(kinds, indent=1) + "\n", encoding="utf-8")
    build.count(**{f"evidence: {kind}": count for kind, count in kinds.items() if count})
    build.count(**{f"rejected: {reason}": count for reason, count in count_reasons(rejected).items()})
