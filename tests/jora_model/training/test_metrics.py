"""Metrics, event files for TensorBoard, a trace by JAX's profiler, the loss curve."""

import importlib.util
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event

from jora_model.training.curve import draw_curve
from jora_model.training.metrics import Metrics
from jora_model.training.train import train
from testing.train_jobs import job, metrics

ROOT = Path(__file__).parents[3]


def events(folder: Path) -> dict[str, dict[int, float]]:
    """Tag -> step -> value, from all event files of a folder (TFRecord: length, its check sum, bytes, theirs)."""
    found: dict[str, dict[int, float]] = {}
    for path in folder.iterdir():
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event, content = Event.FromString(content[12 : 12 + length]), content[16 + length :]
            for value in event.summary.value:
                steps = found.setdefault(value.tag, {})
                assert event.step not in steps
                steps[event.step] = value.simple_value
    return found


@pytest.mark.slow
def test_event_files_hold_the_metrics(base, data, tmp_path):
    train(job(base, data, tmp_path, data, epochs=2, validate_every=2, tensorboard=True))
    found = events(tmp_path / "out" / "tensorboard")
    rows = metrics(tmp_path)
    assert len(rows) == 8
    for tag, name in (
        ("loss/training", "loss"),
        ("loss/validation", "validation_loss"),
        ("optimizer/learning_rate", "learning_rate"),
        ("optimizer/gradient_norm", "gradient_norm"),
    ):
        assert found[tag] == pytest.approx({row["update"]: row[name] for row in rows if name in row}, rel=1e-6)
    assert set(found["loss/validation"]) == {2, 4, 6, 8}


def test_a_resumed_run_has_each_update_once(tmp_path):
    with Metrics(tmp_path, 0, tensorboard=True) as written:
        for update in (1, 2, 3):
            written.write({"update": update, "loss": float(update)})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"update": 4, "lo')
    with Metrics(tmp_path, 2, tensorboard=True) as written:
        written.write({"update": 3, "loss": 30.0})
    (loss,) = events(tmp_path / "tensorboard").values()
    assert loss == {1: 1.0, 2: 2.0, 3: 30.0}
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 3


def test_without_the_package_the_error_says_what_to_install(base, data, tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else real(name))
    with pytest.raises(ValueError, match="not installed; run `pip install tensorboard`"):
        train(job(base, data, tmp_path, tensorboard=True))


def test_event_files_need_neither_tensorflow_nor_torch(tmp_path):
    code = (
        "import sys; from pathlib import Path; from jora_model.training.metrics import Metrics\n"
        f"with Metrics(Path({str(tmp_path)!r}), 0, True) as written: written.write({{'update': 1, 'loss': 1.0}})\n"
        "print([name for name in ('tensorflow', 'torch', 'jax') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"profile": 2}, {"profile": 2, "max_updates": 1}, {"profile": 100}])
def test_profile_is_a_trace_of_some_updates(base, data, tmp_path, changes):
    train(job(base, data, tmp_path, epochs=2, **changes))
    (trace,) = (tmp_path / "out" / "profile").rglob("*.trace.json.gz")
    assert trace.stat().st_size > 0


def test_curve_shows_the_validation_loss(tmp_path):
    lines = [f'{{"update": {update}, "loss": {4 - update}, "learning_rate": 0.1}}\n' for update in (1, 2)]
    (tmp_path / "plain.jsonl").write_text("".join(lines))
    lines[1] = '{"update": 2, "loss": 2.0, "learning_rate": 0.1, "validation_loss": 2.5}\n'
    (tmp_path / "watched.jsonl").write_text("".join(lines))
    for name in ("plain", "watched"):
        draw_curve(tmp_path / f"{name}.jsonl", tmp_path / f"{name}.png")
    assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "watched.png").read_bytes()
