"""A run compiles each program once, and says what that took; the next process reads them from the cache."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jora_model.model.load import load_model
from jora_model.packing.tries import pack
from jora_model.runtime.compilation import CompilationCount
from jora_model.spec.settings import LoraSettings
from jora_model.training.step import Trainer
from testing.sequences import random_sequences, write_sequences
from testing.tiny_models import hf_folder
from testing.train_jobs import SETTINGS, job, summary

ROOT = Path(__file__).parents[3]
PROGRAMS = ["accumulate 4x64", "apply", "evaluate 4x64", "zero"]


def test_the_step_is_compiled_once_for_each_shape_of_rows(tmp_path):
    model = load_model(hf_folder(tmp_path), lora=LoraSettings(rank=2), compute_dtype="float32")
    trainer = Trainer(model, SETTINGS, 6)
    sequences = random_sequences(0, count=12)

    def run(row_length: int, rows: int, update: int) -> int:
        """Programs compiled by an update, whoever asks for them."""
        with CompilationCount() as count:
            packed = pack(sequences, row_length)
            trainer.apply(trainer.accumulate(trainer.zero(), packed.slice(0, rows), update, 0))
        return count.programs

    assert run(64, 2, 0) >= 3
    assert run(80, 2, 1) == 1
    assert run(64, 4, 2) == 1
    assert [run(*shape, 3) for shape in ((64, 2), (80, 2), (64, 4))] == [0, 0, 0]
    assert trainer.traces == 3
    steps = [name for name in trainer.programs.compilations if name.startswith("accumulate")]
    assert steps == ["accumulate 2x64", "accumulate 2x80", "accumulate 4x64"]


@pytest.mark.slow
def test_a_run_tells_what_it_compiled_and_the_next_one_reads_it(tmp_path):
    base, data = hf_folder(tmp_path / "base"), write_sequences(tmp_path / "data", random_sequences(0, count=12))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}

    def run(name: str) -> tuple[dict, str]:
        (tmp_path / name).mkdir()
        path = tmp_path / name / "job.json"
        asked = job(base, data, tmp_path / name, data, validate_every=1, epochs=2)
        path.write_text(asked.model_copy(update={"compilation_cache": str(tmp_path / "xla")}).model_dump_json())
        command = [sys.executable, "-m", "jora_model.training.train", str(path)]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
        return summary(tmp_path / name)["compilation"], done.stderr.strip().splitlines()[-1]

    first, line = run("first")
    assert sorted(first["programs"]) == PROGRAMS
    assert not any(found["cached"] for found in first["programs"].values())
    assert all(found["seconds"] > 0 for found in first["programs"].values())
    assert first["all_programs"] >= 4
    assert first["all_cached"] < first["all_programs"]
    assert line.startswith(f"{first['all_programs']} programs compiled in ")
    second, line = run("second")
    assert sorted(second["programs"]) == PROGRAMS
    assert all(found["cached"] for found in second["programs"].values())
    assert second["all_cached"] == second["all_programs"]
    assert f"{second['all_programs']} of them read from the cache: zero " in line
    assert line.count("(cached)") == 4
