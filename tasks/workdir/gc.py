"""Garbage collection of a work directory: `jora gc`.

Artifacts are kept if `latest/`, a sweep, a registered model in use, a pinned run or a recent run refers to them. The
rest is removed with the records that point at it; a run with the same settings rebuilds it. Cached files are kept if
they were used recently (caches.py). A teacher's paid answers are never removed. Does not use Prefect.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.records.models import roots as models_roots
from tasks.records.records import IN_USE, RUNS, RunRecord, damaged_runs, is_pinned, list_runs
from tasks.records.runs import LATEST, RUN, SWEEPS, read_latest
from tasks.store.artifacts import Artifact
from tasks.store.digests import DIGEST_DIGITS
from tasks.store.locks import try_flock
from tasks.store.store import MANIFEST, Store
from tasks.workdir.caches import unused_caches
from user_error import UserError

# Functions that return artifacts in use; whatever keeps references to artifacts adds one here.
_ROOTS: tuple[Callable[[Store], set[Artifact]], ...] = (models_roots,)


@dataclass(frozen=True)
class Waste:
    """Removable paths: (kind, path, size in bytes) of each."""

    paths: tuple[tuple[str, Path, int], ...]

    @property
    def by_kind(self) -> dict[str, tuple[int, int]]:
        """Kind -> (number, bytes)."""
        many, size = Counter[str](), Counter[str]()
        for kind, _, bytes_ in self.paths:
            many[kind] += 1
            size[kind] += bytes_
        return {kind: (many[kind], size[kind]) for kind in sorted(many)}

    @property
    def bytes(self) -> int:
        """Total size."""
        return sum(size for _, _, size in self.paths)


def find_waste(store: Store, days: float, most_cached: int | None = None) -> Waste:
    """Artifacts, records, scratch and cached files that no run of the last `days` days, pin, champion or link uses.

    Args:
        most_cached: bytes of caches to keep at most (`unused_caches`).
    """
    since = datetime.now(UTC) - timedelta(days=days)
    kept = set(_kept(store, since))
    present = sorted(store.artifacts.glob("*/*"))
    gone = {
        folder
        for folder in present
        if (folder.parent.name, folder.name) not in kept and _older(folder / MANIFEST, since)
    }
    items = [(folder.parent.name, folder, _size(folder)) for folder in present if folder in gone]
    staying = {folder.name for folder in present if folder not in gone}
    for kind, folder, stays in (("cache records", store.results, staying), ("unfinished stages", store.scratch, None)):
        old = (path for path in sorted(folder.iterdir()) if _all_older(path, since))
        going = [path for path in old if stays is None or stays.isdisjoint(_digests(path))]
        items += [(kind, path, _size(path)) for path in going]
    runs = list_runs(store.work_dir)
    for run in runs:
        if not _counts(store, run, runs, since):
            folder = store.work_dir / RUNS / run.name
            items.append(("runs", folder, _size(folder)))
    items += unused_caches(store, since, most_cached)
    return Waste(tuple(items))


def remove(store: Store, days: float, most_cached: int | None = None) -> Waste:
    """Remove what `find_waste` finds. Manifests go first, so that an interrupted removal leaves no incomplete artifact.

    Raises:
        UserError: a run is using the work directory.
    """
    descriptor = try_flock(store.locks / IN_USE)
    if descriptor is None:
        running = [run.name for run in list_runs(store.work_dir) if run.state == "running"]
        raise UserError(
            f"{', '.join(running) or 'another process'} is using {store.work_dir} and may need files that would be "
            "removed; try again when it has ended"
        )
    try:
        waste = find_waste(store, days, most_cached)
        for _, path, _ in waste.paths:
            if path.is_symlink() or not path.is_dir():  # of a link to a folder, the link
                path.unlink(missing_ok=True)
                continue
            (path / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(path)
        return waste
    finally:
        os.close(descriptor)


def _kept(store: Store, since: datetime) -> Iterator[tuple[str, str]]:
    """Kind and digest of the artifacts in use.

    Raises:
        UserError: a run's record cannot be read, so its artifacts would be taken for unused.
    """
    if damaged := damaged_runs(store.work_dir):
        raise UserError(
            f"{damaged[0]} cannot be read, so the artifacts of that run are unknown; repair it, or remove its folder "
            "if the run's results are not needed"
        )
    for link in (store.work_dir / SWEEPS).glob("*"):
        folder = link.resolve()  # only compared with what is there, so that any link will do
        yield folder.parent.name, folder.name
    yield from ((artifact.kind, artifact.digest) for artifact in _referred(store, since))


def _referred(store: Store, since: datetime) -> Iterator[Artifact]:
    """Artifacts that `latest/`, a run that counts or another root refers to."""
    if (store.work_dir / LATEST / RUN).exists():
        yield from read_latest(store.work_dir)[0].values()
    runs = list_runs(store.work_dir)
    for run in runs:
        if _counts(store, run, runs, since):
            yield from run.artifacts.values()
            yield from (stage.artifact for stage in run.stages)
    for named in _ROOTS:
        yield from named(store)


def _counts(store: Store, run: RunRecord, runs: Sequence[RunRecord], since: datetime) -> bool:
    """Whether a run's results are kept; those of the last run always, since the next run may have nothing to do."""
    ended = [other for other in runs if other.state in ("completed", "nothing to do")]
    record = store.work_dir / RUNS / run.name / RUN
    return (
        run in ended[-1:]
        or run == runs[-1]  # if it failed, the next run reuses what it built
        or run.state == "running"
        or is_pinned(store.work_dir, run.name)
        or not _older(record, since)  # written when the run ends or, if it crashed, after its last stage
    )


def _digests(record: Path) -> set[str]:
    """The digests in one of Prefect's result records."""
    try:
        return set(re.findall(rf"[0-9a-f]{{{DIGEST_DIGITS}}}", record.read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return set()


def _older(path: Path, since: datetime) -> bool:
    try:
        return path.lstat().st_mtime < since.timestamp()
    except OSError:  # no manifest: an interrupted removal
        return True


def _all_older(path: Path, since: datetime) -> bool:
    """Whether a file, or everything in a folder, is older: writing a checkpoint does not touch parent folders."""
    return _older(path, since) and all(_older(inner, since) for inner in path.rglob("*"))


def _size(path: Path) -> int:
    """Bytes on disk; of a link, its own size."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(inner.lstat().st_size for inner in path.rglob("*") if inner.is_symlink() or not inner.is_dir())
