"""Which failures are transient, and their names. Prefect waits between attempts.

network        no connection, time-out, status 5xx             retried
rate limit     status 429                                      retried
killed job     a process of the job was killed                 retried; it continues from its checkpoint
system         another OSError                                 retried
never          input errors, a missing file, a full disk, a fault in the code
"""

import errno
import shutil
from pathlib import Path

from tasks.store.report import describe_bytes
from user_error import UserError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# System errors that last until a person acts.
_LASTING = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
NO_SPACE_TEXTS = ("No space left on device", "Disk quota exceeded", "ENOSPC")


class JobKilled(RuntimeError):
    """A process of a job was killed: the same job can be run again."""


class JobFailed(RuntimeError):
    """A job failed by a fault of the code; its last lines."""


class DiskFull(UserError):
    """The disk is full; one line that says where, and what to do."""

    def __init__(self, stage: str, folder: Path) -> None:
        free = describe_bytes(shutil.disk_usage(folder).free)
        super().__init__(
            f"{stage}: no space is left for {folder} ({free} free); free some, for example with: "
            f"jora gc --delete --work-dir {folder}; then run again: finished stages are kept"
        )


def kind_of(error: BaseException) -> str | None:
    """The name of a transient failure; None for one that must not be retried."""
    if isinstance(error, JobKilled):
        return "killed job"
    if getattr(error, "transient", False):  # an exception that says so itself
        return "network"
    status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "status_code", None)
    if isinstance(status, int):
        return "rate limit" if status == 429 else "network" if status >= 500 else None
    if isinstance(error, OSError) and not is_full(error) and not isinstance(error, _LASTING):
        return "network" if isinstance(error, ConnectionError | TimeoutError) else "system"
    return None


def is_full(error: BaseException) -> bool:
    """Whether the cause is a full disk or quota; libraries wrap the system's error in theirs."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _NO_SPACE:
            return True
        if not isinstance(cause, DiskFull) and any(text in str(cause) for text in NO_SPACE_TEXTS):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
