"""The peak memory of a stage: of this process, and of the largest process that it started meanwhile. Linux only."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SECONDS_BETWEEN = 0.5  # a job's last half second is not seen


class Peak:
    """Bytes, once the block has ended; None where the system does not tell."""

    bytes: int | None = None


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Peak resident memory during the block. One block at a time measures this process; a second sees the first's."""
    peak, found, end = Peak(), [0], threading.Event()
    before = _children()
    # Makes the kernel count this process's peak anew; where it may not be written, the peak is that since the start.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")

    def watch() -> None:
        while not end.wait(_SECONDS_BETWEEN):
            found[0] = max(found[0], *(_peak_of(pid) for pid in _children() - before), 0)

    watcher = threading.Thread(target=watch, name="peak-memory", daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        end.set()
        watcher.join()
        peak.bytes = max(found[0], _peak_of(os.getpid())) or None


def _children() -> set[int]:
    """Processes that this one has started and that still run."""
    pids: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        try:
            pids |= set(map(int, task.read_text().split()))
        except OSError:  # a thread that has ended
            continue
    return pids


def _peak_of(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
