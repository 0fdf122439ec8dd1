"""Folders for artifacts that are being written; those of dead processes go, those of the living stay."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.store.locks import flocked, try_flock


@contextmanager
def temporary_folder(tmp: Path, gate: Path, prefix: str) -> Iterator[Path]:
    """A new folder `tmp/PREFIX-RANDOM`, removed at the end with all that lies beside it under its name.

    Its lock file `tmp/PREFIX-RANDOM.lock` is held meanwhile, which is how others know that this process lives. `gate`
    is the lock file under which folders are made and swept: nobody may sweep between making a folder and locking it.
    """
    with flocked(gate):
        _sweep(tmp)
        folder = tmp / f"{prefix}-{secrets.token_hex(6)}"
        descriptor = try_flock(_lock(folder))
        assert descriptor is not None, folder
        folder.mkdir()
    try:
        yield folder
    finally:
        _clear(folder)
        os.close(descriptor)


def _lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _sweep(tmp: Path) -> None:
    """Remove what dead processes left."""
    names = {path.name.split(".")[0] for path in tmp.iterdir()} - {""}
    for folder in (tmp / name for name in sorted(names)):
        descriptor = try_flock(_lock(folder))
        if descriptor is not None:  # otherwise its process is at work
            _clear(folder)
            os.close(descriptor)


def _clear(folder: Path) -> None:
    """Remove the folder, then its neighbours of the same name (NAME.broken, NAME.json), then its lock."""
    for path in (folder, *folder.parent.glob(f"{folder.name}.*")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path != _lock(folder):
            path.unlink(missing_ok=True)
    _lock(folder).unlink(missing_ok=True)
