"""The peak memory of a stage: that of this process or of its largest new child process. Linux only."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SECONDS_BETWEEN = 0.5  # growth in a child's last half second is missed


class Peak:
    """Bytes, set when the block has ended; None if the system does not report it."""

    bytes: int | None = None


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Peak resident memory during the block; of concurrent blocks, each may see the others' memory."""
    peak, of_children, end = Peak(), [0], threading.Event()
    before = _children()
    # Resets the kernel's peak of this process; if that is not allowed, the peak is that since the process started.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")

    def watch() -> None:
        while not end.wait(_SECONDS_BETWEEN):
            of_children[0] = max(of_children[0], *(_peak_of(pid) for pid in _children() - before), 0)

    watcher = threading.Thread(target=watch, name="peak-memory", daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        end.set()
        watcher.join()
        peak.bytes = max(of_children[0], _peak_of(os.getpid())) or None


def _children() -> set[int]:
    """Ids of running child processes."""
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
