"""Bytes by key in one SQLite file: a cache of what takes long to compute, safe with several threads and processes.

Each value is kept with its digest, so a damaged value is a miss. A file that SQLite cannot read is deleted with a
warning; its content is computed again. SQLite's rollback journal is used, not its write-ahead log, which needs memory
that all processes share: workers on other machines may see the same folder.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from data.files.whole_files import mark_used

log = logging.getLogger(__name__)

T = TypeVar("T")

_TABLE = "CREATE TABLE IF NOT EXISTS shelf (key TEXT PRIMARY KEY, digest BLOB, value BLOB)"
_READ = "SELECT shelf.* FROM json_each(?) AS wanted CROSS JOIN shelf ON shelf.key = wanted.value"
_WAIT_SECONDS = 60  # for another process that writes


class Shelf:
    """The values in one file, which is created when a value is added.

    Raises:
        OSError: of each method: the disk is full, or the file cannot be opened, read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(path)

    def get(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The values of those keys that have one."""
        if not self._path.exists():
            return {}
        wanted = (json.dumps(list(keys)),)
        rows = self._run(lambda connection: connection.execute(_READ, wanted).fetchall())
        mark_used(self._path)
        return {key: value for key, digest, value in rows if digest == _digest(key, value)}

    def add(self, values: Mapping[str, bytes]) -> None:
        """Stores values, on disk when this returns; all of them or, after a crash, none."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        rows = [(key, _digest(key, value), value) for key, value in values.items()]
        self._run(lambda connection: connection.executemany("INSERT OR REPLACE INTO shelf VALUES (?, ?, ?)", rows))

    def _run(self, act: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return self._attempt(act)
        except sqlite3.DatabaseError as error:
            code = error.sqlite_errorcode & 0xFF  # without what SQLite's extended codes add
            if code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                number = errno.ENOSPC if code == sqlite3.SQLITE_FULL else errno.EIO
                raise OSError(number, str(error), str(self._path)) from None
            log.warning("%s is damaged (%s) and is deleted: its content is computed again", self._path, error)
            self._path.unlink(missing_ok=True)
        return self._attempt(act)

    def _attempt(self, act: Callable[[sqlite3.Connection], T]) -> T:
        # A connection for each call, since a connection belongs to one thread. Immediate: a transaction that turns from
        # reading to writing does not wait for another one.
        connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level="IMMEDIATE")
        with closing(connection), connection:
            connection.execute(_TABLE)
            return act(connection)


def _digest(key: str, value: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + value).digest()[:16]
