"""Step time and memory by row length: `python -m bench.row_length [--quick] [--plot FILE]` (about 8 minutes).

SmolLM2-135M, rank 16 on all linears, one device. A row has 8 branches of 32 target tokens on one prefix, and only the
prefix grows: from 248 tokens to 7,928. Measures blocked attention and, in its place, the dense reference
(`attention.attend`): the time of one row's gradient (median of 3), and the temporaries of its compiled program. The
slope is that of a line through the logarithms: 1 means linear cost, 2 quadratic. The dense reference is compiled for
every length, but run only up to 2,048 tokens. Quick: rows up to 1,024.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array
from tqdm import tqdm

import jora_model.model.transformer
from bench.machine import describe_machine
from jora_model.formats.base import resolve_base
from jora_model.formats.gguf_import import import_gguf
from jora_model.model.load import load_model
from jora_model.ops.attention import attend, rotate, visible
from jora_model.packing.sequences import Sequence
from jora_model.packing.tries import Rows, pack_evenly
from jora_model.runtime.sharding import provide_cpu_devices
from jora_model.spec.job import TrainSettings
from jora_model.spec.settings import LoraSettings, MeshSettings
from jora_model.training.step import Trainer
from tasks.engine.jobs import MEMORY_SETTINGS

LENGTHS = (512, 1024, 2048, 4096, 8192)
LONGEST_DENSE = 2048
BRANCHES, TARGETS = 8, 32
LORA = LoraSettings(rank=16, target_modules=("all-linear",))


class Cost(NamedTuple):
    """Cost of one row's gradient; seconds is None if it was only compiled."""

    seconds: float | None
    mib: float


def main() -> None:
    """Print a line for each row length, draw the plot, then print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="rows up to 1,024 tokens only")
    parser.add_argument("--plot", type=Path, default=Path(".jora") / "row_length.png")
    arguments = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in MEMORY_SETTINGS.items()):
        # The allocator reads them when a process starts.
        os.execve(
            sys.executable, [sys.executable, "-m", "bench.row_length", *sys.argv[1:]], os.environ | MEMORY_SETTINGS
        )
    lengths = LENGTHS[:2] if arguments.quick else LENGTHS
    print(describe_machine("jax", "jaxlib", "flax", "optax"))
    provide_cpu_devices(MeshSettings())
    with tempfile.TemporaryDirectory() as folder:
        import_gguf(resolve_base("embedded"), Path(folder))
        costs = {"blocked": measure(Path(folder), lengths, lengths[-1])}
        attend_densely()
        costs["dense"] = measure(Path(folder), lengths, LONGEST_DENSE)
    print(f"{'tokens':>7} {'blocked s':>10} {'dense s':>10} {'blocked MiB':>12} {'dense MiB':>12}")
    for length, blocked, dense in zip(lengths, costs["blocked"], costs["dense"], strict=True):
        print(f"{length:>7,} {_seconds(blocked):>10} {_seconds(dense):>10} {blocked.mib:>12,.0f} {dense.mib:>12,.0f}")
    arguments.plot.parent.mkdir(parents=True, exist_ok=True)
    draw(lengths, costs, arguments.plot)
    print(f"plot: {arguments.plot}")
    for name, row in costs.items():
        timed = [(length, cost.seconds) for length, cost in zip(lengths, row, strict=True) if cost.seconds]
        print(f"figure row_length_time_slope_{name} {slope(timed):.2f}")
        sizes = [(length, cost.mib) for length, cost in zip(lengths, row, strict=True)]
        print(f"figure row_length_memory_slope_{name} {slope(sizes):.2f}")
    last, seconds = timed[-1]
    faster = seconds / (costs["blocked"][lengths.index(last)].seconds or 1.0)
    print(f"figure row_length_time_dense_over_blocked_{last} {faster:.2f}")
    smaller = costs["dense"][-1].mib / costs["blocked"][-1].mib
    print(f"figure row_length_memory_dense_over_blocked_{lengths[-1]} {smaller:.2f}")


def measure(base: Path, lengths: Seq[int], longest: int) -> list[Cost]:
    """Return the cost of each length; lengths over `longest` are compiled but not run."""
    model = load_model(base, lora=LORA)
    costs = []
    for length in tqdm(lengths, desc="rows", unit="length"):
        trainer = Trainer(model, TrainSettings(row_length=length), updates=2)
        rows = branched_row(length)
        memory = trainer.lower(rows)["accumulate"].compile().memory_analysis()
        mib = memory.temp_size_in_bytes / 2**20
        costs.append(Cost(_time(trainer, rows) if length <= longest else None, mib))
    return costs


def branched_row(length: int) -> Rows:
    """Return one full row: branches on a prefix whose last token is stored per branch, since it predicts."""
    random = np.random.default_rng(0)
    prefix = random.integers(1000, 40_000, length - BRANCHES * (TARGETS + 1), np.int32)
    examples = []
    for number in range(BRANCHES):
        tokens = np.concatenate([prefix, random.integers(1000, 40_000, TARGETS, np.int32)])
        examples.append(Sequence(str(number), tokens, np.arange(len(tokens)) >= len(prefix)))
    rows = pack_evenly(examples, length)
    assert len(rows) == 1 and rows.used == length - 1
    return rows


def _time(trainer: Trainer, rows: Rows) -> float:
    times = []
    for number in range(4):
        sums = jax.block_until_ready(trainer.zero())
        begun = time.monotonic()
        jax.block_until_ready(trainer.accumulate(sums, rows, 0, number))
        times.append(time.monotonic() - begun)
    return statistics.median(times[1:])  # the first run compiles


def attend_densely() -> None:
    """Replace blocked attention by the dense reference from now on."""

    def dense(q: Array, k: Array, v: Array, rope: Any, reach: Array, tiles: Any, mesh: Any, *rest: Any) -> Array:
        scores, window = rest

        def rotated(x: Array) -> Array:
            halves = rotate(x.transpose(0, 2, 3, 1), rope[0][:, None], rope[1][:, None])
            return halves.transpose(0, 3, 1, 2).astype(x.dtype)

        return attend(rotated(q), rotated(k), v, visible(reach, window), scores)

    jora_model.model.transformer.block_rope = lambda rope, _: rope  # type: ignore[assignment]
    jora_model.model.transformer.attend_blocked = dense  # type: ignore[assignment]


def slope(points: Seq[tuple[int, float]]) -> float:
    """Return the slope of a line through the logarithms."""
    lengths, costs = np.log(np.asarray(points, np.float64)).T
    return float(np.polyfit(lengths, costs, 1)[0])


def draw(lengths: Seq[int], costs: dict[str, list[Cost]], picture: Path) -> None:
    """Write a PNG of time and memory by row length, all axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, field, label in zip(panels, Cost._fields, ("seconds", "temporaries (MiB)"), strict=True):
        for name, row in costs.items():
            points = [(n, getattr(cost, field)) for n, cost in zip(lengths, row, strict=True)]
            axes.plot(*zip(*((n, cost) for n, cost in points if cost), strict=True), marker="o", label=name)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,.4g}")
        axes.set(xlabel="row (tokens)", ylabel=label)
        axes.grid(alpha=0.3)
    panels[0].legend()
    figure.suptitle("SmolLM2-135M, gradient of one row: 8 branches of 32 tokens on a prefix", fontsize=10)
    figure.savefig(picture, dpi=120, metadata={"Software": None})


def _seconds(cost: Cost) -> str:
    return "-" if cost.seconds is None else f"{cost.seconds:.2f}"


if __name__ == "__main__":
    main()
