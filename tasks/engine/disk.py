"""Check free disk space before a stage starts, estimated from the sizes of its inputs."""

import shutil

from tasks.store.report import describe_bytes
from tasks.store.store import Store
from user_error import UserError

# Kept free for other writers.
_RESERVE = 50_000_000


def check_space(store: Store, stage: str, needed: int) -> None:
    """Check that the disk has room for a stage.

    Args:
        needed: estimate of the bytes that it writes.

    Raises:
        UserError: there is less free space.
    """
    free = shutil.disk_usage(store.work_dir).free
    if needed > 0 and free < needed + _RESERVE:
        raise UserError(
            f"{stage} needs about {describe_bytes(needed + _RESERVE)} and {store.work_dir} has {describe_bytes(free)} "
            f"free; make room, for example with: jora gc --delete --work-dir {store.work_dir}; or choose another disk "
            "with --work-dir"
        )
