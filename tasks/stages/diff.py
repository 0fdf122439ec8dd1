"""Compares a dataset with the previous one of the work directory."""

from collections.abc import Mapping

from data.raft.alpaca import AlpacaRecord, read_records
from data.raft.dataset_diff import compare_datasets
from tasks.engine.cache import stage
from tasks.records.runs import read_latest
from tasks.stages.json_files import write_json
from tasks.stages.loading import open_documents
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from user_error import UserError


def last_dataset(store: Store, artifacts: Mapping[str, Artifact]) -> tuple[Artifact, Artifact] | None:
    """Documents and dataset of the last run; None if there is none, they are damaged, or nothing changed."""
    try:
        last, _ = read_latest(store.work_dir)
        previous = last["documents"], last["dataset"]
        for artifact in previous:
            store.verify(artifact)
    except (UserError, KeyError):  # BrokenArtifact is one
        return None
    now = artifacts["documents"], artifacts["dataset"]
    same = all((one.kind, one.digest) == (other.kind, other.digest) for one, other in zip(previous, now, strict=True))
    return None if same else previous


@stage(name="compare-datasets", version=1)
def compare(
    store: Store, last_documents: Artifact, last_dataset: Artifact, documents: Artifact, dataset: Artifact
) -> Artifact:
    """Write what changed as diff.json, diff.md and diff.txt (one line)."""
    diff = compare_datasets(
        (open_documents(store, last_documents), open_documents(store, documents)),
        (_records(store, last_dataset), _records(store, dataset)),
    )
    with store.build("dataset-diff", inputs=(last_documents, last_dataset, documents, dataset)) as build:
        write_json(build.folder / "diff.json", diff.as_json())
        (build.folder / "diff.md").write_text(diff.table(), encoding="utf-8")
        (build.folder / "diff.txt").write_text(diff.line() + "\n", encoding="utf-8")
        build.count(**diff.counts)
    return build.artifact


def _records(store: Store, dataset: Artifact) -> dict[str, list[AlpacaRecord]]:
    folder = store.path(dataset)
    splits = {"train": folder, "validation": folder / "validation"}
    return {name: read_records(path) for name, path in splits.items() if path.is_dir()}
