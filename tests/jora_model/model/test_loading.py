"""Weights stream to the devices: no process holds more than what its own devices need, and a shard."""

from pathlib import Path

import numpy as np
import pytest

from jora_model.formats.hf_weights import Checkpoint
from jora_model.model.load import load_model
from testing.loading import in_shards, loaded

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
