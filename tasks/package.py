"""The dataset as a product: splits, exports, card and report, beside the dataset that training reads."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from data.alpaca import AlpacaRecord, read_records, to_records
from data.card import package_card
from data.exports import Exporter
from data.jsonl import read_jsonl
from data.leaks import LEAKS_NAME
from data.package import CARD_NAME, REPORT_NAME, examples_to_read, for_test, split_facts, write_package
from data.questions import Rejected
from data.raft import build_examples
from data.raft_settings import RaftSettings
from data.report_page import Filter, Report, report_page
from data.sequences import TokenSequence, encode_records, read_sequences
from tasks.cache import stage
from tasks.loading import open_chunks, open_embedder, open_index, open_questions, open_tokenizer
from tasks.store import Artifact, Store


@stage(name="package-dataset", version=1)
def package_dataset(
    store: Store,
    raw_questions: Artifact,
    documents: Artifact,
    questions: Artifact,
    chunks: Artifact,
    index: Artifact,
    embedder: Artifact,
    base: Artifact,
    dataset: Artifact,
    raft: RaftSettings,
    retrieval: Artifact | None = None,
) -> Artifact:
    """Train, validation and test as JSONL, Parquet and `datasets`, in the formats of other trainers, with a report.

    The test split asks the evaluation questions over their oracles and distractors from all documents.

    Args:
        retrieval: the retriever's measures, in a file retrieval.json, if there are any.

    Raises:
        ValueError: no evaluation question fits the token budget.
    """
    found, tokenizer = open_chunks(store, chunks), open_tokenizer(store, base)
    vectors = open_index(store, index, embedder).vectors()
    asked = {part: open_questions(store, questions, part) for part in ("train", "validation", "eval")}
    test = build_examples(asked["eval"], found, vectors, for_test(raft), tokenizer)
    splits: dict[str, list[AlpacaRecord]] = {}
    sequences: dict[str, list[TokenSequence]] = {}
    counts: dict[str, dict[str, int]] = {}
    leaks = read_leaks(store, dataset)
    for name, folder in (("train", store.path(dataset)), ("validation", store.path(dataset) / "validation")):
        if folder.is_dir():
            splits[name], sequences[name] = read_records(folder), read_sequences(folder / "sequences")
            counts[name] = _read(folder / "counts.json")
    splits["test"] = to_records(test.examples, found)
    sequences["test"] = encode_records(splits["test"], tokenizer, raft.prompt_style)
    counts["test"] = test.counts
    chunk_by_id = {chunk.id: chunk for chunk in found}
    question_by_id = {question.id: question for part in asked.values() for question in part}
    chunk_vectors = dict(zip(chunk_by_id, vectors, strict=True))
    embedded = open_embedder(store, embedder).embed([question.question for question in question_by_id.values()])
    question_vectors = dict(zip(question_by_id, embedded, strict=True))
    settings = raft.model_dump(mode="json")
    grounding = [
        Filter("tied to documents and quotes", raw_questions.count("questions"), _reasons(store, questions)),
        Filter(
            "split by document",
            sum(map(len, asked.values())) + questions.count("near_duplicates"),
            {"nearly repeats a held-out question": questions.count("near_duplicates")},
        ),
    ]
    report = Report(
        totals={
            "documents": documents.count("documents"),
            "chunks": len(found),
            "questions": len(question_by_id),
            **{f"{name} examples": len(records) for name, records in splits.items()},
            "training tokens": counts["train"]["tokens of all examples"],
            "of them saved by sharing": counts["train"]["tokens saved by sharing"],
            "leaks": sum(len(part["leaks"]) for part in leaks),
        },
        filters=[*grounding, *(_examples_filter(name, numbers) for name, numbers in counts.items())],
        splits={
            name: split_facts(records, sequences[name], question_vectors, chunk_vectors)
            for name, records in splits.items()
        },
        examples=examples_to_read(splits, chunk_by_id, question_by_id, raft.seed),
        leaks=leaks,
        counts=counts,
        settings=settings,
        retriever=_retriever(store, retrieval),
    )
    inputs = (raw_questions, documents, questions, chunks, index, embedder, base, dataset)
    with store.build("package", settings=raft, inputs=(*inputs, *filter(None, [retrieval]))) as build:
        write_package(build.folder, splits, Exporter(chunk_by_id, question_by_id))
        sizes = {name: len(records) for name, records in splits.items()}
        card = package_card(sizes, counts, settings, report.totals["leaks"])
        (build.folder / CARD_NAME).write_text(card, encoding="utf-8")
        (build.folder / REPORT_NAME).write_text(report_page(report), encoding="utf-8")
        build.count(**sizes)
    return build.artifact


def read_leaks(store: Store, dataset: Artifact) -> list[dict[str, Any]]:
    """The leak report of each part that training reads."""
    folder = store.path(dataset)
    paths = (folder / LEAKS_NAME, folder / "validation" / LEAKS_NAME)
    return [_read(path) for path in paths if path.is_file()]


def _reasons(store: Store, questions: Artifact) -> dict[str, int]:
    rejected = read_jsonl(store.path(questions) / "rejected.jsonl", Rejected)
    return dict(Counter(item.reason for item in rejected).most_common())


def _examples_filter(name: str, counts: dict[str, int]) -> Filter:
    """What was asked over contexts: a question comes once for each pass."""
    removed = {key.removeprefix("rejected: "): number for key, number in counts.items() if key.startswith("rejected: ")}
    return Filter(f"{name}: asked over contexts", counts["examples"] + sum(removed.values()), removed)


def _retriever(store: Store, retrieval: Artifact | None) -> list[list[str]]:
    """The table of retrieval.json: a list of objects with the same keys, or one in the key "rows"."""
    if retrieval is None:
        return []
    content = _read(store.path(retrieval) / "retrieval.json")
    rows = content["rows"] if isinstance(content, dict) else content
    return [list(rows[0]), *([_told(value) for value in row.values()] for row in rows)] if rows else []


def _told(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
