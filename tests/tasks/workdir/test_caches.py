"""What `jora gc` does about caches: kept while they are used, listed with their sizes, and bounded on request."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted
from data.documents.readers.memory import ReadingMemory
from data.files.shelf import Shelf
from data.retrieval.vectors import VectorStore
from flows.cli.main import app
from tasks.records.records import recorded
from tasks.store.artifacts import Artifact, Outcome
from tasks.store.digests import file_digest
from tasks.store.store import Store
from tasks.workdir.caches import unused_caches
from tasks.workdir.gc import find_waste, remove
from testing.registered import file_artifact

CACHED = {
    "vectors/of-an-embedder.sqlite": "cached vectors",
    "chunks/of-an-old-code.sqlite": "cached chunks",
    "readings/of-a-file.json": "cached readings",
    "digests/of-a-path.json": "cached digests",
    "xla/2-cores/jit_step-cache": "compiled programs",
}
PAID = "teacher/answers/ab/ab.json"


def fill(store: Store, days: float, size: int = 100, names: tuple[str, ...] = (*CACHED, PAID)) -> None:
    """Files of all caches that were last used so many days ago."""
    for name in names:
        path = store.work_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
        used(path, days)


def used(path: Path, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def run(store: Store, days: float, **artifacts: Artifact) -> None:
    """A run that began so many days ago and built these artifacts then."""
    with recorded(store, "raft-finetune", "everything", "x", {}) as recording:
        for name, artifact in artifacts.items():
            store.note(Outcome(f"make-{name}", artifact, cached=False, seconds=1.0))
            used(store.path(artifact) / "manifest.json", days)
        recording.end("completed", artifacts)
    path = recording.folder / "run.json"
    started = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"started": started}))
    used(path, days)


def going(store: Store, days: float = 30, most: int | None = None) -> set[str]:
    since = datetime.now(UTC) - timedelta(days=days)
    return {path.relative_to(store.work_dir).as_posix() for _, path, _ in unused_caches(store, since, most)}


def test_caches_that_nobody_used_for_long_go_and_paid_answers_stay(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, 40)
    run(store, 0)
    waste = find_waste(store, 30)
    assert waste.by_kind == dict.fromkeys(CACHED.values(), (1, 100)) and waste.bytes == 500
    assert all((tmp_path / name).exists() for name in CACHED), "dry by default"
    assert find_waste(store, 50).paths == ()
    remove(store, 30)
    assert not any((tmp_path / name).exists() for name in CACHED)
    assert (tmp_path / PAID).exists()


def test_caches_of_the_last_run_stay_whatever_their_age(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, 40)
    run(store, 39.5)
    assert going(store) == going(store, 0) == set()
    used(tmp_path / "readings/of-a-file.json", 41)
    assert going(store) == {"readings/of-a-file.json"}


def test_what_built_the_last_runs_artifacts_stays_while_they_are_cached(tmp_path: Path) -> None:
    """A run of cached stages opens no vectors; the first one that a document was added to will."""
    store = Store(tmp_path)
    made = {name: file_artifact(store, name, text=name) for name in ("chunks", "index", "adapter")}
    fill(store, 40)
    run(store, 40, **made)
    run(store, 0, **made)
    for name, artifact in made.items():
        used(store.path(artifact) / "manifest.json", 40)
        assert name
    assert going(store) == {"readings/of-a-file.json", "digests/of-a-path.json"}
    remove(store, 30)
    fill(store, 50, names=("chunks/older.sqlite", "vectors/older.sqlite"))
    assert going(store) == {"chunks/older.sqlite", "vectors/older.sqlite"}


def test_a_bound_removes_what_was_used_longest_ago(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run(store, 0)
    for days, name in enumerate(CACHED):
        fill(store, days / 100, names=(name,))
    oldest_first = list(CACHED)[::-1]
    assert going(store, most=500) == set()
    assert going(store, most=300) == going(store, most=350) == set(oldest_first[:2])
    assert going(store, most=0) == set(CACHED)
    used(tmp_path / oldest_first[0], 99)
    assert going(store, most=450) == set(oldest_first[:1]), "what goes anyway makes room"


def test_what_is_not_the_work_directorys_own_stays(tmp_path: Path) -> None:
    """Compiled programs are shared by a link (testing/jobs_here.py), as a person may do."""
    store = Store(tmp_path / "work")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "program-cache").write_bytes(bytes(9))
    used(elsewhere / "program-cache", 99)
    (store.work_dir / "xla").symlink_to(elsewhere)
    (store.work_dir / "readings").mkdir()
    (store.work_dir / "readings" / "linked").symlink_to(elsewhere)
    assert going(store) == set()


def test_a_program_counts_as_used_when_it_is_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, 40)
    now = time.time()
    for name in ("xla/2-cores/jit_step-cache", "readings/of-a-file.json"):
        os.utime(tmp_path / name, (now, now - 40 * 86400))
    assert "xla/2-cores/jit_step-cache" not in going(store) and "readings/of-a-file.json" in going(store)


def test_whoever_reads_a_cache_marks_it_as_used(tmp_path: Path) -> None:
    """Else what every run reads and no run writes would go."""
    store = Store(tmp_path)
    vectors = VectorStore(tmp_path / "vectors", "f", 2)
    vectors.add(["a"], np.ones((1, 2), np.float32))
    Shelf(tmp_path / "chunks" / "key.sqlite").add({"document": b"chunks"})
    memory = ReadingMemory(tmp_path / "readings", "code")
    memory.read(".pdf", b"raw", DocumentSettings(), lambda: [Extracted("text")])
    (tmp_path / "model").write_bytes(b"weights")
    file_digest(tmp_path / "model", store.digests)
    folders = ("vectors", "chunks", "readings", "digests")
    files = {path for name in folders for path in (tmp_path / name).iterdir()}
    assert len(files) == 4
    for path in files:
        used(path, 40)
    assert len(going(store)) == 4

    vectors.get(["a"], lambda texts: pytest.fail("it is kept"))
    Shelf(tmp_path / "chunks" / "key.sqlite").get(["document"])
    assert memory.read(".pdf", b"raw", DocumentSettings(), lambda: pytest.fail("it is kept"))
    file_digest(tmp_path / "model", store.digests)
    assert going(store) == set()


def test_the_command_lists_then_deletes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, 40)
    run(store, 0)
    given = ["gc", "--work-dir", str(tmp_path)]
    listed = CliRunner().invoke(app, given)
    assert listed.exit_code == 0 and "cached vectors" in listed.stdout
    assert "500 bytes can be deleted; add --delete to do it" in listed.stdout
    done = CliRunner().invoke(app, [*given, "--delete"])
    assert "500 bytes deleted" in done.stdout and not (tmp_path / "vectors/of-an-embedder.sqlite").exists()
    fill(store, 0, size=2_000_000)
    assert "nothing to delete" in CliRunner().invoke(app, given).stdout
    assert "10.0 MB can be" in CliRunner().invoke(app, [*given, "--max-cache", "0"]).stdout
    assert "4.0 MB can be" in CliRunner().invoke(app, [*given, "--max-cache", "6MB"]).stdout
    refused = CliRunner().invoke(app, [*given, "--max-cache", "much"])
    assert "--max-cache much: write it as 24GB, 24GiB, 500MB or 500MiB; or 0 for none" in str(refused.exception)
