"""Run a job file in a process of its own, with what it says on stderr passed on as it comes, and what it logs logged.

A process of its own gets its memory settings before it starts, gives all memory back at its end, can be killed and run
again, and is the same thing that Slurm or Kubernetes would start. It ends with its parent
(jora_model/runtime/process.py).
"""

import codecs
import json
import logging
import os
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
KEPT_LINES = 20
KEPT_CHARACTERS = 10_000  # of one line: a progress bar may draw for hours without ending its line
SECONDS_TO_END = 5.0
# Large temporaries page-fault otherwise: a blocked causal attention took 25-28 ms with these, 49 without (DESIGN.md).
MEMORY_SETTINGS = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_THRESHOLD_": "20000000000",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
}


class JobLog(Protocol):
    """What `run_job` needs of a logger."""

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
    """Run `python -m module job_file` and wait for it; its stdout and stderr come out on our stderr, its log in ours.

    When this is interrupted (Ctrl-C, a cancelled flow) the job gets SIGTERM, and SIGKILL after `seconds_to_end`.

    Args:
        progress: called, in another thread, with what is done and of how much.
        secrets: variables that this job alone gets, and no file holds.

    Raises:
        UserError: the job ended with exit code 2 and a last line `error: ...`; that line.
        JobKilled: it was killed, or its fellows were; it may be run again.
        JobFailed: it ended in any other way but success. Both give the exit code or signal and its last lines.
    """
    readable, writable = os.pipe()  # the job holds the one end, and this process alone the other
    reports, report_to = os.pipe()
    try:
        with subprocess.Popen(  # noqa: S603  our own module, no shell
            [sys.executable, "-m", module, str(job_file.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment({**os.environ, **(secrets or {})}, readable, report_to),
            pass_fds=(readable, report_to),
            start_new_session=True,  # Ctrl-C reaches this process only, which then ends the job in order
        ) as process:
            os.close(report_to)  # so that its end comes with the job's
            report_to = -1
            log.info("started python -m %s (process %d)", module, process.pid)
            assert process.stdout is not None
            # Apart: a server that is slow to take the log must not put it after the job's last line.
            said: deque[str] = deque(maxlen=KEPT_LINES)
            logged: deque[str] = deque(maxlen=KEPT_LINES)
            reader = threading.Thread(target=_pass_on, args=(process.stdout, said), daemon=True)
            # With a descriptor of its own: it may outlive this call, and the number would be another pipe's.
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
                if reader.is_alive():  # a process that the job left behind holds the pipe open
                    os.killpg(process.pid, signal.SIGKILL)
                    reader.join()
                listener.join(timeout=SECONDS_TO_END)
    finally:
        for descriptor in (readable, writable, reports, report_to):
            if descriptor >= 0:
                os.close(descriptor)
    if code != 0:
        raise _failure(module, code, list(said), list(logged))


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
        # The job writes to a pipe and could not ask for the width of the terminal that its bars are shown on.
        environment.setdefault("COLUMNS", str(shutil.get_terminal_size().columns))
    else:
        environment.setdefault("TQDM_MININTERVAL", "10")  # a bar in a log file is a line too many
    return environment


def _listen(reports: int, log: JobLog, progress: Callable[[int, int], object], logged: deque[str]) -> None:
    """Log what the job logs, with its level, and report its progress, until the job has ended.

    It reads on whatever happens: a job whose pipe nobody empties stands still.
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
                logger.log(level, "what a job reported could not be shown: %s (%.200r)", error, line)
                level = logging.DEBUG  # once is enough


def _pass_on(pipe: IO[bytes], lines: deque[str]) -> None:
    """Write what comes, as it comes (a progress bar has no line ends), and keep the last lines."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    while block := os.read(pipe.fileno(), 65536):
        text = decoder.decode(block)
        sys.stderr.write(text)
        sys.stderr.flush()
        *whole, rest = (rest + text).split("\n")
        lines.extend(filter(None, map(_shown, whole)))
        rest = rest[-KEPT_CHARACTERS:]
    if last := _shown(rest):
        lines.append(last)


def _shown(line: str) -> str:
    """What a terminal shows of a line: the part after the last carriage return."""
    return line.rstrip().rsplit("\r", 1)[-1]


def _end(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """End the job and its children."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=seconds)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def _failure(module: str, code: int, said: list[str], logged: list[str]) -> Exception:
    if code == EXIT_INPUT_ERROR and said and said[-1].startswith(ERROR_PREFIX):
        return UserError(said[-1].removeprefix(ERROR_PREFIX))
    kind = JobKilled if code < 0 or code == EXIT_AGAIN else JobFailed
    if code < 0:
        name = signal.Signals(-code).name
        how = f"was ended by {name}"
        if name == "SIGKILL":
            how += " (out of memory?)"
    else:
        how = f"ended with exit code {code}"
    lines = [*logged, *said][-KEPT_LINES:] or ["(none)"]
    return kind("\n".join([f"the job {module} {how}; its last lines:", *lines]))
