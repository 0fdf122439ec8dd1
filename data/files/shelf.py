"""A folder of shards that is only added to: what was computed once for a content is found there by that content.

A shard is a file named by the digest of its bytes. It is written beside its place and renamed, so that a reader sees
all of it or nothing, and two processes that add at the same time do not meet. A damaged shard is told and removed: what
it held is computed again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

from data.files.whole_files import write_whole

log = logging.getLogger(__name__)

_DIGITS = 32  # hex digits of a shard's digest in its name


class Shelf:
    """The shards of one folder.

    Args:
        folder: made when something is added.
        suffix: of the shards' names.
    """

    def __init__(self, folder: Path, suffix: str) -> None:
        self.folder = Path(folder)
        self.suffix = suffix

    def add(self, content: bytes) -> Path:
        """Writes a shard; the same bytes are the same shard."""
        path = self.folder / f"{hashlib.sha256(content).hexdigest()[:_DIGITS]}{self.suffix}"
        write_whole(path, content, durable=True)
        return path

    def shards(self) -> Iterator[Path]:
        """The shards that hold what was written, in the order of their names."""
        for path in sorted(self.folder.glob(f"[0-9a-f]*{self.suffix}")):
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:  # another process found it damaged
                continue
            if digest.startswith(path.stem):
                yield path
            else:
                log.warning("%s is damaged and is removed: what it held is computed again", path)
                path.unlink(missing_ok=True)
