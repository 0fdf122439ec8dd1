"""A dry run finds what would stop training: headers of weights, and an adapter's numbers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch

from flows.pipeline.dry_run import look, preflight
from flows.settings.config import load_config
from jora_model.spec.config import ModelConfig
from testing.small_runs import SMALL, foreign_adapter, small_sources
from user_error import UserError

UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("sources")
    found = small_sources(folder)
    foreign_adapter(folder / "adapter", ModelConfig.read(folder / "base"))
    return folder, found


@pytest.fixture
def given(sources: tuple[Path, dict[str, str]], tmp_path: Path) -> dict[str, str]:
    """A base and an adapter to spoil, in `tmp_path`."""
    for name in ("base", "adapter"):
        shutil.copytree(sources[0] / name, tmp_path / name)
    return sources[1] | {"base_model": str(tmp_path / "base"), "work_dir": str(tmp_path / "work")}


def to_fp8(folder: Path) -> None:
    tensors = load_torch(folder / "base" / "model.safetensors")
    save_torch({**tensors, UP: tensors[UP].to(torch.float8_e4m3fn)}, folder / "base" / "model.safetensors")


def to_int8(folder: Path) -> None:
    path = folder / "adapter" / "adapter_model.safetensors"
    save_file({name: tensor.astype(np.int8) for name, tensor in load_file(path).items()}, path)


def nan_in_adapter(folder: Path) -> None:
    path = folder / "adapter" / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors[min(tensors)].reshape(-1)[-1] = np.nan
    save_file(tensors, path)


def without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "base" / "model.safetensors")
    del tensors[UP]
    save_file(tensors, folder / "base" / "model.safetensors")


def cut_off(folder: Path) -> None:
    path = folder / "base" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (to_fp8, rf"base/model\.safetensors: {UP} is stored as F8_E4M3; allowed are F64, F32, F16, BF16"),
        (without_a_tensor, rf"base lacks 1 tensors: {UP}"),
        (cut_off, r"base/model\.safetensors is damaged"),
        (to_int8, r"adapter_model\.safetensors: base_model\.model\.\S+ is stored as I8; allowed are"),
        (nan_in_adapter, r"adapter_model\.safetensors: base_model\.model\.\S+ holds NaN"),
    ],
)
def test_weights_are_refused(
    given: dict[str, str], tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(tmp_path)
    config = load_config(None, given, (*SMALL, f"adapter.folder={tmp_path}/adapter", "adapter.train=false"))
    for check in (lambda: look(config, "everything"), lambda: preflight(config)):
        with pytest.raises(UserError, match=message) as error:
            check()
        assert "\n" not in str(error.value)


def test_what_is_ignored_of_the_config_is_said(
    given: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "base" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "attention_dropout": 0.1, "max_length": 20}))
    look(load_config(None, given, SMALL), "everything")
    said = capsys.readouterr().out
    assert "note: attention_dropout=0.1" in said
    assert "note: fields that LlamaForCausalLM does not read are ignored: max_length" in said


@pytest.mark.parametrize("setting", ["export.gguf=q8_0", "export.gguf_lora=f16"])
def test_a_model_that_llama_cpp_does_not_compute(given: dict[str, str], tmp_path: Path, setting: str) -> None:
    """Before training, not after it; and only where an export follows."""
    path = tmp_path / "base" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_act": "gelu"}))
    config = load_config(None, given, (*SMALL, setting))
    with pytest.raises(UserError, match=r"llama has the activation silu, not gelu; set export\.gguf=none"):
        look(config, "everything")
    with pytest.raises(UserError, match="activation"):
        preflight(config)
    look(config, "evaluation")
    look(load_config(None, given, SMALL), "everything")


def test_a_tokenizer_that_gguf_does_not_hold(given: dict[str, str], tmp_path: Path) -> None:
    config = load_config(None, given, (*SMALL, "export.gguf=f16"))
    look(config, "everything")
    path = tmp_path / "base" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["byte_fallback"] = False
    path.write_text(json.dumps(tokenizer))
    with pytest.raises(UserError, match=r"GGUF export of .* is not implemented; set export\.gguf=none"):
        look(config, "everything")


def test_rounding_is_said(given: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "base" / "model.safetensors"
    save_file({name: tensor.astype(np.float16) for name, tensor in load_file(path).items()}, path)
    look(load_config(None, given, SMALL), "everything")
    said = capsys.readouterr().out
    assert "note: the base's weights are float16 and are rounded to bfloat16" in said
    assert "train-adapter" in said
    look(load_config(None, given, (*SMALL, "training.compute_dtype=float32")), "everything")
    assert "note:" not in capsys.readouterr().out
    assert json.loads((tmp_path / "base" / "config.json").read_text())["hidden_size"] == 48
