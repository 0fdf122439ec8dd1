"""Files written by rename: a reader sees the old content or the new, never a part of it."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Writes a file under a temporary name and renames it; creates missing folders.

    Args:
        content: a string is written as UTF-8.
        durable: fsync the file and its folders, so that it survives a power failure once this returns.
    """
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{path.name}-{secrets.token_hex(4)}"
    try:
        with draft.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    if durable:
        for entry in (folder, folder.parent):
            descriptor = os.open(entry, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def mark_used(path: Path) -> None:
    """Sets the time of a cached file that is read to now: `jora gc` removes those that were not used for long."""
    with suppress(OSError):  # gone meanwhile, or another person's file
        os.utime(path)
