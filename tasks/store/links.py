"""Links and small files that are replaced by one rename, so that a reader sees the old or the new, whole."""

import os
import secrets
from pathlib import Path


def point(link: Path, target: Path) -> None:
    """Make or replace a link. It is relative, so that a work directory can be moved."""
    fresh = link.with_name(f".{link.name}-{secrets.token_hex(4)}")
    fresh.symlink_to(os.path.relpath(target, link.parent))
    fresh.replace(link)


def replace_text(path: Path, text: str) -> None:
    """Write or replace a file, on disk before it takes the name."""
    fresh = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
