"""Peak host memory of loading a model: `python -m bench.loading [--quick] [--model FOLDER]` (a minute; quick: less).

SmolLM2-135M in five shards of at most 64 MB, or any folder of safetensors, loaded in separate processes: one process
with one device, one with two, and two that hold half of the model each. Compares the peak growth of a process's
resident memory, mapped files included, with the largest shard plus what its devices hold (here also host memory).
"""

import argparse
import tempfile
from pathlib import Path

from bench.machine import describe_machine
from jora_model.formats.base import resolve_base
from jora_model.formats.gguf_import import import_gguf
from testing.loading import in_shards, loaded

RUNS = {"one_device": ("{}", 1), "fsdp_2": ('{"fsdp": 2}', 1), "fsdp_2_two_processes": ('{"fsdp": 2}', 2)}


def main() -> None:
    """Print a line for each process, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the two processes only")
    parser.add_argument("--model", type=Path, help="a folder of safetensors instead of SmolLM2-135M")
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


if __name__ == "__main__":
    main()
