"""Embedding fanned out: shards mapped over threads or a real Dask cluster give the same vectors, kept in one place."""

import sys
from pathlib import Path

import numpy as np
import pytest
from prefect import flow

from data.documents.chunks import Chunk
from data.files.jsonl import write_jsonl
from data.retrieval.embeddings import Embedder, EmbeddingSettings, resolve_embedder
from data.retrieval.index_kinds import IndexSettings
from data.retrieval.vectors import shards
from tasks.stages.embedding import _runner, check_workers, embed_shard
from tasks.stages.loading import open_embedder, open_vectors
from tasks.stages.retrieval import index_chunks
from tasks.stages.sources import snapshot_embedder
from tasks.store.artifacts import Artifact
from tasks.store.store import Store

TEXTS = [f"The {word} of house {number} faces the sea." for number in range(4) for word in ("door", "roof", "wall")]


@pytest.fixture
def few_in_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.retrieval.vectors._SHARD_TEXTS", 5)


def sources(work: Path) -> tuple[Store, Artifact, Artifact]:
    store = Store(work)
    with store.build("chunks") as build:
        chunks = [Chunk(f"d-{i}-9", "d", "d.md", i, 9, (), text) for i, text in enumerate(TEXTS)]
        write_jsonl(build.folder / "chunks.jsonl", chunks)
    return store, build.artifact, snapshot_embedder.fn(store, "embedded")


def indexed(work: Path, embedding: EmbeddingSettings) -> tuple[Store, Artifact, int]:
    """The index, and how many shards of texts were embedded before its stage began."""
    store, chunks, embedder = sources(work)
    planned: list[list[str]] = []

    def noted(texts: list[str]) -> list[list[str]]:
        planned.extend(shards(texts))
        return planned

    @flow
    def build() -> Artifact:
        return index_chunks(store, chunks, embedder, embedding, IndexSettings(), False)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tasks.stages.embedding.shards", noted)
        index = build()
    return store, index, len(planned)


def test_dask_workers_make_the_same_vectors(tmp_path, prefect_server, few_in_a_shard):
    from distributed import LocalCluster

    anew = Embedder(resolve_embedder("embedded")).embed(TEXTS)
    _, threads, count = indexed(tmp_path / "threads", EmbeddingSettings())
    assert count == 3
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        workers = EmbeddingSettings(workers=cluster.scheduler_address)
        store, dask, count = indexed(tmp_path / "dask", workers)
    assert count == 3 and dask == threads  # the index's bytes
    model = open_embedder(store, sources(tmp_path / "dask")[2])
    kept = open_vectors(store, model)
    assert not kept.missing(TEXTS)
    np.testing.assert_array_equal(kept.get(TEXTS, model.embed), anew)


def test_an_index_over_kept_vectors_embeds_nothing(tmp_path, prefect_server, monkeypatch):
    _, first, count = indexed(tmp_path, EmbeddingSettings())
    assert count == 1  # fewer than a shard: the stage itself embeds them
    monkeypatch.setattr(Embedder, "embed", lambda *_: pytest.fail("embedded again"))
    assert indexed(tmp_path, EmbeddingSettings(workers="tcp://nobody.invalid:1"))[1] == first


def test_a_scheduler_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr("tasks.stages.embedding.CONNECT_SECONDS", 1)
    with pytest.raises(ValueError, match=r"no Dask scheduler answers at embedding.workers=tcp://127.0.0.1:9") as caught:
        _runner("tcp://127.0.0.1:9")
    assert "\n" not in str(caught.value)


def test_workers_without_their_package_are_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    check_workers(EmbeddingSettings())
    with pytest.raises(ValueError, match=r"needs prefect-dask.*pip install -c constraints.txt -e '.\[dask\]'"):
        check_workers(EmbeddingSettings(workers="dask"))
    with pytest.raises(ValueError, match="workers"):
        EmbeddingSettings(workers="ray")


def test_more_texts_than_a_server_takes_as_parameters(tmp_path, prefect_server, monkeypatch):
    """Prefect keeps a flow's parameters, and refuses them over half a megabyte: texts are none."""
    monkeypatch.setattr(Embedder, "embed", lambda model, texts, **_: np.ones((len(texts), model.dimension), np.float32))
    monkeypatch.setattr(sys.modules[__name__], "TEXTS", [f"{number} {'word ' * 120}" for number in range(1100)])
    assert indexed(tmp_path, EmbeddingSettings())[2] == 2


def test_a_worker_that_makes_other_vectors_is_refused(tmp_path):
    folder = str(resolve_embedder("embedded"))
    with pytest.raises(ValueError, match=r"a worker of embedding.workers=dask has another processor"):
        embed_shard.fn(str(tmp_path), folder, "other", EmbeddingSettings(workers="dask"), ["A text."])
