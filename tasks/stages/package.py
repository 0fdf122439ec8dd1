"""Packages the dataset for release: splits, exports, card and report."""

from itertools import islice
from typing import Any

from data.critic.critique import SPLIT
from data.files.jsonl import read_jsonl
from data.package.report_page import Filter
from data.package.write import Package, build_test, read_splits
from data.questions.questions import Rejected, count_reasons
from data.raft.leaks import LEAKS_NAME
from data.raft.settings import RaftSettings
from data.scoring.retrieval_scores import retrieval_cells
from tasks.engine.cache import stage
from tasks.stages.json_files import read_json
from tasks.stages.loading import open_chunks, open_embed, open_index, open_questions, open_tokenizer
from tasks.stages.questions import read_split
from tasks.store.artifacts import Artifact
from tasks.store.store import Store


@stage(name="package-dataset", version=1)
def package_dataset(
    store: Store,
    documents: Artifact,
    questions: Artifact,
    chunks: Artifact,
    index: Artifact,
    embedder: Artifact,
    base: Artifact,
    dataset: Artifact,
    retrieval: Artifact,
    raft: RaftSettings,
) -> Artifact:
    """Write train, validation and test as JSONL, Parquet, `datasets` and exports, with card and report.

    The test split has the evaluation questions over their oracles and distractors from all documents.

    Raises:
        UserError: no evaluation question fits the token budget.
    """
    all_chunks = open_chunks(store, chunks)
    vectors = open_index(store, index, embedder).vectors()
    asked = {part: open_questions(store, questions, part) for part in ("train", "validation", "eval")}
    every = [question for part in asked.values() for question in part]
    embedded = open_embed(store, embedder)([question.question for question in every])
    of_test = embedded[len(every) - len(asked["eval"]) :]
    test = build_test(asked["eval"], all_chunks, vectors, raft, open_tokenizer(store, base), of_test)
    package = Package(read_splits(store.path(dataset)) | {"test": test}, all_chunks, vectors, every, embedded, raft)
    retriever = retrieval_cells(read_json(store.path(retrieval) / "retrieval.json"))
    split = read_split(store, questions)
    report = package.report(dict(documents.counts), _filters(store, questions), retriever, split["note"])
    inputs = (documents, questions, chunks, index, embedder, base, dataset, retrieval)
    with store.build("package", settings=raft, inputs=inputs) as build:
        package.write(build.folder, report, split["by"] == "document")
        build.count(**{name: len(split.records) for name, split in package.splits.items()})
    return build.artifact


def read_leaks(store: Store, dataset: Artifact) -> list[dict[str, Any]]:
    """The leak reports of train and validation."""
    folder = store.path(dataset)
    paths = (folder / LEAKS_NAME, folder / "validation" / LEAKS_NAME)
    return [read_json(path) for path in paths if path.is_file()]


def _filters(store: Store, questions: Artifact) -> list[Filter]:
    """The filters of the questions. rejected.jsonl has the rejected questions in the order of the filters."""
    rejected = iter(read_jsonl(store.path(questions) / "rejected.jsonl", Rejected))
    filters = []
    for row in read_json(store.path(questions) / "filters.json"):
        if row["filter"] == SPLIT:
            reasons = {"near-duplicate of a held-out question": row["rejected"]}
        else:
            reasons = count_reasons(list(islice(rejected, row["rejected"])))
        filters.append(Filter(row["filter"], row["kept"] + row["rejected"], reasons))
    return filters
