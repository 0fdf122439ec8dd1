"""Artifacts and sizes in log lines."""

from rich.filesize import decimal

from tasks.store.artifacts import Artifact

#: A size in bytes for people, in steps of 1,000: `980 bytes`, `1.2 MB`.
describe_bytes = decimal


def describe_counts(artifact: Artifact) -> str:
    """` (412 chunks, 24 documents)`, or an empty string without counts."""
    counts = _counts(artifact)
    return f" ({', '.join(counts)})" if counts else ""


def describe_built(artifact: Artifact, seconds: float) -> str:
    """` (412 chunks, 1.2 MB, 3.4 s)`."""
    return f" ({', '.join([*_counts(artifact), describe_bytes(artifact.bytes), f'{seconds:.1f} s'])})"


def _counts(artifact: Artifact) -> list[str]:
    return [f"{number:,} {name.replace('_', ' ')}" for name, number in artifact.counts]
