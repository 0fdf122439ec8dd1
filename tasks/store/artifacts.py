"""Data classes of artifacts: references, manifests and outcomes of stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from user_error import UserError


class BrokenArtifact(UserError):
    """An artifact is missing or differs from what was written; one line that says how, and what to do."""


class Artifact(BaseModel):
    """The reference to an artifact that stages exchange. It has no path, so a work directory can be moved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    digest: str
    bytes: int
    counts: tuple[tuple[str, int], ...] = ()

    @field_validator("counts", mode="before")
    @classmethod
    def _freeze(cls, value: object) -> object:
        return tuple(value.items()) if isinstance(value, Mapping) else value

    def count(self, name: str) -> int:
        """The count recorded under `name` when the artifact was built (KeyError if there is none)."""
        return dict(self.counts)[name]

    def __str__(self) -> str:
        return f"{self.kind}/{self.digest[:8]}"


class FileRecord(BaseModel):
    """One file of an artifact: sha256 (hex), size in bytes, modification time in ns, and the target of a link."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    bytes: int
    mtime_ns: int
    link: str | None = None


class Manifest(BaseModel):
    """The content of manifest.json: provenance, counts and files of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    kind: str
    digest: str
    settings: dict[str, Any]
    inputs: tuple[Artifact, ...]
    counts: dict[str, int]
    files: dict[str, FileRecord]
    versions: dict[str, str]
    created: str

    @property
    def artifact(self) -> Artifact:
        """The reference to the artifact that this manifest describes."""
        size = sum(record.bytes for record in self.files.values())
        return Artifact(kind=self.kind, digest=self.digest, bytes=size, counts=tuple(self.counts.items()))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a stage in a run.

    Attributes:
        seconds: wall time of building; 0 if cached.
        peak_bytes: peak memory of building; None if cached or unknown.
        attempts: more than 1 if retries were needed.
    """

    stage: str
    artifact: Artifact
    cached: bool
    seconds: float
    peak_bytes: int | None = None
    attempts: int = 1
