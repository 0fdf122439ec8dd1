"""Training: exact whatever the packing, the mesh and the interruptions; one trace; the base untouched."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from jora_model.formats.tensor_file import Unreadable
from jora_model.model.load import load_model
from jora_model.packing.sampler import Sampler
from jora_model.packing.tries import pack
from jora_model.runtime.process import EXIT_AGAIN, exit_code
from jora_model.runtime.sharding import make_mesh
from jora_model.spec.job import TrainJob, TrainSettings
from jora_model.spec.settings import LoraSettings, MeshSettings
from jora_model.training import checkpoints as checkpoints_module
from jora_model.training.checkpoints import Checkpoints
from jora_model.training.step import Trainer
from jora_model.training.train import train
from testing.programs import shared_programs
from testing.sequences import random_sequences, write_sequences
from testing.tiny_models import hf_folder
from testing.train_jobs import LORA, SETTINGS, adapter_bytes, job, metrics, summary, without_devices

ROOT = Path(__file__).parents[3]


def three_updates(
    base: Path, mesh: MeshSettings | None = None, lora: LoraSettings = LORA, **changes
) -> tuple[list[float], list[np.ndarray], Trainer]:
    settings = SETTINGS.model_copy(update=changes)
    sequences = random_sequences(0, count=24)
    sampler = Sampler(sequences, settings.examples_per_update, settings.seed)
    placed = make_mesh(mesh) if mesh else None
    model = load_model(base, lora=lora, mesh=placed, compute_dtype="float32")
    before = [np.asarray(leaf) for leaf in jax.tree.leaves(Trainer(model, settings, 3).frozen)]
    trainer = Trainer(model, settings, 3)
    losses = []
    for update in range(3):
        rows = pack([sequences[place] for place in sampler.update(update)], settings.row_length)
        sums = trainer.zero()
        for number, start in enumerate(range(0, len(rows), settings.rows_per_microbatch)):
            sums = trainer.accumulate(sums, rows.slice(start, settings.rows_per_microbatch), update, number)
        losses.append(float(trainer.apply(sums)[0]))
    for leaf, old in zip(jax.tree.leaves(trainer.frozen), before, strict=True):
        np.testing.assert_array_equal(np.asarray(leaf), old)
    return losses, [np.asarray(leaf) for leaf in jax.tree.leaves(trainer.state.adapter)], trainer


@pytest.fixture(scope="module")
def reference(base):
    return three_updates(base)


def close(ours, theirs):
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    for a, b in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)


def test_the_step_is_traced_and_compiled_once(reference):
    _, adapter, trainer = reference
    assert any(np.abs(leaf).max() > 0 for leaf in adapter)
    assert trainer.traces == 1
    assert list(trainer.programs.compilations) == ["zero", "accumulate 4x64", "apply"]


def test_loss_falls(base):
    losses, _, _ = three_updates(base, examples_per_update=24)
    assert losses[0] > losses[1] > losses[2]


@pytest.mark.parametrize(
    "changes",
    [{"rows_per_microbatch": 1}, {"row_length": 40}, {"row_length": 100}, {"remat": "dots"}, {"remat": "none"}],
)
def test_packing_and_microbatches_do_not_matter(base, reference, changes):
    close(three_updates(base, **changes), reference)


@pytest.mark.parametrize("mesh", [MeshSettings(data=2, fsdp=2, tp=2), MeshSettings(tp=2)])
def test_mesh_does_not_matter(base, reference, mesh):
    close(three_updates(base, mesh), reference)


@pytest.mark.slow
def test_replicated_key_value_heads_do_not_matter(tmp_path):
    """Two key/value heads on eight devices: whole on each, whether k and v carry an adapter or not."""
    few = hf_folder(tmp_path, num_attention_heads=8, num_key_value_heads=2)
    lora = LoraSettings(rank=4, alpha=12.0, target_modules=("q_proj", "k_proj", "v_proj", "o_proj"))
    whole = three_updates(few, lora=lora)
    for mesh in (MeshSettings(tp=8), MeshSettings(fsdp=2, tp=4)):
        split = three_updates(few, mesh, lora=lora)
        close(split, whole)
        kernel = split[2].model.layers.linears["v_proj"].kernel[...]
        assert kernel.sharding.shard_shape(kernel.shape) == (3, 2 * 16, 48 // mesh.fsdp)


def test_resumed_equals_uninterrupted(base, data, tmp_path, monkeypatch):
    """Stopped after five of twelve updates, one past the last checkpoint; the same bytes, each update logged once."""
    train(job(base, data, tmp_path / "whole"))
    real, calls = Trainer.apply, []

    def stop_at_six(self, sums):
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(1)
        return real(self, sums)

    monkeypatch.setattr(Trainer, "apply", stop_at_six)
    with pytest.raises(KeyboardInterrupt):
        train(job(base, data, tmp_path / "parts"))
    monkeypatch.undo()
    assert len(metrics(tmp_path / "parts")) == 5
    train(job(base, data, tmp_path / "parts"))
    assert adapter_bytes(tmp_path / "parts") == adapter_bytes(tmp_path / "whole")
    assert [row["update"] for row in metrics(tmp_path / "parts")] == list(range(1, 13))
    assert summary(tmp_path / "parts")["updates_in_this_process"] == 8


@pytest.mark.slow
def test_killed_process_goes_on_to_the_same_bytes(base, data, tmp_path):
    """kill -9 in the middle; the same job file again. The best adapter so far is a part of what survives."""
    held_out = write_sequences(tmp_path / "held_out", random_sequences(1, count=8))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def start(folder: Path) -> subprocess.Popen:
        folder.mkdir(exist_ok=True)
        path = folder / "job.json"
        run = job(base, data, folder, held_out, epochs=10, checkpoint_every=1, validate_every=3)
        path.write_text(run.model_copy(update={"compilation_cache": str(shared_programs())}).model_dump_json())
        command = [sys.executable, "-m", "jora_model.training.train", str(path)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, cwd=ROOT)

    with start(tmp_path / "whole") as whole:
        assert whole.wait(240) == 0
    with start(tmp_path / "parts") as killed:
        log = tmp_path / "parts" / "out" / "metrics.jsonl"
        while not (log.exists() and log.read_text().count("\n") >= 7):
            assert killed.poll() is None
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    with start(tmp_path / "parts") as again:
        assert again.wait(240) == 0
    assert summary(tmp_path / "parts")["updates_in_this_process"] < summary(tmp_path / "parts")["updates"] == 40
    assert adapter_bytes(tmp_path / "parts") == adapter_bytes(tmp_path / "whole")
    assert summary(tmp_path / "parts")["validation"] == summary(tmp_path / "whole")["validation"]


@pytest.mark.slow
def test_cpu_devices_make_a_mesh(base, data, plain, tmp_path):
    """In a process of its own that is told of no devices: they are made for the mesh."""
    environment = {**without_devices(), "PYTHONPATH": str(ROOT)}
    path = tmp_path / "job.json"
    split = job(base, data, tmp_path, epochs=1, checkpoint_every=3).model_copy(update={"mesh": MeshSettings(data=2)})
    path.write_text(split.model_dump_json())
    subprocess.run(
        [sys.executable, "-m", "jora_model.training.train", str(path)], env=environment, cwd=ROOT, check=True
    )
    losses, expected = ([row["loss"] for row in metrics(folder)] for folder in (tmp_path, plain))
    assert losses == pytest.approx(expected, rel=1e-5)


def truncate(files: list[Path]) -> None:
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(files: list[Path]) -> None:
    """Of an array: Orbax itself reads it as another number."""
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 16
    largest.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip_a_bit])
def test_damaged_checkpoint_falls_back_to_the_previous_one(tmp_path, caplog, damage):
    random = np.random.default_rng(0)
    state = {"a": jax.numpy.asarray(random.normal(size=(64, 64)).astype(np.float32)), "b": jax.numpy.ones(3)}
    kept = Checkpoints(tmp_path, "x")
    kept.save(2, state)
    kept.save(4, jax.tree.map(lambda leaf: leaf * 2, state))
    kept.close()
    damage([path for path in (tmp_path / "states" / "4").rglob("*") if path.is_file()])
    again = Checkpoints(tmp_path, "x")
    updates, restored, _ = again.restore(state)
    again.close()
    assert updates == 2
    np.testing.assert_array_equal(restored["a"], state["a"])
    assert "checkpoint 4 is damaged" in caplog.text
    assert (tmp_path / "damaged" / "4-0").is_dir()
    assert sorted(path.name for path in (tmp_path / "states").iterdir()) == ["2"]


def two_saved(folder: Path) -> dict:
    """Checkpoints after 2 and 4 updates."""
    state = {"a": jax.numpy.arange(12, dtype=np.float32)}
    kept = Checkpoints(folder, "x")
    kept.save(2, state)
    kept.save(4, jax.tree.map(lambda leaf: leaf * 2, state))
    kept.close()
    return state


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), MemoryError(), ValueError("DATA_LOSS: a server's answer was cut off")]
)
@pytest.mark.parametrize("times", [1, 100])
def test_a_read_error_deletes_nothing(tmp_path, monkeypatch, caplog, error, times):
    """One that passes is not noticed; one that stays ends the run, which can be started again."""
    state = two_saved(tmp_path)
    before = sorted(path for path in tmp_path.rglob("*"))
    again, failures = Checkpoints(tmp_path, "x"), iter(range(times))
    real = again._manager.restore

    def restore(*args, **settings):
        if next(failures, None) is not None:
            raise error
        return real(*args, **settings)

    monkeypatch.setattr(again._manager, "restore", restore)
    monkeypatch.setattr(checkpoints_module, "_PAUSE", 0.0)
    if times == 1:
        assert again.restore(state).updates == 4
    else:
        with pytest.raises(Unreadable, match=r"states/4 cannot be read .* nothing was deleted: start the run again"):
            again.restore(state)
        assert exit_code(Unreadable("x")) == EXIT_AGAIN
    again.close()
    assert sorted(path for path in tmp_path.rglob("*")) == before
    monkeypatch.undo()
    later = Checkpoints(tmp_path, "x")
    assert later.restore(state).updates == 4
    later.close()


def test_what_is_damaged_is_kept_and_its_number_is_free(tmp_path, monkeypatch):
    state = two_saved(tmp_path)
    monkeypatch.setattr(checkpoints_module, "_PAUSE", 0.0)
    for number, updates in enumerate((4, 2)):
        truncate([path for path in (tmp_path / "states" / str(updates)).rglob("*") if path.is_file()])
        again = Checkpoints(tmp_path, "x")
        found = again.restore(state)
        assert (found and found.updates) == (2 if number == 0 else None)
        again.close()
    again = Checkpoints(tmp_path, "x")
    for updates in (2, 4, 6):
        again.save(updates, state)
    assert again.restore(state).updates == 6
    again.close()
    assert sorted(path.name for path in (tmp_path / "damaged").iterdir()) == ["2-1", "4-0"]
    assert sorted(path.name for path in (tmp_path / "sums").iterdir()) == ["4.json", "6.json"]


def test_checkpoints_of_another_job_are_refused(tmp_path):
    Checkpoints(tmp_path, "x").close()
    with pytest.raises(ValueError, match="another job"):
        Checkpoints(tmp_path, "y")


def test_loss_that_is_not_finite_names_update_and_examples(base, data, tmp_path):
    with pytest.raises(ValueError, match=r"at update \d+ are not finite.*examples: .*twin"):
        train(job(base, data, tmp_path, learning_rate=1e38, clip_norm=1e38))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 60}, "has a token outside the model's vocabulary of 60"),
        ({"max_position_embeddings": 20}, r"has \d+ tokens and the model 20 positions"),
    ],
)
def test_sequences_of_another_model_are_refused(data, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        train(job(hf_folder(tmp_path / "base", **change), data, tmp_path))


def test_checkpoints_of_another_base_are_refused(base, data, tmp_path):
    train(job(base, data, tmp_path, max_updates=1))
    other = hf_folder(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="another job"):
        train(job(other, data, tmp_path, max_updates=1))


def test_mesh_is_refused_before_weights_are_read(base, data, tmp_path):
    wrong = job(base, data, tmp_path).model_copy(update={"mesh": MeshSettings(tp=3)})
    with pytest.raises(ValueError, match="tp=3 does not divide the model's attention heads"):
        train(wrong)


def test_rows_must_divide_among_the_devices(base, data, tmp_path):
    wrong = job(base, data, tmp_path).model_copy(update={"mesh": MeshSettings(data=8)})
    with pytest.raises(ValueError, match="rows_per_microbatch=4 is no multiple of data x fsdp = 8; set it to 8"):
        train(wrong)


# One change of each setting; those of validation are in test_validation.py.
CHANGES = [
    {"epochs": 2},
    {"examples_per_update": 5},
    {"learning_rate": 5e-3},
    {"lora_plus_ratio": 4.0},
    {"schedule": "linear"},
    {"warmup_fraction": 0.5},
    {"weight_decay": 0.5},
    {"clip_norm": 1e-3},
    {"compute_dtype": "bfloat16"},
    {"max_updates": 2},
    {"seed": 1},
    {"checkpoint_every": 1},
    {"row_length": 40},
    {"rows_per_microbatch": 1},
    {"remat": "dots"},
    {"tensorboard": True},
    {"profile": 1},
]
# These change rows, programs, checkpoints or what is told, and must not change the adapter's bytes, or hardly.
SAME_BYTES = ("checkpoint_every", "tensorboard", "profile")
NEARLY_SAME = ("row_length", "rows_per_microbatch", "remat")


@pytest.mark.slow
@pytest.mark.parametrize("changes", CHANGES, ids=lambda changes: next(iter(changes)))
def test_every_setting_is_live(base, data, plain, plain_programs, tmp_path, changes):
    tested_elsewhere = {"validate_every", "patience", "keep_best"}
    assert set(TrainSettings.model_fields) == {name for change in CHANGES for name in change} | tested_elsewhere
    programs = train_and_look(job(base, data, tmp_path, **{"epochs": 1, **changes}))
    name = next(iter(changes))
    if name not in NEARLY_SAME:
        assert (adapter_bytes(tmp_path) == adapter_bytes(plain)) == (name in SAME_BYTES)
    if name == "checkpoint_every":
        assert len(list((tmp_path / "state" / "states").iterdir())) == 2
    elif name == "row_length":
        assert summary(tmp_path)["rows"] > summary(plain)["rows"]
    elif name == "rows_per_microbatch":
        assert {"accumulate 1x64"} == set(programs) - set(plain_programs)
    elif name == "remat":
        kept, more = (temporaries(each["accumulate 4x64"]) for each in (plain_programs, programs))
        assert kept < more
    elif name in ("tensorboard", "profile"):
        assert (tmp_path / "out" / name).is_dir()
        assert not (plain / "out" / name).exists()


ADAPTER_CHANGES = [
    {"rank": 3},
    {"alpha": 6.0},
    {"use_rslora": True},
    {"use_dora": True},
    {"dropout": 0.5},
    {"target_modules": ("v_proj",)},
]


@pytest.mark.slow
@pytest.mark.parametrize("changes", ADAPTER_CHANGES, ids=lambda changes: next(iter(changes)))
def test_every_setting_of_the_adapter_is_live(base, data, plain, tmp_path, changes):
    assert set(LoraSettings.model_fields) == {name for change in ADAPTER_CHANGES for name in change}
    changed = job(base, data, tmp_path, epochs=1).model_copy(update={"lora": LORA.model_copy(update=changes)})
    train(changed)
    assert adapter_bytes(tmp_path) != adapter_bytes(plain)


def train_and_look(work: TrainJob) -> dict[str, jax.stages.Compiled]:
    """Run a job; the programs that it compiled, by name."""
    trainers: list[Trainer] = []
    real = Trainer.apply

    def apply(self, sums):
        trainers.append(self)
        return real(self, sums)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "apply", apply)
        train(work)
    return trainers[0].programs.compiled


def temporaries(program: jax.stages.Compiled) -> int:
    return program.memory_analysis().temp_size_in_bytes


@pytest.fixture(scope="module")
def plain_run(base, data, tmp_path_factory) -> tuple[Path, dict[str, jax.stages.Compiled]]:
    folder = tmp_path_factory.mktemp("plain")
    return folder, train_and_look(job(base, data, folder, epochs=1, checkpoint_every=3))


@pytest.fixture(scope="module")
def plain(plain_run) -> Path:
    return plain_run[0]


@pytest.fixture(scope="module")
def plain_programs(plain_run) -> dict[str, jax.stages.Compiled]:
    return plain_run[1]
