"""A run that begins from an adapter of others: taken as it is, trained further, or refused before anything is built."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from flows.pipeline.dry_run import preflight
from flows.pipeline.stages import Pipeline
from flows.settings.config import load_config
from jora_model.formats.lora import fresh_adapter, write_adapter
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import AdapterSettings, LoraSettings
from tasks.store.store import Store
from testing.jobs_here import run_jobs_here
from testing.small_runs import SMALL, foreign_adapter, small_sources


@pytest.fixture
def given(tmp_path, monkeypatch):
    run_jobs_here(monkeypatch)
    sources = small_sources(tmp_path, 3)
    foreign_adapter(tmp_path / "adapter", ModelConfig.read(tmp_path / "base"))
    return sources


@pytest.mark.slow
def test_taken_as_it_is_and_trained_further(tmp_path, given):
    store = Store(tmp_path / "work")
    stages = []

    def call(stage, *args):
        stages.append(stage.name)
        return stage.fn(*args)

    def weights(*sets):
        config = load_config(None, given, (*SMALL, f"adapter.folder={tmp_path}/adapter", *sets))
        pipeline = Pipeline(store, config, call)
        pipeline.until("export")
        return load_file(store.path(pipeline.artifacts["export"]) / "adapter" / "adapter_model.safetensors")

    before = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    as_it_is = weights("adapter.train=false", "lora.rank=9")
    assert "train-adapter" not in stages and "continue-adapter" not in stages
    assert before.keys() == as_it_is.keys()
    assert all((as_it_is[name] == tensor).all() for name, tensor in before.items())
    further = weights("training.learning_rate=0.0001")
    assert "continue-adapter" in stages and "train-adapter" not in stages
    moved = max(abs(further[name] - tensor).max() for name, tensor in before.items())
    assert 0 < moved <= 0.0002, "one update of at most the learning rate"


@pytest.mark.slow
def test_dora_and_a_head_of_its_own_are_taken_and_exported(tmp_path, given):
    """The export's own check runs: PEFT and merged folders give the logits of the adapter that was given."""
    model, lora = ModelConfig.read(tmp_path / "base"), LoraSettings(rank=2, alpha=3)
    factors = fresh_adapter(model, lora, 0)
    random = np.random.default_rng(0)
    head = random.normal(0, 0.1, (model.vocab_size, model.hidden_size)).astype(np.float32)
    lengths = {name: random.uniform(0.5, 2, b.shape[:2]).astype(np.float32) for name, (_, b) in factors.items()}
    write_adapter(tmp_path / "own", factors, lora, "base", lengths, {"lm_head.weight": head})
    given = {**given, "work_dir": str(tmp_path / "work")}
    config = load_config(None, given, (*SMALL, f"adapter.folder={tmp_path}/own", "adapter.train=false"))
    store = Store(tmp_path / "work")
    pipeline = Pipeline(store, config, lambda stage, *args: stage.fn(*args))
    pipeline.until("export")
    export = store.path(pipeline.artifacts["export"])
    written = load_file(export / "adapter" / "adapter_model.safetensors")
    for name, tensor in load_file(tmp_path / "own" / "adapter_model.safetensors").items():
        assert (written[name] == tensor).all(), name
    assert (load_file(export / "merged" / "model.safetensors")["lm_head.weight"] == head).all()
    assert "It holds weights in place of the base model's (lm_head)" in (export / "adapter" / "README.md").read_text()
    again = config.model_copy(update={"adapter": AdapterSettings(folder=str(tmp_path / "own"))})
    with pytest.raises(ValueError, match=r"place of the base model's \(lm_head\); training that further is not impl"):
        preflight(again)


def test_refused_at_once(tmp_path, given):
    def look(*sets):
        preflight(load_config(None, given, (*SMALL, *sets)))

    with pytest.raises(ValueError, match=r"has rank 4 and lora\.rank is 8; to train it further: --set lora\.rank=4"):
        look(f"adapter.folder={tmp_path}/adapter", "lora.rank=8")
    look(f"adapter.folder={tmp_path}/adapter", "lora.rank=8", "adapter.train=false")
    look(f"adapter.folder={tmp_path}/adapter")  # its linears are the preset of lora.target_modules
    with pytest.raises(ValueError, match=r"adapter: train=false uses an existing adapter; set adapter\.folder"):
        look("adapter.train=false")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    for changes, message in (
        ({"target_modules": ["q_proj"]}, "holds unknown tensors: .*v_proj.lora_A"),
        ({"target_modules": "(q_proj"}, "target_modules: '.q_proj' is not a regular expression"),
    ):
        (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config | changes))
        with pytest.raises(ValueError, match=message):
            look(f"adapter.folder={tmp_path}/adapter", "adapter.train=false")
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    (tmp_path / "adapter" / "adapter_model.safetensors").rename(tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(ValueError, match="a pickle, which may run any code") as error:
        look(f"adapter.folder={tmp_path}/adapter")
    assert str(tmp_path / "adapter") in str(error.value)
