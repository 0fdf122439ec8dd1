"""Temporary folders for artifacts being written; those of dead processes are removed."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.store.locks import flocked, try_flock


@contextmanager
def temporary_folder(tmp: Path, gate: Path, prefix: str) -> Iterator[Path]:
    """A new folder `tmp/PREFIX-RANDOM`, removed at the end together with `tmp/PREFIX-RANDOM.*`.

    Its lock file `tmp/PREFIX-RANDOM.lock` is held meanwhile, which shows others that this process is alive. `gate` is
    the lock file for creating and sweeping folders: no sweep may happen between creating a folder and locking it.
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
    """Remove the folders of dead processes."""
    names = {path.name.split(".")[0] for path in tmp.iterdir()} - {""}
    for folder in (tmp / name for name in sorted(names)):
        descriptor = try_flock(_lock(folder))
        if descriptor is not None:  # otherwise its process is alive
            _clear(folder)
            os.close(descriptor)


def _clear(folder: Path) -> None:
    """Remove the folder, then its siblings NAME.*, then its lock."""
    for path in (folder, *folder.parent.glob(f"{folder.name}.*")):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path != _lock(folder):
            path.unlink(missing_ok=True)
    _lock(folder).unlink(missing_ok=True)
