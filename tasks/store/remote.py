"""Artifacts and stage records on storage that machines share: any URL of fsspec (s3://, gs://), or a mounted folder.

    URL/artifacts/KIND/DIGEST/    the files, and manifest.json last
    URL/results/KEY               Prefect's record of a stage, once its artifact is there
    URL/runs/NAME/run.json        what runs say of themselves

The work directory stays where everything is read and written; this is where it looks before it builds, and what it
shares. An artifact is named by its content and every byte is checked on arrival, so that two machines that write the
same one at once do no harm, and a damaged copy is a miss. Files that are only linked to (a base model) stay behind:
whoever names them has them. Credentials come from the environment, as fsspec's implementations read them. No Prefect.
"""

import logging
import os
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import ValidationError

from data.files.whole_files import write_whole
from tasks.store.artifacts import Artifact, BrokenArtifact, Manifest
from tasks.store.digests import file_digest
from tasks.store.report import describe_bytes
from tasks.store.store import Store
from tasks.store.temporary import temporary_folder
from user_error import UserError

ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 1.0
_TOLD_FROM = 10_000_000  # bytes of a transfer that is worth a line
# What fsspec needs for a protocol -> our extra.
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_OBJECTS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "memory"})
_PLAIN = re.compile(r"[a-z0-9-]+")
T = TypeVar("T")
log = logging.getLogger("tasks")


class Remote:
    """Storage at a URL.

    Raises:
        UserError: the URL names no kind of storage that is known here, or it does not answer.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        protocol = self.url.partition("://")[0] if "://" in self.url else "file"
        try:
            self.files, self.root = fsspec.core.url_to_fs(self.url)
        except ImportError:
            extra = _EXTRAS.get(protocol)
            how = (
                f"pip install -c constraints.txt -e '.[{extra}]'"
                if extra
                else f"install fsspec's package for {protocol}"
            )
            raise UserError(f"storage={url} needs a package that is not installed; run: {how}") from None
        except ValueError as error:
            raise UserError(f"storage={url}: {error}; give a folder, or a URL such as s3://BUCKET/FOLDER") from None
        protocols = self.files.protocol
        self._is_object_store = bool(_OBJECTS.intersection({protocols} if isinstance(protocols, str) else protocols))
        try:
            self.files.makedirs(self.root, exist_ok=True)
            self.files.exists(self.root)
        except Exception as error:  # each implementation has its own
            raise UserError(
                f"storage={url} does not answer ({_line(error)}); check the URL, the network and the credentials in "
                "the environment, or leave it out"
            ) from None

    def fetch(self, store: Store, key: str, read: Callable[[bytes], Artifact | None]) -> bool:
        """Bring a stage's record and its artifact into the work directory; whether both are there now.

        Args:
            read: the artifact in a record, if there is one in it.
        """
        place = f"{self.root}/results/{key}"

        def bring() -> bool:
            if not self.files.exists(place):
                return False
            record = self.files.cat_file(place)
            artifact = read(record)
            if artifact is None or not self._bring(store, artifact):
                return False
            write_whole(store.results / key, record)
            self._marker(store, key).touch()
            return True

        return bool(self._patiently(bring, f"{key} is not looked for in {self.url}", False))

    def share(self, store: Store, key: str, artifact: Artifact) -> None:
        """Put a stage's artifact and then its record there, once; what the storage refuses is said and left."""
        if self._marker(store, key).exists():
            return
        manifest = store.manifest(artifact)
        if any(record.link for record in manifest.files.values()):
            return

        def put() -> bool:
            folder = self._folder(artifact)
            if not self.files.exists(f"{folder}/manifest.json"):
                if artifact.bytes > _TOLD_FROM:
                    log.info("%s (%s) goes to %s", artifact, describe_bytes(artifact.bytes), self.url)
                for name in (*sorted(manifest.files), "manifest.json"):
                    self._put(store.path(artifact) / name, f"{folder}/{name}")
            self._put(store.results / key, f"{self.root}/results/{key}")
            self._marker(store, key).touch()
            return True

        self._patiently(put, f"{artifact} is not shared at {self.url}", False)

    def share_file(self, path: Path, name: str) -> None:
        """Put a small file there, under a name below the URL."""
        self._patiently(lambda: self._put(path, f"{self.root}/{name}"), f"{name} is not shared at {self.url}", None)

    def _bring(self, store: Store, artifact: Artifact) -> bool:
        """The artifact, whole and checked, into the work directory; False where it is not there or not sound."""
        try:
            store.verify(artifact)
        except BrokenArtifact:
            pass
        else:
            return True
        folder = self._folder(artifact)
        if not self.files.exists(f"{folder}/manifest.json"):
            return False
        if artifact.bytes > _TOLD_FROM:
            log.info("%s (%s) comes from %s", artifact, describe_bytes(artifact.bytes), self.url)
        if not _PLAIN.fullmatch(artifact.kind):
            return False
        try:
            manifest = Manifest.model_validate_json(self.files.cat_file(f"{folder}/manifest.json"))
        except ValidationError:
            return self._discard(artifact, "its manifest cannot be read")
        if (manifest.kind, manifest.digest) != (artifact.kind, artifact.digest):
            return self._discard(artifact, "its manifest is another one's")
        with temporary_folder(store.tmp, store.locks / "tmp.lock", artifact.kind) as fresh:
            for name, record in manifest.files.items():
                path = fresh / _safe(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self.files.get_file(f"{folder}/{name}", str(path))
                except FileNotFoundError:
                    return self._discard(artifact, f"{name} is missing")
                if file_digest(path, None) != record.sha256:
                    return self._discard(artifact, f"{name} has other content than was written")
                os.utime(path, ns=(record.mtime_ns, record.mtime_ns))
            return store.publish(fresh, manifest) == artifact

    def _discard(self, artifact: Artifact, why: str) -> bool:
        """Take a damaged copy's manifest away, so that the next one to build it puts it there anew; returns False."""
        log.warning("%s at %s is damaged: %s", artifact, self.url, why)
        self.files.rm_file(f"{self._folder(artifact)}/manifest.json")
        return False

    def _put(self, path: Path, place: str) -> None:
        """Whole or not at all: an object store writes so, elsewhere a rename does it."""
        self.files.makedirs(place.rpartition("/")[0], exist_ok=True)
        if self._is_object_store:
            self.files.put_file(str(path), place)
            return
        fresh = f"{place}.{secrets.token_hex(4)}"
        try:
            self.files.put_file(str(path), fresh)
            self.files.mv(fresh, place)
        except BaseException:
            with suppress(Exception):
                self.files.rm_file(fresh)
            raise

    def _folder(self, artifact: Artifact) -> str:
        return f"{self.root}/artifacts/{artifact.kind}/{artifact.digest}"

    def _marker(self, store: Store, key: str) -> Path:
        """There where a key was brought from or put to this URL, so that a warm run need not ask."""
        folder = store.work_dir / "shared" / sha256(self.url.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        return folder / key

    def _patiently(self, act: Callable[[], T], otherwise: str, instead: T) -> T:
        """Act, again after a pause where the storage does not answer; at last a warning, and go on without it."""
        for attempt in range(ATTEMPTS):
            try:
                return act()
            except Exception as error:  # each implementation has its own
                if attempt + 1 == ATTEMPTS:
                    log.warning("%s: %s", otherwise, _line(error))
                else:
                    time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
        return instead


def _safe(name: str) -> PurePosixPath:
    """A file's name from a manifest that anybody may have written."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise UserError(f"the manifest names a file outside of its folder: {name!r}")
    return path


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
