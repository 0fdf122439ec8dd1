"""Vectors kept by content: computed once, equal to recomputed ones, safe against damage."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

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


def test_shards_hold_all_texts():
    texts = [str(number) for number in range(2500)]
    pieces = shards(texts)
    assert [text for piece in pieces for text in piece] == texts and len(pieces) == 3 and shards([]) == []
