"""Records of runs: WORK_DIR/runs/NAME/run.json.

Written by rename when a run starts, after each stage, and at its end. The record of a killed run still says `running`,
but its lock is free: it is read as `crashed`. No Prefect here.
"""

import difflib
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from data.files.whole_files import write_whole
from tasks.store.artifacts import Artifact, Outcome
from tasks.store.locks import POLL_SECONDS, try_flock
from tasks.store.retries import DiskFull, is_full
from tasks.store.store import Store
from user_error import UserError

RUNS = "runs"
IN_USE = "in-use.lock"
_RECORD, _LOCK, _PIN = "run.json", "running.lock", "pinned"
State = Literal["running", "completed", "nothing to do", "failed", "cancelled", "crashed"]


class RunRecord(BaseModel):
    """One run.

    Attributes:
        flow, goal: the flow, and how far it should run.
        started, ended: UTC, ISO 8601; `ended` is None until the run has ended.
        settings: all settings.
        stages: outcomes of finished stages, in order.
        artifacts: results by name, once the run has succeeded.
        packages: the installed Python packages, name -> version, as `pip freeze` lists them.
        note: a line for a person; error: the message that it failed with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: str
    flow: str
    goal: str
    state: State
    started: str
    ended: str | None = None
    settings: dict[str, Any]
    stages: tuple[Outcome, ...] = ()
    artifacts: dict[str, Artifact] = {}
    packages: dict[str, str] = {}
    note: str = ""
    error: str = ""

    @model_validator(mode="before")
    @classmethod
    def _without_bill(cls, value: object) -> object:
        """Drops `sbom`, a field of earlier versions."""
        return {name: item for name, item in value.items() if name != "sbom"} if isinstance(value, dict) else value

    @property
    def seconds(self) -> float | None:
        """Seconds from start to end; None until the run has ended."""
        if self.ended is None:
            return None
        return (datetime.fromisoformat(self.ended) - datetime.fromisoformat(self.started)).total_seconds()


class Recording:
    """Writes the record of a running run."""

    def __init__(self, store: Store, record: RunRecord) -> None:
        self.store = store
        self.record = record
        self.folder = store.work_dir / RUNS / record.name

    def write(self, **changes: Any) -> None:
        """Write the record with changed fields."""
        self.record = self.record.model_copy(update=changes)
        write_whole(self.folder / _RECORD, self.record.model_dump_json(indent=1) + "\n", durable=True)

    def note_stage(self, outcome: Outcome) -> None:
        """Add the outcome of a stage. A full disk must not fail a run whose stage has just succeeded."""
        with suppress(OSError):
            self.write(stages=(*self.record.stages, outcome))

    def end(self, state: State, artifacts: dict[str, Artifact], note: str = "") -> None:
        """Record the end of the run."""
        self.write(state=state, ended=_now(), artifacts=artifacts, note=note)

    def end_with_nothing(self, outcomes: Sequence[Outcome], artifacts: dict[str, Artifact], note: str) -> None:
        """Record that all stages were cached and nothing changed."""
        self.write(stages=tuple(outcomes))
        self.end("nothing to do", artifacts, note)


def installed_packages() -> dict[str, str]:
    """Name -> version of every installed Python package, sorted by name."""
    versions = {}
    for package in metadata.distributions():
        name = package.metadata["Name"]
        if name and package.version:  # an interrupted uninstall leaves folders without them
            versions[name] = package.version
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))


@contextmanager
def recorded(store: Store, flow: str, goal: str, subject: str, settings: dict[str, Any]) -> Iterator[Recording]:
    """Keep the record of the run in the block, which calls `end`; an exception of the block is recorded.

    Meanwhile `jora gc` removes nothing from the work directory.

    Args:
        subject: a few words about the run; part of its name.
    """
    with ExitStack() as held:
        try:
            held.enter_context(in_use(store))
            now = _now()
            stem = f"{now[:19].replace('T', '-').replace(':', '')}-{_safe(subject)}"
            name, lock = _new_folder(store.work_dir / RUNS, stem)
            held.callback(os.close, lock)
            record = RunRecord(name=name, flow=flow, goal=goal, state="running", started=now, settings=settings)
            recording = Recording(store, record)
            held.callback((recording.folder / _LOCK).unlink, missing_ok=True)
            recording.write()
        except OSError as error:
            if is_full(error):
                raise DiskFull("the record of this run", store.work_dir) from error
            raise
        store.listeners.append(recording.note_stage)
        held.callback(store.listeners.remove, recording.note_stage)
        with _ends_as(recording):
            yield recording


@contextmanager
def _ends_as(recording: "Recording") -> Iterator[None]:
    """Record an exception of the block."""
    try:
        yield
    except BaseException as error:
        ended_by_person = isinstance(error, KeyboardInterrupt | SystemExit) or type(error).__name__ == "CancelledRun"
        line = " ".join(str(error).split()) or type(error).__name__
        with suppress(OSError):  # the disk may be full, which may be why the run failed
            recording.write(state="cancelled" if ended_by_person else "failed", ended=_now(), error=line)
        raise


@contextmanager
def in_use(store: Store) -> Iterator[None]:
    """Hold the lock that keeps `jora gc` from removing artifacts during the block.

    Raises:
        UserError: `jora gc` is running.
    """
    descriptor = try_flock(store.locks / IN_USE, shared=True)
    if descriptor is None:
        raise UserError(f"jora gc is running in {store.work_dir}; try again when it has ended")
    try:
        yield
    finally:
        os.close(descriptor)


def list_runs(work_dir: Path) -> list[RunRecord]:
    """Records of all runs, oldest first; damaged ones are left out."""
    records = (_read(folder) for folder in _folders(work_dir))
    return sorted((record for record in records if record is not None), key=lambda record: record.started)


def damaged_runs(work_dir: Path) -> list[Path]:
    """Paths of records that cannot be read."""
    return [folder / _RECORD for folder in _folders(work_dir) if (folder / _RECORD).exists() and _read(folder) is None]


def _folders(work_dir: Path) -> list[Path]:
    return [folder for folder in sorted((work_dir / RUNS).glob("*")) if folder.is_dir()]


def find_run(work_dir: Path, name: str) -> RunRecord:
    """The run of a name or of a prefix of one; `latest` is the last run.

    Raises:
        UserError: there is none, or several match.
    """
    runs = list_runs(work_dir)
    if not runs:
        raise UserError(f"no run in {work_dir}; start one with: jora run --work-dir {work_dir}")
    if name == "latest":
        return runs[-1]
    matches = [run for run in runs if run.name == name] or [run for run in runs if run.name.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UserError(f"{len(matches)} runs begin with {name!r}; known are {', '.join(run.name for run in matches)}")
    (near,) = difflib.get_close_matches(name, [run.name for run in runs], 1, cutoff=0.0)
    raise UserError(f"no run {name!r} in {work_dir}; the nearest is {near}; list them with: jora runs")


def is_pinned(work_dir: Path, name: str) -> bool:
    """Whether `jora gc` keeps a run's artifacts regardless of their age."""
    return (work_dir / RUNS / name / _PIN).exists()


def pin(work_dir: Path, name: str, pinned: bool) -> None:
    """Pin or unpin a run."""
    path = work_dir / RUNS / name / _PIN
    if pinned:
        path.touch()
    else:
        path.unlink(missing_ok=True)


def _read(folder: Path) -> RunRecord | None:
    record = _written(folder)
    if record is None or record.state != "running":
        return record
    lock = folder / _LOCK
    descriptor = try_flock(lock, shared=True) if lock.exists() else None
    if descriptor is None and lock.exists():
        return record
    if descriptor is not None:
        os.close(descriptor)
    record = _written(folder)  # it may just have ended
    return record and (record.model_copy(update={"state": "crashed"}) if record.state == "running" else record)


def _written(folder: Path) -> RunRecord | None:
    try:
        record = RunRecord.model_validate_json((folder / _RECORD).read_bytes())
    except (OSError, ValidationError):
        return None
    # The name becomes a path, which `jora gc` removes: a record speaks for its own folder only.
    return record if record.name == folder.name else None


def _new_folder(runs: Path, name: str) -> tuple[str, int]:
    """Create a folder of this name, with a number appended if needed; returns its name and its held lock."""
    number = 1
    while True:
        folder = runs / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
            continue
        while (descriptor := try_flock(folder / _LOCK)) is None:
            time.sleep(POLL_SECONDS)  # a process that lists the runs holds it for a moment
        return folder.name, descriptor


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:60] or "run"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
