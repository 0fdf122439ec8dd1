"""Run a job file in a child process: pass on its output as it comes, log its log, report its progress.

A child process gets memory settings before it starts, returns all memory at its end, can be killed and restarted, and
is what Slurm or Kubernetes would start. It ends with its parent (jora_model/runtime/process.py).
"""

import codecs
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Protocol

from jora_model.runtime.process import EXIT_AGAIN, EXIT_INPUT_ERROR, PARENT_FD, REPORT_FD
from tasks.store.retries import JobFailed, JobKilled
from user_error import UserError

logger = logging.getLogger(__name__)
REPOSITORY = Path(__file__).resolve().parents[2]
ERROR_PREFIX = "error: "
_LAST_ERROR = re.compile(rf"(?:^|(?<=\n))\n*(?:{ERROR_PREFIX}[^\n]*\n?)?\Z")
KEPT_LINES = 20
KEPT_CHARACTERS = 10_000  # of one line: a progress bar may go on for hours without a line end
SECONDS_TO_END = 5.0
# Large temporaries page-fault otherwise: a blocked causal attention took 25-28 ms with these, 49 without (DESIGN.md).
MEMORY_SETTINGS = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_THRESHOLD_": "20000000000",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
}


class JobLog(Protocol):
    """The part of a logger that `run_job` uses."""

    def info(self, msg: str, /, *args: object) -> None: ...

    def log(self, level: int, msg: str, /, *args: object) -> None: ...


def run_job(
    module: str,
    job_file: Path,
    *,
    log: JobLog,
    progress: Callable[[int, int], object] = lambda done, total: None,
    secrets: Mapping[str, str] | None = None,
    seconds_to_end: float = SECONDS_TO_END,
) -> None:
    """Run `python -m module job_file` and wait; its stdout and stderr go to our stderr, its log to `log`.

    When this call is interrupted (Ctrl-C, a cancelled flow) the job gets SIGTERM, and SIGKILL after `seconds_to_end`.

    Args:
        progress: called in another thread with the done and the total amount.
        secrets: environment variables for this job only; never written to a file.

    Raises:
        UserError: the job ended with exit code 2 and a last line `error: ...`; has the message of that line.
        JobKilled: a process of the job was killed; the job can be run again.
        JobFailed: the job failed otherwise. This and JobKilled have the exit code or signal and the last lines.
    """
    readable, writable = os.pipe()  # the job has one end, only this process the other
    reports, report_to = os.pipe()
    try:
        with subprocess.Popen(  # noqa: S603  our own module, no shell
            [sys.executable, "-m", module, str(job_file.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment({**os.environ, **(secrets or {})}, readable, report_to),
            pass_fds=(readable, report_to),
            start_new_session=True,  # Ctrl-C reaches only this process, which then terminates the job
        ) as process:
            os.close(report_to)  # so that the pipe ends with the job
            report_to = -1
            log.info("started python -m %s (process %d)", module, process.pid)
            assert process.stdout is not None
            # Separate: a slow log server must not put log lines after the job's last line.
            output: deque[str] = deque(maxlen=KEPT_LINES)
            logged: deque[str] = deque(maxlen=KEPT_LINES)
            reader = threading.Thread(target=_pass_on, args=(process.stdout, output), daemon=True)
            # With its own descriptor: the thread may outlive this call, and the number could be reused.
            listening = (os.dup(reports), log, progress, logged)
            listener = threading.Thread(target=_listen, args=listening, daemon=True)
            reader.start()
            listener.start()
            try:
                code = process.wait()
            except BaseException:
                _end(process, seconds_to_end)
                raise
            finally:
                reader.join(timeout=SECONDS_TO_END)
                if reader.is_alive():  # a process that the job left behind keeps the pipe open
                    os.killpg(process.pid, signal.SIGKILL)
                    reader.join()
                listener.join(timeout=SECONDS_TO_END)
    finally:
        for descriptor in (readable, writable, reports, report_to):
            if descriptor >= 0:
                os.close(descriptor)
    if code != 0:
        raise _failure(module, code, list(output), list(logged))


def _environment(current: Mapping[str, str], parent_fd: int, report_fd: int) -> dict[str, str]:
    paths = [str(REPOSITORY), *filter(None, [current.get("PYTHONPATH")])]
    environment = {
        **MEMORY_SETTINGS,
        **current,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        PARENT_FD: str(parent_fd),
        REPORT_FD: str(report_fd),
    }
    if sys.stderr.isatty():
        # The job writes to a pipe, so it cannot determine the width of the terminal for its progress bars.
        environment.setdefault("COLUMNS", str(shutil.get_terminal_size().columns))
    else:
        environment.setdefault("TQDM_MININTERVAL", "10")  # fewer progress lines in a log file
    return environment


def _listen(reports: int, log: JobLog, progress: Callable[[int, int], object], logged: deque[str]) -> None:
    """Log what the job logs, with its level, and report its progress, until the job has ended.

    It never stops reading: a job whose pipe is full would block.
    """
    level = logging.WARNING
    with open(reports, "rb") as lines:
        for line in lines:
            try:
                report = json.loads(line)
                if "message" in report:
                    logged.append(report["message"])
                    log.log(report["level"], "%s", report["message"])
                else:
                    progress(report["done"], report["total"])
            except Exception as error:
                logger.log(level, "a report of a job could not be shown: %s (%.200r)", error, line)
                level = logging.DEBUG  # warn only once


def _pass_on(pipe: IO[bytes], lines: deque[str]) -> None:
    """Write output as it comes (a progress bar has no line ends), and keep the last lines.

    A last line `error: ...` is kept and not written: the caller raises it.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = held = ""
    line_start = True
    while block := os.read(pipe.fileno(), 65536):
        text = decoder.decode(block)
        written, held = _hold_error(held + text, line_start)
        if written:
            line_start = written.endswith("\n")
            sys.stderr.write(written)
            sys.stderr.flush()
        *complete, rest = (rest + text).split("\n")
        lines.extend(filter(None, map(_shown, complete)))
        rest = rest[-KEPT_CHARACTERS:]
    if last := _shown(rest):
        lines.append(last)


def _hold_error(text: str, line_start: bool) -> tuple[str, str]:
    """The text without, and only, the blank lines and the error line that it ends in."""
    match = _LAST_ERROR.search(text)
    start = match.start() if match else len(text)
    if start == 0 and not line_start:  # it goes on in a line that was written
        start = text.find("\n") + 1 or len(text)
    return text[:start], text[start:]


def _shown(line: str) -> str:
    """The visible part of a line: that after the last carriage return."""
    return line.rstrip().rsplit("\r", 1)[-1]


def _end(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """Terminate the job and its children."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def _failure(module: str, code: int, output: list[str], logged: list[str]) -> Exception:
    if code == EXIT_INPUT_ERROR and output and output[-1].startswith(ERROR_PREFIX):
        return UserError(output[-1].removeprefix(ERROR_PREFIX))
    kind = JobKilled if code < 0 or code == EXIT_AGAIN else JobFailed
    if code < 0:
        name = signal.Signals(-code).name
        how = f"was ended by {name}"
        if name == "SIGKILL":
            how += " (out of memory?)"
    else:
        how = f"ended with exit code {code}"
    lines = [*logged, *output][-KEPT_LINES:] or ["(none)"]
    return kind("\n".join([f"the job {module} {how}; its last lines:", *lines]))
