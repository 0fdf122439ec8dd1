"""A model's folder chooses no code, no pickle and no file elsewhere; real ones pass."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from data.retrieval.embeddings import Embedder, resolve_embedder
from data.retrieval.reranker import load_reranker, resolve_reranker
from testing.small_rerankers import reranker_folder

TYPE = "sentence_transformers.models.Transformer"


def made(folder: Path, name: str, content: object) -> Path:
    """A copy of the embedded embedder with another file."""
    shutil.copytree(resolve_embedder("embedded"), folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder


def modules(**changes: Any) -> list[dict[str, Any]]:
    return [{"idx": 0, "name": "0", "path": "", "type": TYPE} | changes]


REFUSED: dict[str, tuple[str, object, str]] = {
    "a module of the folder": ("modules.json", modules(type="modeling_mine.Mine"), "type is 'modeling_mine.Mine'"),
    "a module of Python": ("modules.json", modules(type="os.system"), "type is 'os.system', which is no known part"),
    "what the library imports": (
        "modules.json",
        modules(type="sentence_transformers.util.misc.importlib"),
        "code that a model names is never run",
    ),
    "another class": ("modules.json", modules(type="sentence_transformers.trainer.Trainer"), "type is"),
    "no type": ("modules.json", [{"idx": 0, "name": "0", "path": ""}], "type is None"),
    "a path": ("modules.json", modules(path="../../other"), "path is '../../other', which is no name inside"),
    "an absolute path": ("modules.json", modules(path="/etc"), "path is '/etc'"),
    "a path of Windows": ("modules.json", modules(path="..\\other"), "which is no name inside of the folder"),
    "a function of torch": (
        "2_Dense/config.json",
        {"in_features": 2, "activation_function": "torch.hub.load"},
        "activation_function is 'torch.hub.load'",
    ),
    "a function elsewhere": ("2_Dense/config.json", {"activation_function": "os.abort"}, "activation_function is"),
    "a nested function": (
        "config.json",
        {"sentence_transformers": {"activation_fn": "torch.cuda.init"}},
        "activation_fn",
    ),
    "an old field": ("config.json", {"sbert_ce_default_activation_function": "torch.compile"}, "sbert_ce_default"),
    "a kernel": (
        "config.json",
        {"_attn_implementation": "somebody/kernel"},
        "_attn_implementation is 'somebody/kernel'",
    ),
    "a tokenizer": ("1_Words/config.json", {"tokenizer_class": "os.path"}, "tokenizer_class is 'os.path'"),
    "a router": ("1_Router/router_config.json", {"types": {"0": "os.system"}}, "types is 'os.system'"),
    "a method": (
        "sentence_bert_config.json",
        {"modality_config": {"text": {"method": "push_to_hub"}}},
        "method is 'push_to_hub'",
    ),
    "weights elsewhere": (
        "model.safetensors.index.json",
        {"weight_map": {"a": "../outside.safetensors"}},
        "weight_map is '../outside.safetensors', which is no name inside of the folder: name another embedder",
    ),
    "weights of the machine": ("model.safetensors.index.json", {"weight_map": {"a": "/etc/passwd"}}, "weight_map is"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_names_of_code_and_of_files_elsewhere_are_refused(tmp_path: Path, what: str) -> None:
    name, content, said = REFUSED[what]
    folder = made(tmp_path / "model", name, content)
    for act in (lambda: resolve_embedder(str(folder)), lambda: Embedder(folder)):
        with pytest.raises(ValueError, match="json: ") as caught:
            act()
        assert said in str(caught.value) and str(folder / name) in str(caught.value) and "\n" not in str(caught.value)


def test_what_the_library_would_run_is_not_run(tmp_path: Path) -> None:
    """A module file beside modules.json, and one of the library's own attributes."""
    folder = made(tmp_path / "model", "modules.json", modules(type="modeling_mine.Mine"))
    mark = tmp_path / "ran"
    (folder / "modeling_mine.py").write_text(
        f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass Mine: pass\n"
    )
    with pytest.raises(ValueError, match="code that a model names is never run"):
        Embedder(folder)
    assert not mark.exists()


def test_a_model_that_needs_its_own_code_is_one_line(tmp_path: Path) -> None:
    config = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.MyConfig", "AutoModel": "mine.MyModel"}}
    folder = made(tmp_path / "model", "config.json", config)
    mark = tmp_path / "ran"
    (folder / "mine.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n")
    with pytest.raises(ValueError, match="without code that comes with it, and code of a model is never run") as caught:
        Embedder(folder)
    assert not mark.exists() and "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [".", "2_Dense"])
def test_weights_that_are_a_pickle_are_refused(tmp_path: Path, place: str) -> None:
    folder = made(tmp_path / "model", f"{place}/config.json", {"hidden_size": 384})
    (folder / place / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    if place == ".":
        resolve_embedder(str(folder))  # model.safetensors stands beside it, and is read
        (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is a pickle, which may run any code") as caught:
        resolve_embedder(str(folder))
    assert str(caught.value).endswith("as safetensors, which save_pretrained of sentence-transformers writes")


def test_real_models_pass(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense
    from torch import nn

    model = SentenceTransformer(str(resolve_embedder("embedded")), device="cpu", local_files_only=True)
    model.append(Dense(384, 8, activation_function=nn.ReLU()))
    model.save_pretrained(str(tmp_path / "model"))
    written = json.loads((tmp_path / "model" / "3_Dense" / "config.json").read_text())
    assert written["activation_function"] == "torch.nn.modules.activation.ReLU"
    assert Embedder(resolve_embedder(str(tmp_path / "model"))).dimension == 8
    reranker = reranker_folder(tmp_path / "reranker")
    config = json.loads((reranker / "config.json").read_text())
    config["sentence_transformers"] = {"activation_fn": "torch.nn.modules.linear.Identity", "version": "6.2.0"}
    (reranker / "config.json").write_text(json.dumps(config))
    assert load_reranker(resolve_reranker(str(reranker)))([("a", "b")]).shape == (1,)
    config["sentence_transformers"]["activation_fn"] = "torch.utils.rename_privateuse1_backend"
    (reranker / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="activation_fn is"):
        load_reranker(reranker)
