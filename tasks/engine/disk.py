"""Is there room for what a stage will write? Asked before it starts, from the sizes of what it reads."""

import shutil

from tasks.store.report import describe_bytes
from tasks.store.store import Store
from user_error import UserError

# Left free for what others write meanwhile.
_RESERVE = 50_000_000


def check_space(store: Store, stage: str, needed: int) -> None:
    """Refuse a stage that would fill the disk.

    Args:
        needed: about how many bytes it writes.

    Raises:
        UserError: they are not there.
    """
    free = shutil.disk_usage(store.work_dir).free
    if needed > 0 and free < needed + _RESERVE:
        raise UserError(
            f"{stage} needs about {describe_bytes(needed + _RESERVE)} and {store.work_dir} has {describe_bytes(free)} "
            f"free; make room, for instance with: jora gc --delete --work-dir {store.work_dir}; or choose another disk "
            "with --work-dir"
        )
