"""Jobs in a process of their own: what they say, how they fail, and that they end with their parent."""

import importlib
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.engine.jobs import run_job
from tasks.store.retries import JobFailed, JobKilled
from user_error import UserError

JOBS = '''
"""Jobs for the tests: the job file names what to do."""
import logging, os, signal, subprocess, sys, time
from pathlib import Path
from jora_model.runtime.process import report_progress, run_job_file, set_up_log
from user_error import UserError

def work(job: Path) -> None:
    what, *rest = job.read_text().split()
    if what == "ok":
        sys.stdout.write("to stdout\\n")
        sys.stderr.write("\\r10%\\r100%\\n")
        job.with_suffix(".done").write_text(os.environ["GLIBC_TUNABLES"] + " " + os.getcwd())
    elif what == "user-error":
        sys.stderr.write("\\r10%")
        raise UserError("tp is 3, which does not divide\\n   9 heads")
    elif what == "reports":
        logging.getLogger("made").info("begins")
        for done in range(4_000):  # more than a pipe holds
            report_progress(done, 4_000)
        logging.getLogger("made").warning("a warning")
        raise UserError("not finite")
    elif what == "crash":
        raise RuntimeError("out of something")
    elif what == "fault":
        raise ValueError("shapes do not match")
    elif what == "again":
        sys.exit(75)
    elif what == "exit-2":
        sys.exit(2)
    elif what == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "leave":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    elif what == "wait":
        job.with_suffix(".pid").write_text(str(os.getpid()))
        time.sleep(600)
    elif what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        job.with_suffix(".pid").write_text(str(os.getpid()))
        time.sleep(600)

if __name__ == "__main__":
    set_up_log("made")
    run_job_file(work)
'''
LOG = logging.getLogger("test")


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job file beside the module `made_jobs`, which is on the path of child processes."""
    (tmp_path / "made_jobs.py").write_text(JOBS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "job"


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended and was not collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> None:
    for _ in range(200):
        if not alive(pid):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} still runs")


def read_when_there(path: Path) -> str:
    for _ in range(400):
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.05)
    raise AssertionError(f"{path} was not written")


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_a_job_runs_and_is_heard(job: Path, capfd: pytest.CaptureFixture[str]) -> None:
    job.write_text("ok")
    before = open_descriptors()
    run_job("made_jobs", Path("job"), log=LOG)
    assert open_descriptors() == before
    assert job.with_suffix(".done").read_text() == f"glibc.malloc.hugetlb=1 {job.parent}"
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "to stdout\n\r10%\r100%\n"


def test_what_a_person_did_wrong_is_a_user_error(job: Path, capfd: pytest.CaptureFixture[str]) -> None:
    job.write_text("user-error")
    before = open_descriptors()
    with pytest.raises(UserError, match=r"^tp is 3, which does not divide 9 heads$"):
        run_job("made_jobs", job, log=LOG)
    assert open_descriptors() == before
    assert capfd.readouterr().err == "\r10%\n", "its line is the exception's, and is not shown twice"


@pytest.mark.parametrize("fails", [False, True])
def test_reports_are_heard_and_hold_nobody_up(fails: bool, job: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nor do they hide the job's last line where whoever hears them is slow, or fails."""
    heard: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        heard.append((done, total))
        if done == total - 1:
            time.sleep(0.3)  # the last line is there before the warning
        if fails:
            raise RuntimeError("the server is gone")

    job.write_text("reports")
    before = open_descriptors()
    with caplog.at_level(logging.INFO), pytest.raises(UserError, match=r"^not finite$"):
        run_job("made_jobs", job, log=LOG, progress=progress)
    assert open_descriptors() == before
    assert heard == [(done, 4_000) for done in range(4_000)]
    told = [(record.levelname, record.message) for record in caplog.records if record.name == "test"]
    assert told[1:] == [("INFO", "begins"), ("WARNING", "a warning")]
    assert caplog.text.count("the server is gone") == fails, "said once"


@pytest.mark.parametrize(
    ("what", "kind", "says"),
    [
        ("fault", JobFailed, r"ended with exit code 1; (.|\n)*Traceback(.|\n)*ValueError: shapes do not match"),
        ("again", JobKilled, r"ended with exit code 75"),
        ("crash", JobFailed, r"job made_jobs ended with exit code 1; (.|\n)*RuntimeError: out of something"),
        ("exit-2", JobFailed, r"ended with exit code 2; its last lines:\n\(none\)"),
        ("signal", JobKilled, r"was ended by SIGKILL \(out of memory\?\)"),
    ],
)
def test_other_ends_are_runtime_errors(what: str, kind: type[RuntimeError], says: str, job: Path) -> None:
    job.write_text(what)
    with pytest.raises(kind, match=says):
        run_job("made_jobs", job, log=LOG)


def test_unknown_module(job: Path) -> None:
    with pytest.raises(RuntimeError, match="No module named made_nothing"):
        run_job("made_nothing", job, log=LOG)


def test_what_a_job_leaves_behind_does_not_hold_us(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.engine.jobs.SECONDS_TO_END", 0.5)
    job.write_text("leave")
    run_job("made_jobs", job, log=LOG)


@pytest.mark.parametrize("what", ["wait", "stubborn"])
def test_interrupt_ends_the_job(what: str, job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.engine.jobs.SECONDS_TO_END", 0.5)
    # Whoever starts the tests in the background may have SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    job.write_text(what)
    sender = subprocess.Popen(
        ["sh", "-c", f"until [ -s {job.with_suffix('.pid')} ]; do sleep 0.05; done; kill -INT {os.getpid()}"]
    )
    with pytest.raises(KeyboardInterrupt):
        run_job("made_jobs", job, log=LOG)
    signal.signal(signal.SIGINT, before)
    sender.wait()
    assert not alive(int(job.with_suffix(".pid").read_text()))


def test_kill_9_of_the_parent_ends_the_job(job: Path) -> None:
    job.write_text("wait")
    code = (
        "import logging, pathlib\nfrom tasks.engine.jobs import run_job\n"
        f"run_job('made_jobs', pathlib.Path({str(job)!r}), log=logging.getLogger())\n"
    )
    repository = str(Path(importlib.import_module("tasks.engine.jobs").__file__ or "").parents[2])
    environment = {**os.environ, "PYTHONPATH": f"{repository}:{job.parent}"}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
    pid = int(read_when_there(job.with_suffix(".pid")))
    assert alive(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until_gone(pid)
