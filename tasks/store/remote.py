"""Artifacts and stage records on shared storage: any fsspec URL (s3://, gs://) or a mounted folder.

    URL/artifacts/KIND/DIGEST/    the files, and manifest.json last
    URL/results/KEY               Prefect's record of a stage, written after its artifact
    URL/runs/NAME/run.json        records of runs

Stages still read and write the work directory; a stage that is not cached there is fetched from here, and a built stage
is uploaded. Artifacts are named by content and hashed on arrival, before they are published, so two machines may write
the same one at once, and a damaged or forged copy is a miss. Artifacts with linked files (a base model) are not
uploaded: whoever names such files has them. Credentials come from the environment, as fsspec's implementations read
them. No Prefect here.
"""

import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
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
_LOGGED_FROM = 10_000_000  # bytes; smaller transfers are not logged
# Protocol -> the extra of this package that it needs.
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_OBJECTS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "memory"})
T = TypeVar("T")
log = logging.getLogger("tasks")


class Remote:
    """Storage at a URL.

    Raises:
        UserError: the URL's protocol is unknown, or the storage does not respond.
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
        except Exception as error:  # implementations have their own
            raise UserError(
                f"storage={url} does not respond ({_line(error)}); check the URL, the network and the credentials in "
                "the environment, or unset it"
            ) from None

    def fetch(self, store: Store, key: str, read: Callable[[bytes], Artifact | None]) -> bool:
        """Download a stage's artifact and record into the work directory; whether both are there now.

        Args:
            read: returns the artifact in a record, if it has one.
        """
        path = f"{self.root}/results/{key}"

        def download() -> bool:
            if not self.files.exists(path):
                return False
            record = self.files.cat_file(path)
            artifact = read(record)
            if artifact is None or not self._download(store, artifact):
                return False
            write_whole(store.results / key, record)
            self._marker(store, key).touch()
            return True

        return bool(self._with_retries(download, f"{key} is not fetched from {self.url}", False))

    def share(self, store: Store, key: str, artifact: Artifact) -> None:
        """Upload a stage's artifact and then its record, once; a failure is logged."""
        if self._marker(store, key).exists():
            return
        manifest = store.manifest(artifact)
        if any(record.link for record in manifest.files.values()):
            return

        def upload() -> bool:
            folder = self._folder(artifact)
            if not self.files.exists(f"{folder}/manifest.json"):
                if artifact.bytes > _LOGGED_FROM:
                    log.info("uploading %s (%s) to %s", artifact, describe_bytes(artifact.bytes), self.url)
                for name in (*sorted(manifest.files), "manifest.json"):
                    self._put(store.path(artifact) / name, f"{folder}/{name}")
            self._put(store.results / key, f"{self.root}/results/{key}")
            self._marker(store, key).touch()
            return True

        self._with_retries(upload, f"{artifact} is not shared at {self.url}", False)

    def share_file(self, path: Path, name: str) -> None:
        """Upload a small file under a name below the URL."""
        self._with_retries(lambda: self._put(path, f"{self.root}/{name}"), f"{name} is not shared at {self.url}", None)

    def _download(self, store: Store, artifact: Artifact) -> bool:
        """Download and verify an artifact; False if it is missing or damaged."""
        try:
            store.verify(artifact)
        except BrokenArtifact:
            pass
        else:
            return True
        folder = self._folder(artifact)
        if not self.files.exists(f"{folder}/manifest.json"):
            return False
        if artifact.bytes > _LOGGED_FROM:
            log.info("downloading %s (%s) from %s", artifact, describe_bytes(artifact.bytes), self.url)
        try:
            manifest = Manifest.model_validate_json(self.files.cat_file(f"{folder}/manifest.json"))
        except ValidationError:
            return self._discard(artifact, "its manifest cannot be read")
        # The digest is computed from the files' digests, which the files are compared with below.
        claimed, content = (manifest.kind, manifest.digest), (manifest.kind, manifest.content_digest)
        if not claimed == content == (artifact.kind, artifact.digest):
            return self._discard(artifact, "its manifest describes another artifact")
        if linked := [name for name, record in manifest.files.items() if record.link is not None]:
            return self._discard(artifact, f"{linked[0]} is a link to a file of another machine")
        if manifest.artifact != artifact:  # another size or counts: nothing is published under a reference to it
            return False
        with temporary_folder(store.tmp, store.locks / "tmp.lock", artifact.kind) as fresh:
            for name, record in manifest.files.items():
                path = fresh / name
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self.files.get_file(f"{folder}/{name}", str(path))
                except FileNotFoundError:
                    return self._discard(artifact, f"{name} is missing")
                if path.stat().st_size != record.bytes:
                    return self._discard(artifact, f"{name} has another size than was written")
                if file_digest(path, None) != record.sha256:
                    return self._discard(artifact, f"{name} has other content than was written")
                os.utime(path, ns=(record.mtime_ns, record.mtime_ns))
            return store.publish(fresh, manifest) == artifact

    def _discard(self, artifact: Artifact, why: str) -> bool:
        """Delete a damaged copy's manifest, so that the next build uploads it again; returns False."""
        log.warning("%s at %s is damaged: %s", artifact, self.url, why)
        self.files.rm_file(f"{self._folder(artifact)}/manifest.json")
        return False

    def _put(self, path: Path, target: str) -> None:
        """Upload atomically: object stores write so, elsewhere by a rename."""
        self.files.makedirs(target.rpartition("/")[0], exist_ok=True)
        if self._is_object_store:
            self.files.put_file(str(path), target)
            return
        fresh = f"{target}.{secrets.token_hex(4)}"
        try:
            self.files.put_file(str(path), fresh)
            self.files.mv(fresh, target)
        except BaseException:
            with suppress(Exception):
                self.files.rm_file(fresh)
            raise

    def _folder(self, artifact: Artifact) -> str:
        return f"{self.root}/artifacts/{artifact.kind}/{artifact.digest}"

    def _marker(self, store: Store, key: str) -> Path:
        """A file that exists once a key was fetched from or uploaded to this URL, so that a warm run need not check."""
        folder = store.work_dir / "shared" / sha256(self.url.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        return folder / key

    def _with_retries(self, act: Callable[[], T], warning: str, default: T) -> T:
        """The result of `act`, tried up to ATTEMPTS times; after that a warning and the default."""
        for attempt in range(ATTEMPTS):
            try:
                return act()
            except Exception as error:  # implementations have their own
                if attempt + 1 == ATTEMPTS:
                    log.warning("%s: %s", warning, _line(error))
                else:
                    time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
        return default


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
