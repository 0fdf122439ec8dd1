"""A shelf after a killed writer and on a full disk; damage and many writers are in test_vectors.py."""

import errno
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from data.files.shelf import Shelf

ROOT = Path(__file__).parents[3]


def test_a_killed_writer_leaves_all_or_nothing(tmp_path):
    shelf = Shelf(tmp_path / "shelf.sqlite")
    shelf.add({"old": b"0"})
    writer = """
import os, sys
from pathlib import Path
from data.files.shelf import Shelf
shelf = Shelf(Path(sys.argv[1]))
shelf.add({"kept": b"1"})
def write_and_die(connection):
    connection.execute("PRAGMA cache_size = 1")  # so that pages reach the file before the commit
    rows = ((f"key {number}", b"", b"x" * 9000) for number in range(50))
    connection.executemany("INSERT INTO shelf VALUES (?, ?, ?)", rows)
    os._exit(9)
shelf._run(write_and_die)
"""
    done = subprocess.run([sys.executable, "-c", writer, str(tmp_path / "shelf.sqlite")], cwd=ROOT, timeout=60)
    assert done.returncode == 9 and (tmp_path / "shelf.sqlite-journal").exists()
    assert shelf.get(["old", "kept", "key 0", "key 49"]) == {"old": b"0", "kept": b"1"}
    shelf.add({"new": b"2"})
    assert shelf.get(["new"]) == {"new": b"2"} and not (tmp_path / "shelf.sqlite-journal").exists()


def test_a_full_disk_is_an_error_of_the_system(tmp_path, monkeypatch):
    connect = sqlite3.connect

    def small(path, **settings):
        connection = connect(path, **settings)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(OSError, match="disk is full") as caught:
        Shelf(tmp_path / "shelf.sqlite").add({"a": b""})
    assert caught.value.errno == errno.ENOSPC
