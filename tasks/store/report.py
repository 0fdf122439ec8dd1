"""How an artifact reads in a log line."""

from tasks.store.artifacts import Artifact


def describe_counts(artifact: Artifact) -> str:
    """` (412 chunks, 24 documents)`, or nothing where nothing was counted."""
    counts = _counts(artifact)
    return f" ({', '.join(counts)})" if counts else ""


def describe_built(artifact: Artifact, seconds: float) -> str:
    """` (412 chunks, 1.2 MB, 3.4 s)`."""
    return f" ({', '.join([*_counts(artifact), describe_bytes(artifact.bytes), f'{seconds:.1f} s'])})"


def describe_bytes(size: int) -> str:
    """A size in bytes for people, in steps of 1,000: `980 B`, `1.2 MB`."""
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def _counts(artifact: Artifact) -> list[str]:
    return [f"{number:,} {name.replace('_', ' ')}" for name, number in artifact.counts]
