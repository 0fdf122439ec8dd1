"""Which failures are tried again, what the log says of it, and that a full disk is one line."""

import errno
import os
import shutil
from collections import namedtuple
from pathlib import Path

import httpx
import openai
import pytest
from prefect import flow

from tasks.engine.cache import stage
from tasks.store.artifacts import Artifact, BrokenArtifact
from tasks.store.retries import DiskFull, JobFailed, JobKilled, is_full, kind_of
from tasks.store.store import Store
from user_error import UserError

pytestmark = pytest.mark.usefixtures("prefect_server")
REQUEST = httpx.Request("POST", "http://localhost/v1")


def answered(status: int) -> openai.APIStatusError:
    return openai.APIStatusError("no", response=httpx.Response(status, request=REQUEST), body=None)


class Unreachable(ValueError):
    transient = True


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError("gone"), "network"),
        (TimeoutError("late"), "network"),
        (Unreachable("no host"), "network"),
        (answered(503), "network"),
        (answered(429), "rate limit"),
        (answered(400), None),
        (JobKilled("was ended by SIGKILL"), "killed job"),
        (JobFailed("Traceback"), None),
        (OSError(errno.EIO, "Input/output error"), "system"),
        (OSError(errno.ENOSPC, "No space left on device"), None),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), None),
        (FileNotFoundError("x"), None),
        (PermissionError("x"), None),
        (ValueError("the loss is not finite"), None),
        (UserError("no such folder"), None),
        (BrokenArtifact("x"), None),
        (RuntimeError("a fault"), None),
        (KeyError("x"), None),
    ],
)
def test_kinds(error: Exception, kind: str | None) -> None:
    assert kind_of(error) == kind


def test_a_full_disk_is_seen_through_the_errors_of_libraries() -> None:
    assert is_full(OSError(errno.ENOSPC, "No space left on device"))
    assert is_full(JobFailed("the job ended with exit code 1; its last lines:\nOSError: No space left on device"))
    try:
        try:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        except OSError as error:
            raise RuntimeError("cannot write the checkpoint") from error
    except RuntimeError as error:
        assert is_full(error)
    assert not is_full(RuntimeError("no"))


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.engine.cache.FIRST_DELAY_SECONDS", 0.01)


def test_a_retry_says_what_failed_and_which_attempt_comes(tmp_path: Path, run_log: list[str]) -> None:
    errors = [ConnectionResetError("the peer\nhas gone"), JobKilled("was ended by SIGKILL")]

    @stage(name="shaky", version=1, retries=2)
    def shaky(store: Store) -> Artifact:
        if errors:
            raise errors.pop(0)
        with store.build("shaky") as build:
            (build.folder / "x").write_text("x")
        return build.artifact

    flow(lambda: shaky(Store(tmp_path)), name="shaky")()
    said = [line for line in run_log if "trying again" in line]
    assert said == [
        "shaky: network: the peer has gone; trying again in about 0 s (attempt 2 of 3)",
        "shaky: killed job: was ended by SIGKILL; trying again in about 0 s (attempt 3 of 3)",
    ]


def test_each_delay_is_four_times_the_one_before(tmp_path: Path) -> None:
    @stage(name="patient", version=1, retries=3)
    def patient(store: Store) -> Artifact:
        raise AssertionError

    task = patient.task(Store(tmp_path))
    assert task.retries == 3
    assert task.retry_delay_seconds == pytest.approx([0.01, 0.04, 0.16])
    assert task.retry_jitter_factor == 0.3


def test_what_a_person_did_wrong_fails_once_with_its_line(tmp_path: Path, run_log: list[str]) -> None:
    runs: list[str] = []

    @stage(name="picky", version=1, retries=2)
    def picky(store: Store) -> Artifact:
        runs.append("picky")
        raise UserError("give another folder")

    state = flow(lambda: picky(Store(tmp_path)), name="picky")(return_state=True)
    assert state.is_failed()
    assert state.message == "Flow run encountered an exception: UserError: give another folder"
    assert runs == ["picky"]
    assert not [line for line in run_log if "trying again" in line]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, run_log: list[str]) -> None:
    full = [True]

    @stage(name="large", version=1, retries=2)
    def large(store: Store) -> Artifact:
        with store.build("large") as build:
            (build.folder / "half").write_text("x")
            if full:
                raise OSError(errno.ENOSPC, "No space left on device", "half")
        return build.artifact

    run = flow(lambda: large(Store(tmp_path)), name="large")
    with pytest.raises(DiskFull, match=rf"^large: no space is left for {tmp_path} \(.* free\); free some.*jora gc"):
        run()
    assert not [line for line in run_log if "trying again" in line]
    assert not list((tmp_path / "artifacts").rglob("half"))
    full.clear()
    run()


def test_space_is_looked_for_before_a_stage_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    @stage(name="roomy", version=1, space=lambda store, text: 1_000_000 * len(text))
    def roomy(store: Store, text: str) -> Artifact:
        started.append(text)
        with store.build("roomy") as build:
            (build.folder / "x").write_text(text)
        return build.artifact

    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 52_000_000))
    flow(lambda: roomy(Store(tmp_path), "ab"), name="small")()
    with pytest.raises(ValueError, match=r"roomy needs about 53\.0 MB and .* has 52\.0 MB free; make room"):
        flow(lambda: roomy(Store(tmp_path), "abc"), name="large")()
    assert started == ["ab"]


def test_a_store_that_checks_in_full_finds_a_change_whose_time_was_put_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.build("x") as build:
        (build.folder / "x").write_text("abc")
    path = store.path(build.artifact) / "x"
    times = path.stat()
    path.write_text("abd")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    store.verify(build.artifact)
    with pytest.raises(BrokenArtifact, match="x has other content than was written"):
        Store(tmp_path, full=True).verify(build.artifact)
