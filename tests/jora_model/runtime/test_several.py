"""One training as two processes on the loopback: the same bytes as one process; a lost one ends the other."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from jora_model.runtime.process import EXIT_AGAIN, EXIT_INPUT_ERROR
from jora_model.spec.job import TrainJob, read_job
from jora_model.spec.settings import MeshSettings
from jora_model.training.train import train
from testing.programs import shared_programs
from testing.sequences import random_sequences, write_sequences
from testing.tiny_models import hf_folder
from testing.train_jobs import adapter_bytes, job, metrics, summary, without_devices

ROOT = Path(__file__).parents[3]
SECONDS = 300
TRAIN = ("-m", "jora_model.training.train")


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A base model, examples and held-out examples."""
    folder = tmp_path_factory.mktemp("parts")
    examples = write_sequences(folder / "data", random_sequences(0, count=24))
    held_out = write_sequences(folder / "held_out", random_sequences(1, count=8))
    return hf_folder(folder / "base"), examples, held_out


def write_job(parts: tuple[Path, Path, Path], folder: Path, mesh: MeshSettings, **changes) -> Path:
    """Twelve updates, with a checkpoint after each."""
    folder.mkdir()
    base, examples, held_out = parts
    split = job(base, examples, folder, held_out, checkpoint_every=1, validate_every=3, **changes).model_copy(
        update={"mesh": mesh, "compilation_cache": str(shared_programs())}
    )
    path = folder / "job.json"
    path.write_text(split.model_dump_json())
    return path


@contextmanager
def started(
    job_file: Path, *options: str, code: Sequence[str] = TRAIN, **environment: str
) -> Iterator["subprocess.Popen[str]"]:
    """A process of a run, which is gone in the end."""
    command = [sys.executable, *code, str(job_file), *options]
    with subprocess.Popen(
        command, env={**without_devices(), **environment}, cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def both_started(job_file: Path, *code: str) -> Iterator[list["subprocess.Popen[str]"]]:
    options = ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", "2", "--process"]
    with ExitStack() as stack:
        yield [stack.enter_context(started(job_file, *options, str(number), code=code or TRAIN)) for number in range(2)]


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit code and last line."""
    said = process.communicate(timeout=SECONDS)[1].replace("\r", "\n").strip()
    return process.returncode, said.rpartition("\n")[2]


def after_updates(count: int, folder: Path, processes: list["subprocess.Popen[str]"]) -> None:
    """Wait until a run has told of so many."""
    log = folder / "out" / "metrics.jsonl"
    until = time.monotonic() + SECONDS
    while (count and not (log.exists() and log.read_text().count("\n") >= count)) or not log.parent.exists():
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < until
        time.sleep(0.01)


def lost_line(lost: int, here: int) -> tuple[int, str]:
    return EXIT_AGAIN, (
        f"error: process {lost} of this run is lost (its connection ended), so process {here} ends as well; "
        "start all of them again, and the run goes on from its last checkpoint"
    )


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one_killed_or_not(parts, tmp_path):
    """kill -9 of one in the middle of a run ends the other; both again go on to what one process gives by itself."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(read_job(write_job(parts, whole, MeshSettings(data=2)), TrainJob))
    job_file = write_job(parts, killed, MeshSettings(data=2))
    with both_started(job_file) as processes:
        after_updates(4, killed, processes)
        processes[1].kill()
        assert ended(processes[0]) == lost_line(1, 0)
    run_both(job_file)
    assert 0 < summary(killed)["updates_in_this_process"] < summary(killed)["updates"] == 12
    assert adapter_bytes(killed) == adapter_bytes(whole)
    assert summary(killed)["validation"] == summary(whole)["validation"]
    for told in ("update", "loss", "validation_loss", "gradient_norm"):
        assert [row.get(told) for row in metrics(killed)] == [row.get(told) for row in metrics(whole)]


ARRAYS = """
import jax
import numpy as np
from jax.sharding import PartitionSpec
from pathlib import Path
from jora_model.training.checkpoints import Checkpoints
from jora_model.runtime import distributed
from jora_model.runtime.distributed import from_first, gather, is_first, put
from jora_model.spec.settings import MeshSettings
from jora_model.runtime.several import run_job
from jora_model.runtime.sharding import make_mesh, named, provide_cpu_devices

def work(path, processes):
    settings = MeshSettings(fsdp=4)
    provide_cpu_devices(settings, processes)
    mesh = make_mesh(settings)
    assert jax.process_count() == processes == 2 and jax.local_device_count() == 2
    distributed._MESSAGE = 3
    for content in (b"mine", b"", b"m" * 12):
        assert from_first(content if is_first() else b"") == content
    hosts = [np.random.default_rng(0).normal(size=(8, 12)).astype(np.float32), np.array(-0.0, np.float32), np.arange(5)]
    specs = [PartitionSpec(None, "fsdp"), PartitionSpec(), PartitionSpec()]
    hosts[0][0, 0] = np.nan
    state = [put(host, named(mesh, spec)) for host, spec in zip(hosts, specs, strict=True)]
    assert state[0].addressable_shards[0].data.shape == (8, 3) and not state[0].is_fully_addressable
    checkpoints = Checkpoints(path.parent / "states", "x")
    assert checkpoints.restore(state) is None
    checkpoints.save(3, state, {"best": 1.5})
    found = checkpoints.restore(state)
    assert (found.updates, found.facts) == (3, {"best": 1.5})
    for host, old, new in zip(hosts, state, found.state, strict=True):
        assert gather(new).tobytes() == np.asarray(host, new.dtype).tobytes()
        assert new.sharding == old.sharding
    checkpoints.close()

run_job(work)
"""


def test_arrays_of_two_processes(tmp_path):
    """Split between processes, they are gathered, kept and restored to the bit."""
    (tmp_path / "job.json").write_text("{}")
    with both_started(tmp_path / "job.json", "-c", ARRAYS) as processes:
        assert [ended(process) for process in processes] == [(0, ""), (0, "")]


def run_both(job_file: Path) -> None:
    with both_started(job_file) as processes:
        assert [ended(process)[0] for process in processes] == [0, 0]


@pytest.mark.slow
def test_process_0_is_missed_as_well(parts, tmp_path):
    """With it goes JAX's own service, which would end the other one in its own words."""
    with both_started(write_job(parts, tmp_path / "run", MeshSettings(tp=2))) as processes:
        after_updates(0, tmp_path / "run", processes)
        processes[0].kill()
        assert ended(processes[1]) == lost_line(0, 1)


def test_what_a_person_did_wrong_is_one_line_and_ends_both(parts, tmp_path):
    """Started as Slurm starts them: JAX reads its variables."""
    job_file = write_job(parts, tmp_path / "run", MeshSettings(data=3))
    slurm: Mapping[str, str] = {
        "SLURM_JOB_ID": "1",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "JAX_COORDINATOR_PORT": str(free_port()),
    }
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                started(job_file, "--cluster", "slurm", **slurm, SLURM_PROCID=number, SLURM_LOCALID=number)
            )
            for number in "01"
        ]
        assert [ended(process) for process in processes] == [
            (
                EXIT_INPUT_ERROR,
                "error: the mesh data=3 x fsdp=1 x tp=1 has 3 devices, which 2 processes cannot share evenly; "
                "make their number a multiple of the processes",
            ),
            (EXIT_INPUT_ERROR, "process 1 ends: process 0 says why"),
        ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--processes 2 --process 1", "need --coordinator HOST:PORT, --processes N and --process I, or --cluster"),
        ("--coordinator host --processes 2 --process 1", "--coordinator host: give the host of process 0 and a free"),
        ("--coordinator a:1 --processes 2 --process 2", "--process 2 of --processes 2: they count from 0 to 1"),
        ("--coordinator a:1 --processes 2 --process x", "argument --process: invalid int value: 'x'"),
        ("--cluster slurm --process 1", "--cluster determines coordinator, processes and process; leave"),
        ("--cluster slurm", "--cluster slurm: KeyError 'SLURM_JOB_ID'; give --coordinator, --processes and"),
        ("--cluster tape", "invalid choice: 'tape'"),
        ("more --coordinator a:1 --processes 2 --process 1", "give the job file, and options of --coordinator"),
    ],
)
def test_wrong_options_are_named(options, message, monkeypatch, capsys):
    from jora_model.runtime.several import run_job

    monkeypatch.setattr(sys, "argv", ["train", "job.json", *options.split()])
    with pytest.raises(SystemExit) as left:
        run_job(lambda *_: pytest.fail("no work"))
    assert left.value.code == EXIT_INPUT_ERROR
    assert message in capsys.readouterr().err.splitlines()[-1]
