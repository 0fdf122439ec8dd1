"""Hostile documents through the real snapshot and the real chunking, each beside a good one, then all together.

Every file must become a document or be listed with its reason; nothing may end the run, nothing may be written outside
the work directory, and what is forbidden must not be read. Quick: every fourth file, and none together.
"""

import json
import logging
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from data.documents.chunks import ChunkSettings
from data.documents.documents import DocumentSettings
from tasks.stages.retrieval import cut_chunks
from tasks.stages.sources import import_base, snapshot_base, snapshot_documents
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from testing.hostile_files import HOSTILE, PROSE, Hostile

SECONDS_PER_FILE = 20.0


@dataclass
class Result:
    """What became of one hostile input."""

    documents: int = 0
    chunks: int = 0
    reasons: list[str] = field(default_factory=list)
    crash: str = ""
    forbidden: bool = False
    seconds: float = 0.0

    @property
    def outcome(self) -> str:
        """As in `Hostile.outcome`; "lost" where neither a document nor a reason is there."""
        if self.crash:
            return "crash"
        return {(True, True): "both", (True, False): "read", (False, True): "listed"}.get(
            (self.documents > 0, bool(self.reasons)), "lost"
        )


def run(store: Store, base: Artifact, corpus: Path, absent: tuple[str, ...]) -> Result:
    """A corpus of a good document and hostile ones through the two stages."""
    result = Result()
    begun = time.monotonic()
    try:
        documents = snapshot_documents.fn(store, str(corpus), DocumentSettings(seconds_per_file=SECONDS_PER_FILE))
        chunks = cut_chunks.fn(store, documents, base, ChunkSettings())
    except Exception as error:  # whatever it is, it ended the run
        result.crash = f"{type(error).__name__}: {error}"
        return result
    result.seconds = time.monotonic() - begun
    folder = store.path(documents)
    listed = [
        json.loads(line)
        for name in ("unreadable.jsonl", "skipped.jsonl")
        for line in (folder / name).read_bytes().split(b"\n")[:-1]
    ]
    text = (folder / "documents.jsonl").read_text(encoding="utf-8")
    result.documents = documents.count("documents") - 1
    result.chunks = chunks.count("chunks")
    result.reasons = [item["reason"] for item in listed]
    result.forbidden = any(word in text for word in absent)
    return result


def tree(folder: Path, without: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder, and its folders, the work directory left out."""
    found = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(place, name) != without]
        for name in files + folders:
            path = Path(place, name)
            status = path.lstat()
            # Of a folder its content counts, which is listed as well.
            found[str(path)] = (0, 0) if path.is_dir() else (status.st_size, status.st_mtime_ns)
    return found


def test_hostile_files_are_read_or_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    # Whatever is written to the current directory, the temporary directory or the home shows as well.
    for name in ("here", "home", "tmp", "corpora", "all"):
        (tmp_path / name).mkdir()
    store = Store(tmp_path / "work")
    base = import_base.fn(store, snapshot_base.fn(store, "embedded"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(tmp_path / "here")
    logging.disable(logging.WARNING)
    try:
        wrong, outside, figures = _measure(tmp_path, store, base, HOSTILE if full else HOSTILE[::4], together=full)
    finally:
        logging.disable(logging.NOTSET)
    for name, value in figures.items():
        print(f"figure {name} {value}")
    assert not wrong and not outside
    assert figures["crashes"] == figures["neither"] == figures["forbidden_read"] == 0


def _measure(
    root: Path, store: Store, base: Artifact, files: Sequence[Hostile], *, together: bool
) -> tuple[list[str], list[str], dict[str, float]]:
    """Return the names of files that came out otherwise than expected, what was written outside, and the figures."""
    corpora = []
    for number, hostile in enumerate(files):
        corpus = root / "corpora" / f"{number:02}"
        corpus.mkdir()
        (corpus / "good.md").write_text(f"# Good\n\n{PROSE}")
        hostile.make(corpus)
        corpora.append(corpus)
    shutil.copytree(corpora[0], root / "warm")
    run(store, base, root / "warm", ())  # loads the libraries, some of which make folders of their own
    before = tree(root, without=store.work_dir)
    wrong = []
    results = []
    for hostile, corpus in zip(files, corpora, strict=True):
        result = run(store, base, corpus, (hostile.absent,))
        results.append(result)
        expected = result.outcome == hostile.outcome and not result.forbidden
        if not expected:
            wrong.append(hostile.name)
        print(_line(hostile, result, expected), flush=True)
    if together:
        _together(root, store, base, corpora, wrong)
    after = tree(root, without=store.work_dir)
    outside = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    outside = [name for name in outside if not name.startswith(str(root / "all"))]
    for name in outside:
        print(f"written outside: {name!r}")
    for name in wrong:
        print(f"not as expected: {name}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"peak resident memory {peak:,.0f} MB, base model's import included")
    figures = {
        "hostile_files": len(results),
        "handled": sum(result.documents > 0 for result in results),
        "listed_with_reason": sum(bool(result.reasons) for result in results),
        "neither": sum(result.outcome == "lost" for result in results),
        "crashes": sum(bool(result.crash) for result in results),
        "forbidden_read": sum(result.forbidden for result in results),
        "written_outside": len(outside),
        "slowest_seconds": round(max(result.seconds for result in results), 1),
    }
    return wrong, outside, figures


def _together(root: Path, store: Store, base: Artifact, corpora: list[Path], wrong: list[str]) -> None:
    """One corpus of them all: what one file does must not change what becomes of another."""
    for corpus in corpora:
        corpus.rename(root / "all" / corpus.name)
    result = run(store, base, root / "all", tuple({hostile.absent for hostile in HOSTILE}))
    for corpus in corpora:
        (root / "all" / corpus.name).rename(corpus)
    print(
        f"all together: {result.outcome}, {result.documents + 1} documents, {result.chunks} chunks, "
        f"{len(result.reasons)} reasons, {result.seconds:.1f} s {result.crash}"
    )
    if result.outcome != "both" or result.forbidden:
        wrong.append("all together")


def _line(hostile: Hostile, result: Result, expected: bool) -> str:
    why = result.crash or "; ".join(dict.fromkeys(result.reasons))
    mark = "" if expected else f"  EXPECTED {hostile.outcome}{', forbidden text' if result.forbidden else ''}"
    return f"{hostile.name:<40} {result.outcome:<7}{result.seconds:6.1f} s  {why[:110]}{mark}"
