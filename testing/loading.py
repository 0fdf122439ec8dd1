"""Processes that load a model and measure by how much they grow."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import jax

from jora_model.formats.hf_weights import Checkpoint
from jora_model.formats.shards import write_shards
from jora_model.model.load import load_model
from jora_model.runtime.several import run_job
from jora_model.runtime.sharding import make_mesh, provide_cpu_devices
from jora_model.spec.hf_files import CONFIG
from jora_model.spec.settings import MeshSettings
from tasks.engine.jobs import MEMORY_SETTINGS

SHARD_BYTES = 64_000_000


def in_shards(model: Path, scratch: Path) -> Path:
    """A model as a Hugging Face folder of several shards."""
    folder = scratch / "shards"
    folder.mkdir()
    checkpoint = Checkpoint(model)
    tensors = {name: checkpoint.slice(name)[:] for name in sorted(checkpoint.names())}
    write_shards(folder, {name: x.nbytes for name, x in tensors.items()}, tensors.__getitem__, SHARD_BYTES)
    (folder / CONFIG).write_bytes((model / CONFIG).read_bytes())
    return folder


def loaded(folder: Path, scratch: Path, mesh: str, processes: int) -> list[tuple[int, int]]:
    """Bytes by which each process grew, and that its devices hold."""
    job_file = scratch / "loading.json"
    job_file.write_text(json.dumps({"folder": str(folder), "mesh": json.loads(mesh)}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    started = []
    for process in range(processes):
        several = ["--coordinator", coordinator, "--processes", str(processes), "--process", str(process)]
        command = [sys.executable, "-c", "from testing.loading import run_here; run_here()", str(job_file), *several]
        environment = {**MEMORY_SETTINGS, **os.environ}
        environment.pop("XLA_FLAGS", None)  # which may set a number of devices
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
    found = []
    for child in started:
        said, _ = child.communicate()
        if child.returncode:
            raise SystemExit(f"loading failed with exit code {child.returncode}")
        grown, held = re.search(r"grown (\d+) held (\d+)", said).groups()  # type: ignore[union-attr]
        found.append((int(grown), int(held)))
    return found


def run_here() -> None:
    """Load by the job file of the command line, alone or as one of several, and print what it took."""
    run_job(_measure)


def _measure(job_file: Path, processes: int) -> None:
    job = json.loads(job_file.read_text())
    mesh = MeshSettings(**job["mesh"])
    provide_cpu_devices(mesh, processes)
    placed = make_mesh(mesh) if mesh.devices > 1 else None
    jax.block_until_ready(jax.device_put(1.0))  # exclude what JAX itself takes
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _status("VmRSS")
    model = load_model(Path(job["folder"]), mesh=placed)
    arrays = jax.block_until_ready(jax.tree.leaves(model))
    held = sum(shard.data.nbytes for array in arrays for shard in array.addressable_shards)
    sys.stdout.write(f"grown {_status('VmHWM') - before} held {held}\n")


def _status(name: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
