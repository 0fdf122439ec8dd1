"""The artifact store: folders named by their content, with a manifest that is written last.

    WORK_DIR/artifacts/KIND/DIGEST/   the files of an artifact and its manifest.json
    WORK_DIR/tmp/                     artifacts being written; leftovers of dead processes are removed at the next build
    WORK_DIR/results/                 Prefect's records: stage key -> Artifact (tasks/engine/cache.py)
    WORK_DIR/scratch/                 what a stage keeps between two attempts, such as checkpoints
    WORK_DIR/readings/                cached texts of PDF and Office files and pages (data/documents/readers/memory.py)
    WORK_DIR/runs/                    the record of each run (tasks/records/records.py)
    WORK_DIR/models/, champion        the registered models (tasks/records/models.py)
    WORK_DIR/shared/                  markers of stages that shared storage has (tasks/store/remote.py)
    WORK_DIR/asset-id                 tells its assets in Prefect from those of others (tasks/engine/assets.py)
    WORK_DIR/locks/, digests/         lock files; cached digests of linked files

The digest covers only the kind, the file names and the files' bytes: the same bytes are the same artifact, whoever made
them and when. Publishing is write, hash, sync, rename, so a folder without a manifest is no artifact. No Prefect here:
artifacts can be opened without it.
"""

import os
import platform
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from tasks.store.artifacts import MANIFEST, Artifact, BrokenArtifact, FileRecord, Manifest, Outcome
from tasks.store.digests import artifact_digest, file_digest, sync_folder
from tasks.store.locks import flocked
from tasks.store.temporary import temporary_folder
from user_error import UserError

# Packages that can change an artifact's bytes, recorded to explain differences between machines.
PACKAGES = (
    "datasets",
    "faiss-cpu",
    "flax",
    "jax",
    "numpy",
    "optax",
    "prefect",
    "safetensors",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)


class Build:
    """An artifact being written: put its files into `folder`, and record counts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._counts: dict[str, int] = {}
        self._artifact: Artifact | None = None

    def count(self, **counts: int) -> None:
        """Record counts by name, for the manifest and the log line: `build.count(chunks=412)`."""
        self._counts.update({name: int(number) for name, number in counts.items()})

    def link(self, name: str, target: Path) -> None:
        """Add a link to a person's large file as `name`; it is hashed but never copied."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target.resolve(strict=True))

    @property
    def artifact(self) -> Artifact:
        """The published artifact; only after the `with` block has ended."""
        assert self._artifact is not None, "the artifact exists once its `with` block has ended"
        return self._artifact


class SharedStorage(Protocol):
    """The interface of shared storage (tasks/store/remote.py)."""

    def fetch(self, store: "Store", key: str, read: Callable[[bytes], Artifact | None]) -> bool:
        """Download a stage's artifact and record into the work directory; whether both are there now."""

    def share(self, store: "Store", key: str, artifact: Artifact) -> None:
        """Upload a stage's artifact, then its record."""

    def share_file(self, path: Path, name: str) -> None:
        """Upload a small file under a name below the storage's URL."""


class Store:
    """The artifacts under one work directory. Safe to share between threads and processes.

    Args:
        full: the default of `verify`: whether to read every file of an artifact.
        remote: shared storage, from which stages are fetched before they are built.

    Raises:
        UserError: the work directory cannot be created or is not writable.
    """

    def __init__(self, work_dir: Path | str, *, full: bool = False, remote: SharedStorage | None = None) -> None:
        self.full = full
        self.remote = remote
        self.work_dir = Path(work_dir).expanduser().absolute()
        self.artifacts = self.work_dir / "artifacts"
        self.tmp = self.work_dir / "tmp"
        self.locks = self.work_dir / "locks"
        self.digests = self.work_dir / "digests"
        self.results = self.work_dir / "results"
        self.scratch = self.work_dir / "scratch"
        #: Outcomes of this run's stages in order; filled by tasks/engine/cache.py.
        self.outcomes: list[Outcome] = []
        #: Called with each outcome.
        self.listeners: list[Callable[[Outcome], None]] = []
        try:
            for folder in (self.artifacts, self.tmp, self.locks, self.digests, self.results, self.scratch):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.tmp / f".probe-{secrets.token_hex(4)}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"cannot write to {self.work_dir}: {error.strerror}; choose another with --work-dir"
            ) from error

    def note(self, outcome: Outcome) -> None:
        """Add the outcome of a stage and call the listeners."""
        self.outcomes.append(outcome)
        for listener in self.listeners:
            listener(outcome)

    def path(self, artifact: Artifact) -> Path:
        """The folder of the artifact's files."""
        return self.artifacts / artifact.kind / artifact.digest

    def manifest(self, artifact: Artifact) -> Manifest:
        """Read the artifact's manifest.

        Raises:
            BrokenArtifact: there is none, or it cannot be read.
        """
        return _read_manifest(self.path(artifact), str(artifact))

    def verify(self, artifact: Artifact, *, full: bool | None = None) -> None:
        """Check that the artifact is what was written: exactly its files, with the recorded sizes and times.

        A file with another time is compared by content, so a copied store is valid. `full` reads the artifact's own
        files in any case, which also finds a change whose time was reset. A linked file is read once for each (path,
        size, time).

        Raises:
            BrokenArtifact: names the first difference.
        """
        full = self.full if full is None else full
        manifest = self.manifest(artifact)
        folder = self.path(artifact)
        if (manifest.kind, manifest.content_digest) != (artifact.kind, artifact.digest):
            raise _broken(str(artifact), f"{MANIFEST} describes another artifact")
        present = set(_file_names(folder))
        if missing := sorted(manifest.files.keys() - present):
            raise _broken(str(artifact), f"{missing[0]} is missing")
        if unknown := sorted(present - manifest.files.keys()):
            raise _broken(str(artifact), f"{unknown[0]} does not belong to it")
        for name, record in manifest.files.items():
            path = folder / name
            try:
                status = path.stat()
            except OSError as error:
                raise _broken(str(artifact), f"{name}: {error.strerror}") from error
            if status.st_size != record.bytes:
                raise _broken(str(artifact), f"{name} has {status.st_size} bytes instead of {record.bytes}")
            if status.st_mtime_ns == record.mtime_ns and not (full and record.link is None):
                continue
            # Without `full` a cached digest is enough; otherwise a copied store would be read at every run.
            if file_digest(path, None if full and record.link is None else self.digests) != record.sha256:
                raise _broken(str(artifact), f"{name} has other content than was written")

    @contextmanager
    def build(
        self,
        kind: str,
        *,
        settings: BaseModel | Mapping[str, Any] | None = None,
        inputs: Sequence[Artifact] = (),
    ) -> Iterator[Build]:
        """Write an artifact: fill `build.folder` in the `with` block, then use `build.artifact`.

        If the block raises, nothing is published. If the same artifact exists already, it is kept.
        """
        assert kind and not set(kind) & set("/."), kind
        with temporary_folder(self.tmp, self.locks / "tmp.lock", kind) as folder:
            build = Build(folder)
            yield build
            files = {name: self._record(folder / name) for name in _file_names(folder)}
            assert files, f"the artifact {kind} has no files"
            manifest = Manifest(
                kind=kind,
                digest=artifact_digest(kind, {name: record.sha256 for name, record in files.items()}),
                settings=_plain(settings),
                inputs=tuple(inputs),
                counts=build._counts,
                files=files,
                versions=_versions(),
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            build._artifact = self.publish(folder, manifest)

    def _record(self, path: Path) -> FileRecord:
        link = str(path.readlink()) if path.is_symlink() else None
        status = path.stat()
        return FileRecord(
            sha256=file_digest(path, self.digests if link else None),
            bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            link=link,
        )

    def publish(self, folder: Path, manifest: Manifest) -> Artifact:
        """Write the manifest into a `temporary_folder` and rename the folder to its final path.

        An existing valid artifact is kept.
        """
        # Files and folders first, the manifest last: no manifest, no artifact.
        sync_folder(folder)
        with (folder / MANIFEST).open("w", encoding="utf-8") as file:
            file.write(manifest.model_dump_json(indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        final = self.path(manifest.artifact)
        final.parent.mkdir(parents=True, exist_ok=True)
        with flocked(self.locks / f"publish-{manifest.kind}.lock"):
            if final.exists():
                try:
                    self.verify(manifest.artifact, full=True)
                except BrokenArtifact:
                    # Moved away by one rename; deleted with the temporary folder.
                    final.rename(folder.with_name(f"{folder.name}.broken"))
                else:
                    return self.manifest(manifest.artifact).artifact
            folder.rename(final)
        sync_folder(final.parent, deep=False)
        sync_folder(self.artifacts, deep=False)
        return manifest.artifact


def _broken(name: str, what: str) -> BrokenArtifact:
    return BrokenArtifact(f"artifact {name} is broken: {what}; run the flow again to rebuild it")


def _read_manifest(folder: Path, name: str) -> Manifest:
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise _broken(name, f"{MANIFEST if folder.exists() else folder} is missing") from error
    except (OSError, ValidationError) as error:
        raise _broken(name, f"{MANIFEST} cannot be read") from error


def _file_names(folder: Path) -> list[str]:
    """Names of the files (relative, with /) below `folder`, sorted, without the manifest."""
    names = []
    for path in folder.rglob("*"):
        assert not (path.is_symlink() and path.is_dir()), f"{path}: link the files, not the folder"
        if path.is_symlink() or not path.is_dir():
            names.append(path.relative_to(folder).as_posix())
    return sorted(name for name in names if name != MANIFEST)


def _plain(settings: BaseModel | Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings as plain JSON: those of one model, or of several by name."""
    if settings is None:
        return {}
    if isinstance(settings, BaseModel):
        return settings.model_dump(mode="json")
    return {
        name: value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        for name, value in settings.items()
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # optional; its absence is visible in the manifest
    return versions
