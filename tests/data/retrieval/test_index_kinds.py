"""Approximate kinds against exact search: chosen by size, tuned and measured when built, refused where they miss."""

import logging

import faiss
import numpy as np
import pytest

from data.retrieval.index import ChunkIndex
from data.retrieval.index_kinds import IndexSettings, choose_factory, recall


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """k-means of so few points is slower on two cores, which wait for one another."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


@pytest.fixture(scope="module")
def vectors():
    """Clusters, as texts form them."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((60, 32))
    vectors = (centres[rng.integers(0, 60, 3000)] + 0.5 * rng.standard_normal((3000, 32))).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def built(vectors, kind, **settings):
    ids = [f"c{i}" for i in range(len(vectors))]
    return ChunkIndex.build(vectors, ids, "embedder", IndexSettings(kind=kind, **settings))


def test_the_kind_follows_the_size():
    auto = IndexSettings()
    assert choose_factory(auto, 50_000, 384) == "Flat"
    assert choose_factory(auto, 50_001, 384) == "HNSW32,SQ8"
    assert choose_factory(auto, 1_000_000, 384) == "IVF2048,SQ8"
    assert choose_factory(IndexSettings(kind="ivfpq"), 1_000_000, 384) == "IVF2048,PQ96"
    assert choose_factory(IndexSettings(exact_up_to=10), 11, 384) == "HNSW32,SQ8"
    assert choose_factory(IndexSettings(kind="ivfpq"), 50, 31) == "IVF1,PQ1"
    assert choose_factory(IndexSettings(kind="exact"), 10**7, 384) == "Flat"


@pytest.mark.parametrize(
    ("kind", "count"),
    [("hnsw", 3000), ("ivf", 3000), pytest.param("ivfpq", 600, marks=pytest.mark.slow), ("IVF16,SQ4", 3000)],
)
def test_approximate_kinds_find_what_exact_search_finds(vectors, kind, count, tmp_path, caplog):
    vectors = vectors[:count]
    with caplog.at_level(logging.INFO, "data"):
        index = built(vectors, kind)
    assert index.quality.recall >= 0.95 and index.quality.sample == 256 and index.quality.effort
    assert f"finds {100 * index.quality.recall:.1f}% of the 10 nearest chunks" in caplog.text
    queries = vectors[:100] + 0.01
    exact_scores, exact = built(vectors, "exact").search(queries, 10)
    scores, found = index.search(queries, 10)
    shared = sum(len(set(a) & set(b)) for a, b in zip(found, exact, strict=True)) / 1000
    assert shared >= 0.95
    np.testing.assert_allclose(scores[:, 0], exact_scores[:, 0], atol=1e-6)  # scored by the exact vectors
    np.testing.assert_array_equal(index.vectors(), vectors)

    index.save(tmp_path / "one")
    loaded = ChunkIndex.load(tmp_path / "one", "embedder")
    assert loaded.quality == index.quality and isinstance(loaded.vectors(), np.memmap)
    assert loaded.search(queries, 10)[1] == found
    built(vectors, kind).save(tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_an_index_below_the_floor_is_refused(vectors):
    with pytest.raises(ValueError, match=r"'PCA2,Flat' finds 0\.\d+ of the 10 nearest .* index.min_recall=0.99"):
        built(vectors, "PCA2,Flat", min_recall=0.99)
    assert built(vectors, "PCA2,Flat", min_recall=0.0).quality.recall < 0.99


def test_a_kind_that_faiss_does_not_know_is_refused(vectors):
    for kind in ("no such kind", "IVF4,PQ7"):
        with pytest.raises(ValueError, match=f"no index '{kind}' over 3000 vectors.*set index.kind to") as caught:
            built(vectors, kind)
        assert "\n" not in str(caught.value)


def test_few_vectors(vectors):
    index = built(vectors[:3], "hnsw")
    assert index.search(vectors[:1], 10)[1] == built(vectors[:3], "exact").search(vectors[:1], 10)[1]
    assert index.search(vectors[:0], 10)[0].shape == (0, 3)
    with pytest.raises(ValueError, match=r"no index 'IVF1,PQ8' over 3 vectors .*training points"):
        built(vectors[:3], "ivfpq")


def test_damage_to_the_exact_vectors_is_seen(vectors, tmp_path):
    built(vectors, "hnsw").save(tmp_path)
    path = tmp_path / "vectors.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"vectors\.npy is missing or damaged"):
        ChunkIndex.load(tmp_path, "embedder")
    ChunkIndex.load(tmp_path, "embedder", check=False)
    path.unlink()
    with pytest.raises(ValueError, match=r"vectors\.npy is missing or damaged"):
        ChunkIndex.load(tmp_path, "embedder", check=False)


def test_recall_leaves_the_asking_chunk_out():
    found, nearest = np.array([[0, 1, 2], [1, 5, 6]]), np.array([[0, 1, 3], [1, 5, 6]])
    assert recall(found, nearest, np.array([0, 1])) == 3 / 4
