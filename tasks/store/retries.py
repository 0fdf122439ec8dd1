"""Which failures another attempt may heal, and what each is called. Prefect waits between attempts.

network        no connection, time-out, an answer of 5xx       tried again
rate limit     429                                             tried again
killed job     a job's process was killed, or a fellow's       tried again, once; it goes on from its checkpoint
system         another OSError                                 tried again
never          what a person gave, a missing file, a full disk, a fault in the code
"""

import errno
import shutil
from pathlib import Path

from tasks.store.report import describe_bytes
from user_error import UserError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# Errors of the system that stay as they are until a person does something.
_LASTING = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
NO_SPACE_TEXTS = ("No space left on device", "Disk quota exceeded", "ENOSPC")


class JobKilled(RuntimeError):
    """A job's process was killed, or lost its fellows: the same job can be run again."""


class JobFailed(RuntimeError):
    """A job ended with a fault of the code; its last lines."""


class DiskFull(UserError):
    """No space is left for what a stage writes; one line that says where and what to do."""

    def __init__(self, stage: str, folder: Path) -> None:
        free = describe_bytes(shutil.disk_usage(folder).free)
        super().__init__(
            f"{stage}: no space is left for {folder} ({free} free); make some, for instance with: "
            f"jora gc --delete --work-dir {folder}; then run again: what is built is kept"
        )


def kind_of(error: BaseException) -> str | None:
    """What kind of failure another attempt may heal; None for what it would not."""
    if isinstance(error, JobKilled):
        return "killed job"
    if getattr(error, "transient", False):  # a library's own way to say so
        return "network"
    status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "status_code", None)
    if isinstance(status, int):
        return "rate limit" if status == 429 else "network" if status >= 500 else None
    if isinstance(error, OSError) and not is_full(error) and not isinstance(error, _LASTING):
        return "network" if isinstance(error, ConnectionError | TimeoutError) else "system"
    return None


def is_full(error: BaseException) -> bool:
    """Whether a disk is full, or a quota used up; libraries wrap the system's error in theirs."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _NO_SPACE:
            return True
        if not isinstance(seen, DiskFull) and any(text in str(seen) for text in NO_SPACE_TEXTS):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
