"""Digests of files and artifacts, and syncing of folders to disk."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ValidationError

from data.files.whole_files import mark_used, write_whole

#: Hex digits of an artifact's digest: 128 bits, far beyond accident, and short enough for a path.
DIGEST_DIGITS = 32


class _Remembered(BaseModel):
    path: str
    bytes: int
    mtime_ns: int
    sha256: str


def artifact_digest(kind: str, files: Mapping[str, str]) -> str:
    """The digest of an artifact: over its kind and its (file name, sha256) pairs in the order of the names."""
    text = json.dumps([kind, sorted(files.items())], ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_DIGITS]


def file_digest(path: Path, memory: Path | None) -> str:
    """The sha256 (hex) of a file's bytes.

    With a folder `memory`, the digest of the same (path, size, modification time) is read from there, and stored there
    once it is computed: 14 GB of weights take 11 s once, not at every run.
    """
    path = path.resolve(strict=True)
    if memory is None:
        return _sha256(path)
    status = path.stat()
    note = memory / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:DIGEST_DIGITS]}.json"
    try:
        known = _Remembered.model_validate_json(note.read_bytes())
        if (known.path, known.bytes, known.mtime_ns) == (str(path), status.st_size, status.st_mtime_ns):
            mark_used(note)
            return known.sha256
    except (FileNotFoundError, ValidationError):
        pass  # never seen, or a note that was cut off: compute it
    # The status is from before reading: a file that changes meanwhile has a later time and is read again.
    fresh = _Remembered(path=str(path), bytes=status.st_size, mtime_ns=status.st_mtime_ns, sha256=_sha256(path))
    write_whole(note, fresh.model_dump_json())
    return fresh.sha256


def sync_folder(folder: Path, *, deep: bool = True) -> None:
    """Flush a folder's entries to disk, and with `deep` all files and folders below it (links are not followed)."""
    if deep:
        for path in folder.rglob("*"):
            if not path.is_symlink():
                _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
