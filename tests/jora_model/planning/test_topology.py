"""Plans for a TPU that is not here: refused in one line without libtpu, compiled by it where it is installed."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jora_model.planning.plan_job import PlanAnswer
from testing.tiny_models import hf_folder

ROOT = Path(__file__).parents[3]
INSTALLED = importlib.util.find_spec("libtpu") is not None


def plan(folder: Path, **changes: object) -> tuple[int, str]:
    model = changes.pop("model", None) or str(hf_folder(folder / "base"))
    job = {"model": model, "output": str(folder / "answer.json"), **changes}
    (folder / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "jora_model.planning.plan", str(folder / "job.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


@pytest.mark.skipif(INSTALLED, reason="libtpu is installed")
def test_without_libtpu_the_command_that_installs_it(tmp_path):
    code, line = plan(tmp_path, topology="v5e:2x2")
    assert code == 2
    assert line.startswith("error: --topology v5e:2x2 needs the package libtpu, which is not installed; run `.venv/bin")


@pytest.mark.skipif(not INSTALLED, reason="needs libtpu (extra tpu)")
@pytest.mark.parametrize("mesh", [{}, {"fsdp": 2, "tp": 2}], ids=str)
def test_libtpu_compiles_the_step(tmp_path, mesh):
    training = {"row_length": 256, "rows_per_microbatch": 2}
    assert plan(tmp_path, topology="v5e:2x2", mesh=mesh, training=training)[0] == 0
    answer = PlanAnswer.model_validate_json((tmp_path / "answer.json").read_bytes())
    assert answer.chip and answer.chip.name == "TPU v5 lite" and answer.chip.memory
    assert answer.footprint and answer.footprint.program_flops is None
    assert 0 < answer.footprint.temporaries < answer.chip.memory


@pytest.mark.skipif(not INSTALLED, reason="needs libtpu (extra tpu)")
def test_what_libtpu_does_not_have(tmp_path):
    assert "--topology v9:2x2: write a TPU and its layout" in plan(tmp_path, topology="v9:2x2")[1]
    few = plan(tmp_path, topology="v5e:2x2", device_memory=10**9)[1]
    assert few == "error: --topology v5e:2x2 has 4 devices and --devices asks for 8; change one of them"


@pytest.mark.skipif(not INSTALLED, reason="needs libtpu (extra tpu)")
def test_the_longest_row_of_a_topology(tmp_path):
    """The next longer one, by itself, needs more."""
    memory = 6 * 2**20
    assert plan(tmp_path, topology="v5e:2x2", device_memory=memory, devices=[1], longest=4096)[0] == 0
    (found,) = PlanAnswer.model_validate_json((tmp_path / "answer.json").read_bytes()).longest
    assert found.footprint and found.footprint.total <= memory and not found.capped
    assert plan(tmp_path, topology="v5e:2x2", training={"row_length": found.footprint.row_length + 256})[0] == 0
    longer = PlanAnswer.model_validate_json((tmp_path / "answer.json").read_bytes()).footprint
    assert longer and longer.total > memory


@pytest.mark.skipif(not INSTALLED, reason="needs libtpu (extra tpu)")
def test_a_step_that_the_chip_cannot_hold_is_one_line(tmp_path):
    code, line = plan(tmp_path, model="llama-2-7b", topology="v5e:2x2", training={"row_length": 8192})
    assert code == 2
    assert line.startswith("error: rows of 8,192 tokens do not fit (Ran out of memory on HBM")
    assert line.endswith("); lower training.row_length, or use more devices (mesh.fsdp, mesh.tp)")
