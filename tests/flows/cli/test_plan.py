"""`jora plan`: the tables that a person sees, and one line for what cannot be planned."""

import json
import sys
from pathlib import Path

import pytest

from flows.cli import main as cli
from flows.cli.plan import longest_lines
from jora_model.planning.plan_job import Longest
from jora_model.spec.settings import MeshSettings, parse_size

TINY = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
}


@pytest.fixture
def tiny(tmp_path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY))
    return path


def jora(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["jora", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_plan_of_a_mesh(monkeypatch, capsys, tiny):
    sets = ("mesh.tp=4", "training.row_length=64", "lora.rank=2", "lora.target_modules=all-linear")
    assert jora(monkeypatch, "plan", tiny, *(part for each in sets for part in ("--set", each))) == 0
    shown = capsys.readouterr().out
    assert "mesh data=1 fsdp=1 tp=4; 1 row(s) of 64 tokens" in shown
    assert "2 key/value heads are fewer than tp=4: every device holds all of them" in shown
    lines = {line.rsplit(None, 1)[0].strip(): line.rsplit(None, 1)[-1] for line in shown.splitlines() if line}
    # A layer: q, o, gate, up and down split by four, k and v whole, two norms; embedding and head split; a norm.
    layer = (2 * 32 * 32 + 3 * 32 * 64) // 4 + 2 * 16 * 32 + 2 * 32
    assert float(lines["weights"]) == round(2 * (2 * layer + 2 * 96 * 32 // 4 + 32) / 2**20, 1)
    parts = ("weights", "adapter", "optimizer", "gradient sums", "rows", "activations and temporaries")
    assert float(lines["total"]) == pytest.approx(sum(float(lines[part]) for part in parts), abs=0.31)


@pytest.mark.slow
def test_longest_rows_and_their_plot(monkeypatch, capsys, tiny, tmp_path):
    plot = tmp_path / "plot.png"
    options = ("--device-memory", "8MB", "--devices", "1,2", "--longest", 1024, "--plot", plot)
    assert jora(monkeypatch, "plan", tiny, *options) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["devices", "mesh", "longest", "row", "weights", "temporaries", "total", "(MiB", "each)"]
    assert [line.split()[0] for line in shown[1:3]] == ["1", "2"]
    assert any("the model has 256 positions: a longer row holds several examples" in line for line in shown)
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_rows_that_do_not_fit_have_their_line():
    none = Longest(devices=2, mesh=MeshSettings(tp=2), footprint=None, needed=3 * 2**30, capped=False)
    assert longest_lines([none])[1].split(None, 3) == ["2", "fsdp=1", "tp=2", "none fits: the shortest needs 3,072 MiB"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["llama-2-8b"], "unknown model 'llama-2-8b'; allowed are gemma-3-12b, llama-2-13b, llama-2-70b,"),
        (["llama-2-7b", "--set", "mesh.tp=3"], "mesh tp=3 does not divide the model's attention heads (32); allowed"),
        (["llama-2-7b", "--device-memory", "24"], "--device-memory 24: write it as 24GB"),
        (
            ["llama-2-7b", "--device-memory", "24GB", "--devices", "1,x"],
            "--devices 1,x: give comma-separated",
        ),
        (
            ["llama-2-7b", "--device-memory", "24GB", "--longest", "64"],
            "longest: Input should be greater",
        ),
        (["llama-2-7b", "--topology", "h100"], "--topology h100: write a TPU and its layout, such as v5e:2x2"),
        (["llama-2-7b", "--plot", "x.png"], "--plot shows the longest rows; give --device-memory as well"),
    ],
)
def test_refusals(monkeypatch, capsys, arguments, message):
    assert jora(monkeypatch, "plan", *arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0]


def test_sizes():
    assert parse_size("24GB") == 24_000_000_000
    assert parse_size(" 1.5 gib ") == 3 * 2**29
    with pytest.raises(ValueError, match="write it as 24GB"):
        parse_size("0GB")
