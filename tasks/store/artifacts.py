"""The small classes that stand for artifacts: the reference that tasks exchange, and what a manifest says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from user_error import UserError


class BrokenArtifact(UserError):
    """An artifact is missing or no longer holds what was written; one line that says what and what to do."""


class Artifact(BaseModel):
    """The small reference that tasks exchange. It holds no path, so a work directory can be moved."""

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
        """The number recorded under `name` when the artifact was built (KeyError where there is none)."""
        return dict(self.counts)[name]

    def __str__(self) -> str:
        return f"{self.kind}/{self.digest[:8]}"


class FileRecord(BaseModel):
    """One file of an artifact: sha256 (hex), size in bytes, modification time in ns, and its target if a link."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    bytes: int
    mtime_ns: int
    link: str | None = None


class Manifest(BaseModel):
    """What manifest.json says: where an artifact comes from and what it holds."""

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
    """What became of one stage in this run; seconds and peak memory are those of building, 0 and None if cached.

    Attempts are more than 1 where it failed before in a way that another attempt healed.
    """

    stage: str
    artifact: Artifact
    cached: bool
    seconds: float
    peak_bytes: int | None = None
    attempts: int = 1
