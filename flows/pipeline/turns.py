"""One run at a time trains on a machine and work directory; the next one waits or is cancelled.

A work pool's limit does the same for runs of that pool. This lock also covers runs from a terminal and of other pools,
and ends with its holder. A deployment's concurrency limit would not do: it keeps a lease in the server's memory, and
ended a training run after the server had been restarted.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from flows.settings.config import WhenBusy
from tasks.engine.jobs import JobLog
from tasks.store.locks import flocked, try_flock
from tasks.store.store import Store


class Busy(Exception):
    """Another run holds the machine, and this one must not wait."""


@contextmanager
def turn(store: Store, goal: str, when_busy: WhenBusy, log: JobLog) -> Iterator[None]:
    """Hold the machine during the block; not for a dataset, which needs no accelerator.

    Raises:
        Busy: another run holds it, and `when_busy` says not to wait.
    """
    with nullcontext() if goal == "dataset" else _held(store, when_busy, log):
        yield


@contextmanager
def _held(store: Store, when_busy: WhenBusy, log: JobLog) -> Iterator[None]:
    # Per machine: hosts that share a work directory have their own accelerators.
    path = store.locks / f"turn-{socket.gethostname()}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    if (descriptor := try_flock(path)) is not None:
        try:
            yield
        finally:
            os.close(descriptor)
        return
    if when_busy == "cancel":
        raise Busy(f"another run trains in {store.work_dir}; this one is cancelled (when_busy=cancel)")
    log.info("another run trains in %s; waiting for it", store.work_dir)
    with flocked(path):
        yield
