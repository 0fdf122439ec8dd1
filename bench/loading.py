"""Peak host memory of loading a model: `python -m bench.loading [--quick] [--model FOLDER]` (a minute; quick: less).

SmolLM2-135M in five shards of at most 64 MB, or any folder of safetensors, loaded by processes of their own: by one for
one device, by one for two, and by two that hold half of it each. What counts is the growth of a process's resident
memory at its peak, mapped files included, against its largest shard plus what its devices hold (here, host memory too).
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import jax

from bench.machine import describe_machine
from jora_model.base import resolve_base
from jora_model.gguf_import import import_gguf
from jora_model.hf_weights import Checkpoint
from jora_model.settings import MeshSettings
from jora_model.several import run_job
from jora_model.sharding import make_mesh, provide_cpu_devices
from jora_model.shards import write_shards
from jora_model.weights import load_model
from tasks.jobs import MEMORY_SETTINGS

SHARD_BYTES = 64_000_000
GOAL = 1.3
RUNS = {"one_device": ("{}", 1), "fsdp_2": ('{"fsdp": 2}', 1), "fsdp_2_two_processes": ('{"fsdp": 2}', 2)}


def main() -> None:
    """Print a line for each process, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the two processes only")
    parser.add_argument("--model", type=Path, help="a folder of safetensors in place of SmolLM2-135M")
    options = parser.parse_args()
    print(describe_machine("jax", "jaxlib", "safetensors"))
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.model or in_shards(_imported(Path(scratch)), Path(scratch))
        largest = max(path.stat().st_size for path in folder.glob("*.safetensors"))
        print(f"{'':<24} {'held MB':>8} {'largest shard':>14} {'growth':>8} {'ratio':>6}")
        for name in list(RUNS)[-1:] if options.quick else RUNS:
            for grown, held in loaded(folder, Path(scratch), *RUNS[name]):
                ratio = grown / (largest + held)
                print(f"{name:<24} {held / 1e6:>8.0f} {largest / 1e6:>14.0f} {grown / 1e6:>8.0f} {ratio:>6.2f}")
                figures[name] = max(ratio, figures.get(name, 0.0))
    for name, ratio in figures.items():
        print(f"figure loading_peak_ratio_{name} {ratio:.2f}")


def _imported(scratch: Path) -> Path:
    folder = scratch / "single"
    folder.mkdir()
    import_gguf(resolve_base("embedded"), folder)
    return folder


def in_shards(model: Path, scratch: Path) -> Path:
    """A model as a Hugging Face folder of several shards."""
    folder = scratch / "shards"
    folder.mkdir()
    checkpoint = Checkpoint(model)
    tensors = {name: checkpoint.slice(name)[:] for name in sorted(checkpoint.names())}
    write_shards(folder, {name: x.nbytes for name, x in tensors.items()}, tensors.__getitem__, SHARD_BYTES)
    (folder / "config.json").write_bytes((model / "config.json").read_bytes())
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
        command = [sys.executable, "-c", "from bench.loading import run_here; run_here()", str(job_file), *several]
        environment = {**MEMORY_SETTINGS, **os.environ}
        environment.pop("XLA_FLAGS", None)  # which may ask for devices of its own
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
    jax.block_until_ready(jax.device_put(1.0))  # what JAX itself takes is no part of it
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _status("VmRSS")
    model = load_model(Path(job["folder"]), mesh=placed)
    arrays = jax.block_until_ready(jax.tree.leaves(model))
    held = sum(shard.data.nbytes for array in arrays for shard in array.addressable_shards)
    print(f"grown {_status('VmHWM') - before} held {held}")


def _status(name: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
