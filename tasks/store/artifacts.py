"""Data classes of artifacts: references, manifests and outcomes of stages.

Kinds, digests and file names become paths, and may come from another machine: their form is checked wherever one of
these classes is made, so that no path leaves the work directory.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, field_validator

from tasks.store.digests import DIGEST_DIGITS, artifact_digest
from user_error import UserError

MANIFEST = "manifest.json"


def _inside(name: str) -> str:
    """A file name that stays inside its folder, in its one spelling; ValueError for another."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or str(path) != name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a file inside of its folder")
    if name == MANIFEST:
        raise ValueError(f"{MANIFEST} does not list itself")
    return name


#: Lower-case words joined by hyphens or underscores: the name of a folder.
Kind = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([_-][a-z0-9]+)*$", max_length=64)]
Digest = Annotated[str, StringConstraints(pattern=rf"^[0-9a-f]{{{DIGEST_DIGITS}}}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, AfterValidator(_inside)]


class BrokenArtifact(UserError):
    """An artifact is missing or differs from what was written; one line that says how, and what to do."""


class Artifact(BaseModel):
    """The reference to an artifact that stages exchange. It has no path, so a work directory can be moved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    digest: Digest
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

    sha256: Sha256
    bytes: int
    mtime_ns: int
    link: str | None = None


class Manifest(BaseModel):
    """The content of manifest.json: provenance, counts and files of an artifact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    kind: Kind
    digest: Digest
    settings: dict[str, Any]
    inputs: tuple[Artifact, ...]
    counts: dict[str, int]
    files: dict[FileName, FileRecord]
    versions: dict[str, str]
    created: str

    @property
    def artifact(self) -> Artifact:
        """The reference to the artifact that this manifest describes."""
        size = sum(record.bytes for record in self.files.values())
        return Artifact(kind=self.kind, digest=self.digest, bytes=size, counts=tuple(self.counts.items()))

    @property
    def content_digest(self) -> str:
        """The digest that an artifact with these files has; another one than `digest` in a manifest that lies."""
        return artifact_digest(self.kind, {name: record.sha256 for name, record in self.files.items()})


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
