"""Vectors and chunks that are kept by content: computed once, equal to those computed anew, safe against damage."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from data.documents.chunk_memory import ChunkMemory
from data.documents.chunks import ChunkSettings, chunk_documents
from data.documents.documents import make_document
from data.files.shelf import Shelf
from data.retrieval.vectors import VectorStore, shards


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


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_shard_is_told_and_made_again(store, tmp_path, damage, caplog):
    store.get(["a", "bb"], Counting())
    (path,) = tmp_path.rglob("*.rows")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content[:-9] if damage == "cut" else content)
    embed = Counting()
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(store.get(["a", "bb"], embed), [[1, 1], [2, 0]])
    assert embed.asked == ["a", "bb"] and "is damaged and is removed" in caplog.text


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
    assert not embed.asked and not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_an_unfinished_shard_is_not_read(tmp_path):
    shelf = Shelf(tmp_path, ".rows")
    (tmp_path / ".0123.rows-abcd").write_bytes(b"half")
    assert list(shelf.shards()) == []
    path = shelf.add(b"whole")
    assert list(shelf.shards()) == [path] and shelf.add(b"whole") == path


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
    memory = ChunkMemory(tmp_path)
    assert memory.chunk(documents[:3], cut) == (cut(documents[:3]), 3)
    del cut_now[:]
    assert memory.chunk(documents, cut) == (anew, 2)
    assert cut_now == [["3.md", "4.md"]]
    assert memory.chunk(documents[1:4], cut) == (cut(documents[1:4]), 0)
