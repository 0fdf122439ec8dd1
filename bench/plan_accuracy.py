"""Error of `jora plan`: `python -m bench.plan_accuracy [--quick]` (10 minutes; quick: one row length, 3 minutes).

SmolLM2-135M, rank 16 on q and v, full rows: compares the total that `jora plan` predicts with the memory of a real
training process (`jora_model.training.train`) over two updates. The peak resident memory (VmHWM, when the second update
is logged) includes the interpreter, the libraries and the traced program, which the plan does not count; they are
measured as the peak of the same process on a model of 0.1 MB, and subtracted. Programs come from a warm compilation
cache; the peak with compilation is printed as well.

Measured twice: with glibc's default allocator settings, and with the pipeline's (`tasks.engine.jobs.MEMORY_SETTINGS`),
which trade memory for speed: memory freed after loading the weights stays resident.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from bench.machine import describe_machine, peak_bytes
from bench.planning import plan_footprint
from jora_model.formats.base import resolve_base
from jora_model.formats.gguf_import import import_gguf
from jora_model.spec.config import ModelConfig
from jora_model.spec.hf_files import CONFIG, WEIGHTS, read_object
from jora_model.spec.job import TrainJob, TrainSettings
from jora_model.spec.parameters import parameters_of, shape_of
from jora_model.spec.settings import LoraSettings, MeshSettings
from tasks.engine.jobs import MEMORY_SETTINGS

ROW_LENGTHS = (1024, 2048, 4096)
LORA = LoraSettings(rank=16, target_modules=("q_proj", "v_proj"))
ALLOCATORS = {"plain": {}, "pipeline": MEMORY_SETTINGS}
UPDATES = 2
POLL_SECONDS = 0.005


def main() -> None:
    """Print a line for each row length, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one row length only")
    lengths = ROW_LENGTHS[1:2] if parser.parse_args().quick else ROW_LENGTHS
    print(describe_machine("jax", "jaxlib", "flax", "optax"))
    errors: dict[str, list[float]] = {name: [] for name in ALLOCATORS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = folder / "smollm2"
        import_gguf(resolve_base("embedded"), base)
        tiny = write_tiny(folder / "tiny", read_object(base / CONFIG))
        for length in lengths:
            plan = plan_footprint(str(base), LORA, MeshSettings(), settings(length))
            small = plan_footprint(str(tiny), LORA, MeshSettings(), settings(length))
            peaks = measure_peaks(base, folder / f"base-{length}", length)
            # The tiny model's own bytes are in its plan.
            tiny_peaks = measure_peaks(tiny, folder / f"tiny-{length}", length)
            parts = (plan.total, plan.weights, plan.temporaries, peaks["compiling"])
            print(
                "{:>5} tokens: planned {:,.0f} MB (weights {:,.0f}, temporaries {:,.0f}); peak of a run that also "
                "compiles {:,.0f}".format(length, *(size / 1e6 for size in parts))
            )
            for allocator, relative in errors.items():
                process = tiny_peaks[allocator] - small.total
                grown = peaks[allocator] - process
                relative.append(plan.total / grown - 1)
                sizes = (grown / 1e6, peaks[allocator] / 1e6, process / 1e6, relative[-1])
                line = "measured {:,.0f} MB = peak {:,.0f} - process {:,.0f}; plan {:+.1%}".format(*sizes)
                print(f"             allocator {allocator}: {line}", flush=True)
    for allocator, relative in errors.items():
        for length, error in zip(lengths, relative, strict=True):
            print(f"figure plan_accuracy_{allocator}_{length} {error:.3f}")
        print(f"figure plan_accuracy_{allocator}_worst {max(map(abs, relative)):.3f}")


def settings(row_length: int) -> TrainSettings:
    """Two updates of one full row each."""
    return TrainSettings(row_length=row_length, examples_per_update=1, epochs=1, checkpoint_every=UPDATES)


def write_tiny(folder: Path, config: dict) -> Path:
    """Write a minimal model of the same family: one layer, 64 wide."""
    folder.mkdir()
    config |= {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 128}
    config |= {
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "eos_token_id": 2,
        "bos_token_id": 1,
        "pad_token_id": 2,
    }
    (folder / CONFIG).write_text(json.dumps(config))
    facts = ModelConfig.from_hf(config)
    random = np.random.default_rng(0)
    tensors = {}
    for parameter in parameters_of(facts):
        shape = shape_of(parameter, facts)[1 if parameter.stacked else 0 :]
        for name in parameter.hf_names(facts.num_layers):
            tensors[name] = random.normal(size=shape).astype(np.float32)
    save_file(tensors, folder / WEIGHTS)
    return folder


def measure_peaks(base: Path, folder: Path, row_length: int) -> dict[str, int]:
    """Return peak resident bytes of a training process that compiles, and per allocator of one that does not."""
    folder.mkdir()
    write_rows(folder / "sequences", row_length)
    peaks = {}
    for run in ("compiling", *ALLOCATORS):
        job = TrainJob(
            base=str(base),
            base_name=base.name,
            sequences=str(folder / "sequences"),
            output=str(folder / run),
            checkpoints=str(folder / run / "state"),
            compilation_cache=str(folder / "xla"),
            lora=LORA,
            training=settings(row_length),
        )
        path = folder / f"{run}.json"
        path.write_text(job.model_dump_json(), encoding="utf-8")
        peaks[run] = peak_of(path, folder / run / "metrics.jsonl", ALLOCATORS.get(run, {}))
    return peaks


def write_rows(folder: Path, row_length: int) -> None:
    """Write two examples that each fill a row and train on all but their first token."""
    folder.mkdir()
    tokens = np.random.default_rng(0).integers(3, 100, UPDATES * row_length).astype(np.int32)
    mask = np.tile(np.arange(row_length) > 0, UPDATES)
    arrays = {"tokens": tokens, "loss_mask": mask, "offsets": np.arange(UPDATES + 1, dtype=np.int64) * row_length}
    save_file(arrays, folder / "sequences.safetensors")
    (folder / "sequences.json").write_text(json.dumps({"ids": [f"row {number}" for number in range(UPDATES)]}))


def peak_of(job: Path, metrics: Path, allocator: Mapping[str, str]) -> int:
    """Run a training job and return its peak resident bytes when the last update is logged, before the export."""
    command = [sys.executable, "-m", "jora_model.training.train", str(job)]
    with subprocess.Popen(command, env={**os.environ, **allocator}, stderr=subprocess.PIPE) as process:
        peak = 0
        while process.poll() is None:
            if not peak and metrics.exists() and metrics.read_text().count("\n") == UPDATES:
                peak = peak_bytes(process.pid)
            time.sleep(POLL_SECONDS)
        assert process.stderr is not None
        said = process.stderr.read().decode()
    if process.returncode or not peak:
        raise RuntimeError(f"training ended with {process.returncode}: {said[-2000:]}")
    return peak


if __name__ == "__main__":
    main()
