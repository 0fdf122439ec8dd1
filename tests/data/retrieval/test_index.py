"""The index against exact search in NumPy, and its files against damage."""

import numpy as np
import pytest

from data.retrieval.index import ChunkIndex


def normalized(rng, shape):
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def vectors():
    return normalized(np.random.default_rng(0), (300, 32))


@pytest.fixture
def index(vectors):
    return ChunkIndex.build(vectors, [f"c{i}" for i in range(len(vectors))], "embedder")


def test_search_is_exact(index, vectors):
    queries = normalized(np.random.default_rng(1), (50, 32))
    scores, ids = index.search(queries, 7)
    exact = queries @ vectors.T
    order = np.argsort(-exact, axis=1, kind="stable")[:, :7]
    assert ids == [[f"c{i}" for i in row] for row in order]
    np.testing.assert_allclose(scores, np.take_along_axis(exact, order, axis=1), atol=1e-6)
    assert scores.dtype == np.float32


def test_k_is_at_most_the_number_of_chunks(index, vectors):
    scores, ids = index.search(vectors[:2], 1000)
    assert scores.shape == (2, 300) and sorted(ids[0]) == sorted(index.chunk_ids)
    with pytest.raises(ValueError, match="k=0"):
        index.search(vectors[:2], 0)


def test_equal_scores_come_in_the_order_of_the_chunks(vectors):
    vectors[[250, 3, 77, 120]] = vectors[3]
    index = ChunkIndex.build(vectors, [f"c{i}" for i in range(len(vectors))], "embedder")
    for queries in (vectors[3:4], np.repeat(vectors[3:4], 40, axis=0)):
        for k in (2, 4, 6):
            _, ids = index.search(queries, k)
            assert all(row[:4] == ["c3", "c77", "c120", "c250"][:k] for row in ids)


def test_saved_and_loaded_is_the_same(index, vectors, tmp_path):
    index.save(tmp_path / "index")
    loaded = ChunkIndex.load(tmp_path / "index", "embedder")
    assert loaded.chunk_ids == index.chunk_ids and len(loaded) == 300
    np.testing.assert_array_equal(loaded.vectors(), vectors)
    assert loaded.search(vectors[:5], 3)[1] == index.search(vectors[:5], 3)[1]
    index.save(tmp_path / "again")
    for path in (tmp_path / "index").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_another_embedder_is_refused(index, tmp_path):
    index.save(tmp_path)
    with pytest.raises(ValueError, match=r"built by another embedder \(embedder, not other\)"):
        ChunkIndex.load(tmp_path, "other")


@pytest.mark.parametrize("name", ["index.faiss", "chunk_ids.json", "index.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "gone"])
def test_damaged_files_are_refused_by_name(index, tmp_path, name, damage):
    index.save(tmp_path)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    elif damage == "flip":
        content[len(content) // 2] ^= 0x80
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    with pytest.raises(ValueError, match=f"{name}.*(delete|build)") as caught:
        ChunkIndex.load(tmp_path, "embedder")
    assert "\n" not in str(caught.value)


def test_no_chunks_no_index():
    with pytest.raises(ValueError, match="no chunks"):
        ChunkIndex.build(np.zeros((0, 4), np.float32), [], "embedder")
