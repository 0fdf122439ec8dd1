"""Weights of a Hugging Face folder: which files they are, what they may hold, and how a tensor is read."""

import io
import json
import logging
import re
import threading
import time

import ml_dtypes
import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file, save_file

from jora_model.formats import tensor_file
from jora_model.formats.hf_weights import Checkpoint, facts_and_weights, model_facts, rounding_note, tensor_files
from jora_model.formats.tensor_file import Unreadable, check_finite, read_header
from jora_model.model.load import load_model
from jora_model.runtime.process import EXIT_AGAIN, exit_code
from jora_model.spec.config import ModelConfig
from testing.tiny_models import hf_folder
from user_error import UserError

HEAD, EMBED, UP = "lm_head.weight", "model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight"
INDEX = "model.safetensors.index.json"
KINDS = (np.float64, np.float32, np.float16, ml_dtypes.bfloat16)


def rewritten(folder, change):
    """The folder with other tensors in model.safetensors."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def in_two(folder, index=True):
    """The folder with its weights in two shards."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {name: f"model-0000{1 + (n % 2)}-of-00002.safetensors" for n, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: tensors[name] for name in names if files[name] == file}, folder / file, {"format": "pt"})
    if index:
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return folder


# A tensor.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "index",
    [
        (),
        (slice(3, 11), slice(None)),
        (slice(None), slice(2, 5)),
        (slice(1, 12), slice(0, 6)),
        (slice(4, 4), slice(None)),
    ],
)
def test_parts_of_a_tensor(tmp_path, monkeypatch, kind, index):
    monkeypatch.setattr(tensor_file, "_PIECE", 24)  # a few numbers, and less than a row
    values = np.random.default_rng(0).normal(size=(13, 7)).astype(kind)
    save_file({"before": np.zeros(3, np.float32), "x": values, "y": values + 1}, tmp_path / "a.safetensors")
    found = read_header(tmp_path / "a.safetensors")["x"][index]
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values[index])


def test_vectors_scalars_and_nothing(tmp_path):
    tensors = {"v": np.arange(5, dtype=np.float32), "s": np.float32(3), "n": np.zeros((0, 4), np.float32)}
    save_file({name: np.asarray(value) for name, value in tensors.items()}, tmp_path / "a.safetensors")
    header = read_header(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(header["v"][1:3], [1, 2])
    assert header["s"][:] == 3
    assert header["n"][:].shape == (0, 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_nan_anywhere(tmp_path, monkeypatch, kind, value):
    monkeypatch.setattr(tensor_file, "_PIECE", 16)
    values = np.ones(50, kind)
    check_finite(values, "x", tmp_path)
    for place in (0, 31, 49):
        spoilt = values.copy()
        spoilt[place] = value
        with pytest.raises(UserError, match="x holds NaN, infinite or too large values"):
            check_finite(spoilt, "x", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_every_finite_number_of_bfloat16_is_allowed(tmp_path, kind):
    """And in the wider dtypes none that bfloat16 rounds to infinity."""
    largest = np.finfo(kind).max if kind == np.float16 else ml_dtypes.finfo(ml_dtypes.bfloat16).max
    check_finite(np.array([largest, -largest], kind), "x", tmp_path)
    if kind in (np.float32, np.float64):
        rounds_up = np.uint32(0x7F7F8000).view(np.float32)
        check_finite(np.array([np.nextafter(rounds_up, np.float32(0))], kind), "x", tmp_path)
        with pytest.raises(UserError, match="too large"):
            check_finite(np.array([rounds_up], kind), "x", tmp_path)


def test_reading_leaves_other_threads_running(tmp_path):
    """The heartbeat among them: a slow disk must not hold Python's lock for as long as a large tensor takes."""
    path, size = tmp_path / "a.safetensors", 1 << 29
    header = json.dumps({"x": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)  # sparse
    longest, done = 0.0, threading.Event()

    def beat():
        nonlocal longest
        last = time.monotonic()
        while not done.is_set():
            time.sleep(0.001)
            now = time.monotonic()
            longest, last = max(longest, now - last), now

    beating = threading.Thread(target=beat)
    beating.start()
    begun = time.monotonic()
    assert not read_header(path)["x"][:].any()
    took = time.monotonic() - begun
    done.set()
    beating.join()
    assert longest < took / 2


def test_a_file_that_shrinks_or_cannot_be_read(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"x": np.ones(1000, np.float32)}, path)
    tensor = read_header(path)["x"]
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"a\.safetensors has become shorter"):
        tensor[:]
    path.unlink()
    with pytest.raises(UserError, match=r"a\.safetensors cannot be read: No such file"):
        tensor[:]


def test_a_link_is_told_by_the_file_behind_it(tmp_path):
    """Work directories link to a person's files; Hugging Face's cache to files with no name."""
    (tmp_path / "blobs").mkdir()
    save_file({"x": np.array([np.nan], np.float32)}, tmp_path / "blobs" / "0a1b")
    for folder, target in (("mine", "../blobs/0a1b"), ("store", "../mine/a.safetensors")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.safetensors").symlink_to(target)
        with pytest.raises(UserError, match=r"mine/a\.safetensors: x holds NaN"):
            read_header(tmp_path / folder / "a.safetensors")["x"][:]


def test_a_disk_that_fails_may_be_tried_again(tmp_path, monkeypatch):
    class Broken(io.BytesIO):
        def readinto(self, target):
            raise OSError(5, "Input/output error")

    save_file({"x": np.ones(9, np.float32)}, tmp_path / "a.safetensors")
    tensor = read_header(tmp_path / "a.safetensors")["x"]
    monkeypatch.setattr(tensor_file, "_open_raw", lambda path: Broken(b"x" * 1000))
    with pytest.raises(Unreadable, match=r"a\.safetensors cannot be read: Input/output error") as error:
        tensor[:]
    assert exit_code(error.value) == EXIT_AGAIN


# Which files.


def test_shards_need_no_index(tmp_path):
    whole, split = hf_folder(tmp_path / "whole"), in_two(hf_folder(tmp_path / "split"), index=False)
    found, wanted = Checkpoint(split), Checkpoint(whole)
    assert found.names() == wanted.names()
    for name in wanted.names():
        np.testing.assert_array_equal(found.slice(name)[:], wanted.slice(name)[:])
    (split / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match=r"lacks model-00002-of-00002\.safetensors \(it has 1 of 2 shards\)"):
        tensor_files(split)


def test_shards_of_two_models(tmp_path):
    folder = in_two(hf_folder(tmp_path), index=False)
    (folder / "model-00001-of-00003.safetensors").write_bytes(
        (folder / "model-00001-of-00002.safetensors").read_bytes()
    )
    with pytest.raises(UserError, match="holds shards of 00002 and of 00003 files"):
        tensor_files(folder)


def test_a_tensor_that_two_shards_hold(tmp_path):
    folder = in_two(hf_folder(tmp_path))
    for file in folder.glob("model-*.safetensors"):
        save_file({**load_file(file), UP: np.zeros((80, 48), np.float32)}, file)
    message = rf"model-00001-of-00002\.safetensors, model-00002-of-00002\.safetensors each hold {re.escape(UP)}"
    with pytest.raises(UserError, match=message):
        tensor_files(folder)


def test_of_one_file_and_shards_the_file_is_read(tmp_path, caplog):
    """As transformers does."""
    other = in_two(hf_folder(tmp_path / "other", seed=1))
    folder = hf_folder(tmp_path / "base")
    for path in other.glob("model*"):
        (folder / path.name).write_bytes(path.read_bytes())
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict()[UP]
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(Checkpoint(folder).slice(UP)[:], theirs)
    assert "holds model.safetensors and model.safetensors.index.json: the former is read" in caplog.text


def test_tensors_that_the_index_does_not_list_are_there(tmp_path):
    """As in transformers, which reads all tensors of the files that the index lists."""
    folder = in_two(hf_folder(tmp_path))
    index = json.loads((folder / INDEX).read_text())
    del index["weight_map"][UP]
    (folder / INDEX).write_text(json.dumps(index))
    assert UP in Checkpoint(folder).names()


# What they hold.


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [(torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3"), (torch.uint8, "U8"), (torch.bool, "BOOL")],
)
def test_codes_are_no_weights(tmp_path, dtype, stored):
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file as save_torch

    folder = hf_folder(tmp_path)
    tensors = load_torch(folder / "model.safetensors")
    save_torch({**tensors, UP: tensors[UP].to(dtype)}, folder / "model.safetensors")
    for opened in (model_facts, load_model):
        with pytest.raises(UserError, match=rf"{re.escape(UP)} is stored as {stored}; allowed are F64, F32, F16, BF16"):
            opened(folder)


def test_float64_is_cast_as_by_transformers(tmp_path):
    folder = rewritten(hf_folder(tmp_path), lambda tensors: tensors.update({UP: tensors[UP].astype(np.float64) / 3}))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()[UP]
    ours = load_model(folder, compute_dtype="float32").layers.linears["up_proj"].kernel[...][1]
    np.testing.assert_array_equal(np.asarray(ours), theirs)


@pytest.mark.parametrize("name", [UP, EMBED, "model.norm.weight"])
def test_nan_is_found_when_the_model_is_loaded(tmp_path, name):
    def spoil(tensors):
        tensors[name].reshape(-1)[-1] = np.nan

    folder = rewritten(hf_folder(tmp_path), spoil)
    with pytest.raises(UserError, match=rf"model\.safetensors: {re.escape(name)} holds NaN"):
        load_model(folder)


# A head of its own.


def own_head(folder, **changes):
    return rewritten(
        hf_folder(folder, tie_word_embeddings=True),
        lambda tensors: tensors.update({HEAD: tensors[EMBED] * np.float32(1.5), **changes}),
    )


def their_logits(folder, tokens):
    with torch.no_grad():
        return transformers.AutoModelForCausalLM.from_pretrained(folder)(torch.tensor(tokens)).logits.numpy()


def our_logits(folder, tokens):
    import jax.numpy as jnp

    model = load_model(folder, compute_dtype="float32")
    positions = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
    hidden = model.hidden_states(
        jnp.asarray(tokens, jnp.int32), positions, jnp.full(tokens.shape, tokens.shape[1], jnp.int32)
    )
    return np.asarray(model.head(hidden))


def test_a_head_of_its_own_is_not_tied(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("jora_model.formats.hf_weights._COMPARED", 100)  # a few rows at once
    folder, tokens = own_head(tmp_path), np.arange(3, 40)[None]
    with caplog.at_level(logging.WARNING):
        assert not model_facts(folder).tie_embeddings
    assert "they are not tied (as in transformers)" in caplog.text
    assert ModelConfig.read(folder).tie_embeddings
    theirs = their_logits(folder, tokens)
    np.testing.assert_allclose(our_logits(folder, tokens), theirs, atol=1e-4 * np.sqrt(np.mean(theirs**2)))


def test_a_head_stands_for_the_embedding(tmp_path):
    """Where only one of the two is stored, it is both: transformers ties either way."""
    folder = rewritten(
        hf_folder(tmp_path, tie_word_embeddings=True), lambda tensors: tensors.update({HEAD: tensors.pop(EMBED)})
    )
    tokens = np.arange(3, 40)[None]
    theirs = their_logits(folder, tokens)
    np.testing.assert_allclose(our_logits(folder, tokens), theirs, atol=1e-4 * np.sqrt(np.mean(theirs**2)))


def test_only_the_last_row_differs(tmp_path):
    def change(tensors):
        tensors[HEAD] = tensors[EMBED].copy()
        tensors[HEAD][-1, -1] += 1

    assert not model_facts(rewritten(hf_folder(tmp_path, tie_word_embeddings=True), change)).tie_embeddings


def test_a_head_that_rounding_makes_equal_is_of_its_own(tmp_path):
    """Whoever opens the model, and however it is read."""
    folder = rewritten(
        hf_folder(tmp_path, tie_word_embeddings=True),
        lambda tensors: tensors.update(
            {EMBED: np.full_like(tensors[EMBED], 1, np.float16), HEAD: np.full_like(tensors[EMBED], 1.001, np.float16)}
        ),
    )
    for rounded in (False, True):
        assert not facts_and_weights(folder, rounded)[0].tie_embeddings


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_same_head_twice_is_tied(tmp_path, kind):
    folder = rewritten(
        hf_folder(tmp_path, tie_word_embeddings=True),
        lambda tensors: tensors.update({HEAD: tensors[EMBED].astype(kind)}),
    )
    assert model_facts(folder).tie_embeddings
    assert model_facts(hf_folder(tmp_path / "untied")) == ModelConfig.read(tmp_path / "untied")


def test_a_head_of_another_shape_is_refused(tmp_path):
    folder = rewritten(
        hf_folder(tmp_path, tie_word_embeddings=True), lambda tensors: tensors.update({HEAD: tensors[EMBED][:-1]})
    )
    with pytest.raises(UserError, match=rf"{re.escape(HEAD)} has shape"):
        model_facts(folder)


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        (torch.bfloat16, None),
        (torch.float16, "are float16 and are rounded to bfloat16 .* so are all weights of the merged model"),
        (torch.float32, "are float32 and are rounded to bfloat16 .* while the merged model keeps float32"),
    ],
)
def test_rounding_is_said(tmp_path, dtype, said):
    from testing.tiny_models import hf_model

    hf_model().to(dtype).save_pretrained(tmp_path)
    checkpoint = Checkpoint(tmp_path)
    assert rounding_note(checkpoint, "float32") is None
    note = rounding_note(checkpoint, "bfloat16")
    assert note is None if said is None else re.search(said, note)
