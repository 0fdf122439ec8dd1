"""A job in a process of its own, which ends with its parent and reports a user's error in one line.

The other side is tasks/engine/jobs.py. The parent keeps the write end of a pipe open and passes the read end in
JORA_PARENT_FD; when the parent ends for any reason, the kernel closes the write end and the child reads end-of-file.
Log records and progress go to the parent through another pipe as lines of JSON (JORA_REPORT_FD): the terminal shows the
progress bar, and the parent's log has the records with their level. Without these variables (under Slurm, or by hand) a
job runs on its own.
"""

import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from user_error import UserError

PARENT_FD, REPORT_FD = "JORA_PARENT_FD", "JORA_REPORT_FD"
#: Exit codes: a user's error; and the parent or another process of the run is lost (EX_TEMPFAIL: run the job again).
EXIT_INPUT_ERROR = 2
EXIT_AGAIN = 75


class _Reports(logging.Handler):
    """Sends log records to the parent."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
            if record.exc_info:
                message += "\n" + logging.Formatter().formatException(record.exc_info)
            _report(level=record.levelno, message=message)
        except Exception:
            self.handleError(record)  # a record that cannot be sent must not end the job


_report_to: int | None = None


def set_up_log(*packages: str) -> None:
    """Log to the parent, or to stderr without one: warnings, and the info records of these packages."""
    global _report_to
    value = os.environ.pop(REPORT_FD, None)
    if value is not None:
        _report_to = int(value)
        os.set_inheritable(_report_to, False)
    handlers = [_Reports() if value is not None else logging.StreamHandler()]
    # force: an import has configured the root logger already. Not INFO: JAX logs every backend that this machine lacks.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=handlers, force=True)
    for name in packages:
        logging.getLogger(name).setLevel(logging.INFO)


def report_progress(done: int, total: int) -> None:
    """Send the job's progress to the parent."""
    _report(done=done, total=total)


def _report(**content: object) -> None:
    if _report_to is not None:
        with contextlib.suppress(OSError):  # the parent ended, and so will this process
            os.write(_report_to, (json.dumps(content) + "\n").encode())


def watch_parent() -> None:
    """Start a daemon thread that ends this process as soon as the parent has ended."""
    value = os.environ.pop(PARENT_FD, None)  # not for this process's own children
    if value is None:
        return
    descriptor = int(value)
    os.set_inheritable(descriptor, False)

    def wait_for_end() -> None:
        os.read(descriptor, 1)  # the parent never writes: this returns at end-of-file
        os._exit(EXIT_AGAIN)

    threading.Thread(target=wait_for_end, name="watch-parent", daemon=True).start()


def run_job_file(work: Callable[[Path], None]) -> None:
    """The main function of a job module: `python -m MODULE JOB_FILE` calls `work(Path(JOB_FILE))`.

    A UserError ends the process with the last line `error: ...` on stderr and exit code 2; one that says that it is
    `transient` with the exit code of a job that can be run again.
    """
    watch_parent()
    if len(sys.argv) != 2:
        sys.stderr.write("error: give one argument, the job file\n")
        sys.exit(EXIT_INPUT_ERROR)
    try:
        work(Path(sys.argv[1]))
    except UserError as error:
        # The parent reads one line; the current one may have a progress bar.
        sys.stderr.write(f"\nerror: {' '.join(str(error).split())}\n")
        sys.exit(exit_code(error))


def exit_code(error: UserError) -> int:
    """The exit code of a job that ends with this error."""
    return EXIT_AGAIN if getattr(error, "transient", False) else EXIT_INPUT_ERROR
