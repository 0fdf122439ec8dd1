"""Files that are there whole or not at all, whoever reads or dies meanwhile."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: Path, content: bytes, *, lasting: bool = False) -> None:
    """Writes a file beside its place and renames it; its folder is made when it is missing.

    Args:
        lasting: when this returns, the file outlives the machine.
    """
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{path.name}-{secrets.token_hex(4)}"
    try:
        with draft.open("wb") as file:
            file.write(content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    if lasting:
        for entry in (folder, folder.parent):
            descriptor = os.open(entry, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
