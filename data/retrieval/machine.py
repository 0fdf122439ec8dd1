"""What this machine has."""

import os


def usable_cores() -> int:
    """The number of cores that this process may run on; without affinity (macOS), all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
