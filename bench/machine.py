"""What a benchmark ran on: versions and machine."""

import os
import platform
from importlib.metadata import version
from pathlib import Path


def describe_machine(*packages: str) -> str:
    """One line: processor, cores, memory, Python and the versions of the packages."""
    processors = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = processors[0].split(":", 1)[1].strip() if processors else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{name}, {len(processors)} cores, {memory:.0f} GiB; Python {platform.python_version()}, {found}"
