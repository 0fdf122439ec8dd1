"""Locks that end with their holder: `flock` on small files, and Prefect's lock manager on top of them.

Prefect's own file locks outlive a `kill -9` and block every later run. The kernel drops a `flock` when the last
descriptor of the open file goes, however the process ends. Traps: each lock needs a descriptor of its own, because a
second lock through the same open file succeeds; and a child made by `fork` without `exec` shares the descriptor and so
keeps the lock alive (Python's `subprocess` and spawned pools do not). The files stay: unlinking one would let two
processes hold "the same" lock.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.1


def try_flock(path: Path, *, shared: bool = False) -> int | None:
    """Lock the file `path`, created if needed, without waiting.

    Returns:
        The open descriptor that holds the lock (closing it releases it), or None if the lock is held elsewhere.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def flocked(path: Path) -> Iterator[None]:
    """Hold the lock on `path` during the block; waits without limit."""
    while (descriptor := try_flock(path)) is None:
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        os.close(descriptor)


class FlockLocks:
    """Prefect's `LockManager` protocol with one flocked file per key, across threads and processes.

    Subclasses may override the three `on_...` methods; they run in the thread that acquires the lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # key -> (holder, descriptor). Only who owns the key's flock writes its entry, so no mutex is needed.
        self._held: dict[str, tuple[str, int]] = {}

    def on_wait(self, key: str) -> None:
        """Called once per acquire if the lock is held elsewhere."""

    def on_acquired(self, key: str) -> None:
        """Called once the lock is held, before the caller looks for a record."""

    def on_release(self, key: str) -> None:
        """Called just before the lock is released."""

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Acquire the lock within `acquire_timeout` seconds (None: no limit); whether it is held.

        `hold_timeout` is ignored: the lock ends with its holder.
        """
        if self.is_lock_holder(key, holder):
            return True
        self.folder.mkdir(parents=True, exist_ok=True)
        deadline = None if acquire_timeout is None else time.monotonic() + acquire_timeout
        waited = False
        while (descriptor := try_flock(self._path(key))) is None:
            if not waited:
                self.on_wait(key)
                waited = True
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        self._held[key] = (holder, descriptor)
        try:
            self.on_acquired(key)
        except BaseException:
            self.release_lock(key, holder)
            raise
        return True

    def release_lock(self, key: str, holder: str) -> None:
        """Release the lock.

        Raises:
            ValueError: `holder` does not hold it, as Prefect's protocol has it.
        """
        if not self.is_lock_holder(key, holder):
            raise ValueError(f"the lock {key} is not held by {holder}")
        try:
            self.on_release(key)
        finally:
            _, descriptor = self._held.pop(key)
            os.close(descriptor)

    def is_locked(self, key: str) -> bool:
        """Whether the lock is held, in this or another process."""
        if key in self._held:
            return True
        if not self._path(key).exists():
            return False
        descriptor = try_flock(self._path(key), shared=True)
        if descriptor is None:
            return True
        os.close(descriptor)
        return False

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether `holder` holds the lock through this manager."""
        held = self._held.get(key)
        return held is not None and held[0] == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until the lock is free; False if `timeout` seconds pass first."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.is_locked(key):
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    async def aacquire_lock(self, *args: Any, **kwargs: Any) -> bool:
        """`acquire_lock` in a thread, for asynchronous callers."""
        return await asyncio.to_thread(self.acquire_lock, *args, **kwargs)

    async def await_for_lock(self, *args: Any, **kwargs: Any) -> bool:
        """`wait_for_lock` in a thread, for asynchronous callers."""
        return await asyncio.to_thread(self.wait_for_lock, *args, **kwargs)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.lock"
