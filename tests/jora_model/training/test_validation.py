"""The validation loss: exact whatever the packing; the best adapter and the early stop survive interruptions."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import peft
import pytest
import torch

import jora_model.training.train
from jora_model.model.load import load_model
from jora_model.runtime.sharding import make_mesh
from jora_model.spec.settings import LoraSettings, MeshSettings
from jora_model.training.step import Trainer
from jora_model.training.train import train
from jora_model.training.validation import Validation
from testing.adapters import nonzero_adapter
from testing.peft_reference import answer_losses
from testing.sequences import random_sequences, write_sequences
from testing.tiny_models import hf_model
from testing.train_jobs import SETTINGS, adapter_bytes, job, metrics, summary

HELD_OUT = random_sequences(1, count=9)
# With these settings the loss on HELD_OUT falls until the fifth update of twelve and rises after it.
WATCHED = {"schedule": "constant", "validate_every": 1}
STOPPED = {**WATCHED, "patience": 3}


@pytest.fixture(scope="module")
def held_out(tmp_path_factory) -> Path:
    return write_sequences(tmp_path_factory.mktemp("held_out"), HELD_OUT)


@pytest.fixture(scope="module")
def watched(base, data, held_out, tmp_path_factory) -> Path:
    """A whole run with a validation after every update."""
    folder = tmp_path_factory.mktemp("watched")
    train(job(base, data, folder, held_out, **WATCHED))
    return folder


@pytest.fixture(scope="module")
def stopped(base, data, held_out, tmp_path_factory) -> Path:
    """The same with an early stop."""
    folder = tmp_path_factory.mktemp("stopped")
    train(job(base, data, folder, held_out, **STOPPED))
    return folder


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory) -> Path:
    """An adapter with B not zero, and with dropout, which a validation leaves out."""
    folder = tmp_path_factory.mktemp("adapter")
    nonzero_adapter(folder, base, LoraSettings(rank=3, alpha=7.5, dropout=0.5))
    return folder


@pytest.fixture(scope="module")
def expected(adapter) -> float:
    """Mean loss over all answer tokens by transformers and PEFT, one example at a time."""
    model = peft.PeftModel.from_pretrained(hf_model(), adapter).eval()
    with torch.no_grad():
        return torch.cat([answer_losses(model, sequence) for sequence in HELD_OUT]).double().mean().item()


@pytest.mark.parametrize(
    ("mesh", "changes"),
    [
        (None, {}),
        (None, {"row_length": 40}),
        (None, {"row_length": 200}),
        (None, {"rows_per_microbatch": 1}),
        (MeshSettings(data=2, fsdp=2, tp=2), {}),
    ],
)
def test_equals_peft_whatever_the_packing(base, adapter, expected, mesh, changes):
    settings = SETTINGS.model_copy(update=changes)
    placed = make_mesh(mesh) if mesh else None
    trainer = Trainer(load_model(base, adapter=adapter, mesh=placed, compute_dtype=jnp.float32), settings, 1)
    validation = Validation(HELD_OUT, settings, trainer.state.adapter)
    assert validation.measure(trainer, 3) == pytest.approx(expected, rel=1e-5)
    assert validation.best.update == 3
    # One program, and no gradient's.
    assert list(trainer.programs.compilations) == [f"evaluate {settings.rows_per_microbatch}x{settings.row_length}"]


def test_watching_changes_nothing(base, data, watched, tmp_path):
    train(job(base, data, tmp_path, schedule="constant"))
    assert [row["loss"] for row in metrics(tmp_path)] == [row["loss"] for row in metrics(watched)]
    assert summary(tmp_path)["validation"] is None


@pytest.mark.slow
def test_the_best_adapter_is_kept(base, data, held_out, watched, tmp_path):
    losses = [row["validation_loss"] for row in metrics(watched)]
    best = int(np.argmin(losses)) + 1
    assert 1 < best < len(losses) == 12
    assert summary(watched)["validation"]["best"] == {"update": best, "loss": losses[best - 1], "since": 12 - best}
    assert summary(watched)["adapter_of_update"] == best
    # The same as training no further than that; and not the last one, which is there for the asking.
    train(job(base, data, tmp_path / "short", schedule="constant", max_updates=best))
    assert adapter_bytes(tmp_path / "short") == adapter_bytes(watched)
    train(job(base, data, tmp_path / "last", held_out, **WATCHED, keep_best=False))
    train(job(base, data, tmp_path / "plain", schedule="constant"))
    assert adapter_bytes(tmp_path / "last") == adapter_bytes(tmp_path / "plain") != adapter_bytes(watched)
    assert summary(tmp_path / "last")["adapter_of_update"] == 12


@pytest.mark.parametrize(("every", "validated"), [(1, range(1, 13)), (5, [5, 10, 12]), (100, [12])])
def test_validated_every_few_updates_and_at_the_end(base, data, held_out, tmp_path, every, validated):
    train(job(base, data, tmp_path, held_out, validate_every=every))
    assert [row["update"] for row in metrics(tmp_path) if "validation_loss" in row] == list(validated)


def test_early_stop(watched, stopped):
    assert summary(stopped)["updates"] == summary(watched)["adapter_of_update"] + 3 == len(metrics(stopped)) == 8
    assert summary(stopped)["planned_updates"] == 12
    assert adapter_bytes(stopped) == adapter_bytes(watched)


def timeless_metrics(folder: Path) -> list[dict]:
    """The metrics without times."""
    names = ("update", "epoch", "loss", "validation_loss", "gradient_norm", "learning_rate", "examples")
    return [{name: row[name] for name in names if name in row} for row in metrics(folder)]


@pytest.mark.parametrize(
    "stop_at",
    [*(pytest.param(update, marks=pytest.mark.slow) for update in (1, 3, 6, 7, 8)), 5, "after the last update"],
)
def test_interrupted_equals_uninterrupted(base, data, held_out, stopped, tmp_path, monkeypatch, stop_at):
    """Before, at and after the best update and the early stop, which is the eighth; a checkpoint every second one."""
    real, calls = Trainer.apply, []

    def apply(self, sums):
        calls.append(1)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return real(self, sums)

    def no_writing(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if isinstance(stop_at, int):
            patch.setattr(Trainer, "apply", apply)
        else:
            patch.setattr(jora_model.training.train, "write_adapter", no_writing)
        with pytest.raises(KeyboardInterrupt):
            train(job(base, data, tmp_path, held_out, **STOPPED))
    train(job(base, data, tmp_path, held_out, **STOPPED))
    assert adapter_bytes(tmp_path) == adapter_bytes(stopped)
    assert timeless_metrics(tmp_path) == timeless_metrics(stopped)
    for fact in ("validation", "adapter_of_update", "updates", "planned_updates"):
        assert summary(tmp_path)[fact] == summary(stopped)[fact]


def test_patience_without_validation_examples_is_refused(base, data, tmp_path):
    with pytest.raises(ValueError, match=r"patience=2 needs validation examples; set split.validation_frac"):
        train(job(base, data, tmp_path, patience=2))


def test_other_held_out_examples_are_another_job(base, data, held_out, tmp_path):
    train(job(base, data, tmp_path, held_out, max_updates=1))
    other = write_sequences(tmp_path / "other", random_sequences(2, count=9))
    for changed in (other, None):
        with pytest.raises(ValueError, match="another job"):
            train(job(base, data, tmp_path, changed, max_updates=1))


def test_loss_that_is_not_finite(base, adapter):
    trainer = Trainer(load_model(base, adapter=adapter, compute_dtype=jnp.float32), SETTINGS, 1)
    validation = Validation(HELD_OUT, SETTINGS, trainer.state.adapter)
    broken = jax.tree.map(lambda factor: factor * jnp.nan, trainer.state.adapter)
    trainer.state = trainer.state._replace(adapter=broken)
    with pytest.raises(ValueError, match="validation loss nan after update 4 is not finite"):
        validation.measure(trainer, 4)
