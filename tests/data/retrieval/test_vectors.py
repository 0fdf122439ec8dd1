"""Vectors and chunks that are kept by content: computed once, equal to those computed anew, safe against damage."""

import errno
import logging
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from data.documents.chunk_memory import ChunkMemory
from data.documents.chunks import ChunkSettings, chunk_documents
from data.documents.documents import make_document
from data.files.shelf import Shelf
from data.retrieval.vectors import VectorStore, shards

ROOT = Path(__file__).parents[3]


class Counting:
    """An embedding that notes what it is asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked += texts
        return np.array([[len(text), text.count("a")] for text in texts], np.float32)


@pytest.fixture
def store(tmp_path):
    return VectorStore(tmp_path, "maker", 2)


def test_only_new_texts_are_embedded(store):
    embed = Counting()
    first = store.get(["a", "bb", "a"], embed)
    np.testing.assert_array_equal(first, [[1, 1], [2, 0], [1, 1]])
    assert embed.asked == ["a", "bb"]
    np.testing.assert_array_equal(store.get(["ccc", "bb"], embed), [[3, 0], [2, 0]])
    assert embed.asked == ["a", "bb", "ccc"] and store.missing(["d", "a", "d"]) == ["d"]


def test_makers_do_not_share(store, tmp_path):
    store.get(["a"], Counting())
    assert VectorStore(tmp_path, "other", 2).missing(["a"]) == ["a"]


def test_real_vectors_equal_those_computed_anew(embedder, tmp_path):
    texts = [f"Sentence {i} about {'a long winter and ' * (i % 7)}ferries." for i in range(40)]
    grown = VectorStore(tmp_path / "grown", embedder.fingerprint, embedder.dimension)
    grown.get(texts[:25], embedder.embed)
    grown.get([*reversed(texts[10:]), "something else"], embedder.embed)
    anew = VectorStore(tmp_path / "anew", embedder.fingerprint, embedder.dimension)
    np.testing.assert_array_equal(grown.get(texts, embedder.embed), anew.get(texts, embedder.embed))


def damage(path, kind):
    """Damage one value, the end, or the head of a shelf's file."""
    content = bytearray(path.read_bytes())
    if kind == "value":
        content[content.index(np.array([1, 1], np.float32).tobytes())] ^= 1
    path.write_bytes({"value": content, "cut": content[:-4096], "head": b"?" * 200 + content[200:]}[kind])


@pytest.mark.parametrize("kind", ["value", "cut", "head"])
def test_damage_is_computed_again(store, tmp_path, kind, caplog):
    store.get(["a", "bb"], Counting())
    (path,) = tmp_path.rglob("*.sqlite")
    damage(path, kind)
    embed = Counting()
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(store.get(["a", "bb"], embed), [[1, 1], [2, 0]])
    assert embed.asked == (["a"] if kind == "value" else ["a", "bb"])
    assert ("is damaged" in caplog.text) == (kind != "value")
    assert not store.missing(["a", "bb"])


def test_many_writers_at_once(tmp_path):
    texts = ["x" * length for length in range(1, 60)]
    barrier = threading.Barrier(4)

    def write(part):
        barrier.wait()
        return VectorStore(tmp_path, "maker", 2).get(texts[part * 10 :], Counting())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    embed = Counting()
    np.testing.assert_array_equal(VectorStore(tmp_path, "maker", 2).get(texts, embed)[:, 0], range(1, 60))
    assert not embed.asked and [path.name for path in tmp_path.iterdir()] == ["maker.sqlite"]


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


def test_shards_hold_all_texts():
    texts = [str(number) for number in range(2500)]
    pieces = shards(texts)
    assert [text for piece in pieces for text in piece] == texts and len(pieces) == 3 and shards([]) == []


def test_only_new_documents_are_cut(tmp_path):
    documents = [make_document(f"{i}.md", f"# Title {i}\n\n" + f"Text {i} goes on. " * 30) for i in range(5)]
    cut_now = []

    def cut(fresh):
        cut_now.append([document.path for document in fresh])
        return chunk_documents(fresh, lambda texts: [len(text.split()) for text in texts], ChunkSettings(max_tokens=32))

    anew = cut(documents)
    memory = ChunkMemory(tmp_path / "chunks.sqlite")
    assert memory.chunk(documents[:3], cut) == (cut(documents[:3]), 3)
    del cut_now[:]
    assert memory.chunk(documents, cut) == (anew, 2)
    assert cut_now == [["3.md", "4.md"]]
    assert memory.chunk(documents[1:4], cut) == (cut(documents[1:4]), 0)
