"""Weights stream to the devices: no process holds more than what its own devices need, and a shard."""

from pathlib import Path

import numpy as np
import pytest

from jora_model.formats.hf_weights import Checkpoint
from jora_model.model import load
from jora_model.model.load import load_model
from jora_model.runtime.sharding import make_mesh
from jora_model.spec.settings import MeshSettings
from testing.loading import in_shards, loaded
from testing.tiny_models import hf_folder

GOAL = 1.3  # times the largest shard plus what the devices hold


@pytest.mark.slow
def test_memory_of_loading(smollm2: Path, tmp_path: Path) -> None:
    """Two processes with half of SmolLM2-135M each, from five shards: the peaks of their resident memory."""
    folder = in_shards(smollm2, tmp_path)
    shards = [path.stat().st_size for path in folder.glob("*.safetensors")]
    assert len(shards) == 5
    for grown, held in loaded(folder, tmp_path, '{"fsdp": 2}', 2):
        assert 0.9 < held / (sum(shards) / 2) < 1.1
        assert grown < GOAL * (max(shards) + held)
    stored = Checkpoint(folder).slice("model.layers.7.mlp.down_proj.weight")[:]
    kernel = load_model(folder).layers.linears["down_proj"].kernel[...]
    np.testing.assert_array_equal(np.asarray(kernel[7]), stored.view(np.uint16))


@pytest.mark.parametrize("mesh", [None, MeshSettings(fsdp=2, tp=2)])
def test_weights_are_converted_in_small_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mesh: MeshSettings | None
):
    """The heartbeat of a run of several processes comes between them; the weights are the same."""
    base, largest = hf_folder(tmp_path), 0
    real = load.stored

    def stored(x: np.ndarray, dtype: object) -> np.ndarray:
        nonlocal largest
        largest = max(largest, x.size)
        return real(x, dtype)

    monkeypatch.setattr(load, "stored", stored)
    monkeypatch.setattr(load, "_CONVERTED", 100)
    model = load_model(base, mesh=None if mesh is None else make_mesh(mesh), compute_dtype="float32")
    assert largest <= 100
    whole = Checkpoint(base)
    np.testing.assert_array_equal(np.asarray(model.embed[...]), whole.slice("model.embed_tokens.weight")[:])
    for layer in range(3):
        kernel = np.asarray(model.layers.linears["down_proj"].kernel[...])[layer]
        np.testing.assert_array_equal(kernel, whole.slice(f"model.layers.{layer}.mlp.down_proj.weight")[:])
