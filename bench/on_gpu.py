"""The training engine on an NVIDIA GPU against PEFT: `python -m bench.on_gpu --sequences FOLDER [--shapes smollm2,1b]`.

`python -m bench.on_gpu --squad FILE --prepare FOLDER` writes FOLDER: the RAFT sequences of bench/squad_workload.py,
with shared contexts (shared/) and with one context per question (unshared/). Weights are random, with the shapes of
SmolLM2-135M and Llama-3.2-1B, so that nothing is downloaded; speed and memory do not depend on their values.

Each part runs in its own process: `ours` measures the Trainer that `jora train` runs, `peer` transformers and PEFT
(bench/on_gpu_peer.py). tests/drills/test_gpu.py checks that the GPU computes the same. Rank 16 on all linears, 64
examples per update. Compilation is not counted. "unshared" packs examples that share nothing, "plain" puts each in its
own row.

The figures compare the fastest run of each side, and separately the run of each side that needs the least memory.
Memory is the peak of each side's allocator; JAX's peak cannot be reset, so a run reports that of earlier runs if it was
higher. `--profile` lists the kernels that take the most time.
"""

import argparse
import collections
import contextlib
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from collections.abc import Sequence as Seq
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.on_gpu_peer import ALPHA, EXAMPLES, PEER_RUNS, RANK, measure_peer
from testing.random_models import make_model

# Sequences, row length, rows per microbatch, remat, and the attention (empty: the engine's choice).
Run = tuple[str, int, int, str, str]
RUNS: tuple[Run, ...] = (
    ("shared", 3328, 1, "full", ""),
    ("shared", 3328, 1, "full", "tiles"),
    ("shared", 3328, 4, "full", ""),
    ("plain", 1792, 8, "full", ""),
    ("unshared", 1792, 8, "full", ""),
    ("shared", 3328, 4, "none", ""),
    ("unshared", 1792, 8, "none", ""),
)


def main() -> None:
    """Run the parts one after another, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=Path)
    parser.add_argument("--squad", type=Path)
    parser.add_argument("--prepare", type=Path)
    parser.add_argument("--shapes", default="smollm2,1b")
    parser.add_argument("--parts", default="ours,peer")
    parser.add_argument("--limit", type=float, default=300.0, help="time limit per part, in seconds")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.prepare:
        _prepare(arguments.squad, arguments.prepare)
    elif arguments.worker:
        part, shape, base = arguments.worker.split(":", 2)
        _work(part, shape, Path(base), arguments)
    else:
        _all(arguments)


def _prepare(squad: Path, folder: Path) -> None:
    from bench.squad_workload import squad_sequences
    from data.raft.sequences import write_sequences
    from jora_model.formats.base import resolve_base
    from jora_model.formats.gguf_import import import_gguf

    with tempfile.TemporaryDirectory() as name:
        import_gguf(resolve_base("embedded"), Path(name) / "base")
        for kind in ("shared", "unshared"):
            (folder / kind).mkdir(parents=True)
            write_sequences(folder / kind, squad_sequences(squad, Path(name) / "base", shared=kind == "shared"))


def _all(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        results = Path(name) / "results.jsonl"
        environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONUNBUFFERED": "1"}
        environment["ON_GPU_RESULTS"] = str(results)
        for shape in arguments.shapes.split(","):
            for part in ("make", *arguments.parts.split(",")):
                begun = time.monotonic()
                command = [sys.executable, "-m", "bench.on_gpu", "--sequences", str(arguments.sequences)]
                command += ["--worker", f"{part}:{shape}:{Path(name) / shape}"]
                command += ["--profile"] if arguments.profile else []
                print(f"== {part} {shape}", flush=True)
                how = "timed out"
                with contextlib.suppress(subprocess.TimeoutExpired):  # go on with the other parts
                    how = f"exit {subprocess.run(command, env=environment, timeout=arguments.limit).returncode}"
                print(f"== {part} {shape}: {how}, {time.monotonic() - begun:.0f} s", flush=True)
        _print_figures([json.loads(line) for line in results.read_text().splitlines()] if results.exists() else [])


def _print_figures(results: list[dict[str, Any]]) -> None:
    for shape, kind in dict.fromkeys((result["shape"], result["kind"]) for result in results):
        ours, peer, tiles = (
            [r for r in results if (r["shape"], r["kind"], r["side"]) == (shape, kind, side)]
            for side in ("ours", "peer", "tiles")
        )
        if ours and peer:
            fastest = [max(runs, key=lambda run: run["speed"]) for runs in (ours, peer)]
            least = [min(runs, key=lambda run: run["mib"]) for runs in (ours, peer)]
            for name, (mine, theirs) in (("fastest", fastest), ("least_memory", least)):
                print(f"figure {shape}_{kind}_{name}_speed_ratio {mine['speed'] / theirs['speed']:.2f}")
                print(f"figure {shape}_{kind}_{name}_memory_ratio {mine['mib'] / max(theirs['mib'], 1):.3f}")
        if ours and tiles:
            # The second loss is that after an update, so it compares gradients too.
            for number, (a, b) in enumerate(zip(ours[0]["losses"], tiles[0]["losses"], strict=True), 1):
                print(f"figure {shape}_{kind}_loss_{number}_against_tiles {a - b:+.5f}")


def _work(part: str, shape: str, base: Path, arguments: argparse.Namespace) -> None:
    if part == "make":
        make_model(shape, base)
    elif part == "ours":
        peak = _peak()
        print(f"bf16 products: {peak / 1e12:.3g} TFLOP/s", flush=True)
        for run in RUNS:
            _attempt(f"ours {shape} {run}", partial(_ours, shape, base, arguments, run, peak))
    else:
        for kind, checkpointing, size, compiled in PEER_RUNS:
            name = f"peer {shape} {kind}, batch {size}"
            name += f"{', checkpointing' if checkpointing else ''}{', torch.compile' if compiled else ''}"
            _attempt(name, partial(_peer, shape, name, base, arguments.sequences / kind, checkpointing, size, compiled))


def _peer(shape: str, name: str, base: Path, folder: Path, *how: Any) -> None:
    _note(side="peer", shape=shape, kind=folder.name, **measure_peer(name, base, folder, *how))


def _attempt(name: str, act: Callable[[], None]) -> None:
    """Run, and print an error such as out of memory, so that the other runs go on."""
    try:
        act()
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}", flush=True)


def _note(**result: Any) -> None:
    with Path(os.environ["ON_GPU_RESULTS"]).open("a") as file:
        file.write(json.dumps(result) + "\n")


def _ours(shape: str, base: Path, arguments: argparse.Namespace, run: Run, peak: float) -> None:
    import jax

    from bench.needed_flops import needed_flops
    from jora_model.model.load import load_model
    from jora_model.ops.plain_attention import backend_name, choose_attention
    from jora_model.packing.sampler import Sampler
    from jora_model.packing.sequences import read_sequences
    from jora_model.packing.tries import pack_evenly
    from jora_model.spec.job import TrainSettings
    from jora_model.spec.settings import LoraSettings
    from jora_model.training.step import Trainer

    kind, length, count, remat, forced = run
    lora = LoraSettings(rank=RANK, alpha=ALPHA, target_modules=("all-linear",))
    sequences = read_sequences(arguments.sequences / ("unshared" if kind == "plain" else kind))
    sampler = Sampler(sequences, EXAMPLES, 0)
    members = [[sequences[index] for index in sampler.update(number)] for number in range(4)]
    packed = [_alone(some, length) if kind == "plain" else pack_evenly(some, length, count) for some in members]
    model = load_model(base, lora=lora)
    attention, _ = choose_attention(backend_name(), "bfloat16", model.config.head_dim, [r.reach for r in packed])
    settings = {"row_length": length, "examples_per_update": EXAMPLES, "rows_per_microbatch": count, "remat": remat}
    trainer = Trainer(model, TrainSettings.model_validate(settings), 100, forced or attention)  # type: ignore[arg-type]

    def update(number: int) -> tuple[float, float]:
        begun = time.monotonic()
        sums = trainer.zero()
        rows = packed[number % len(packed)]
        for microbatch, start in enumerate(range(0, len(rows), count)):
            sums = trainer.accumulate(sums, rows.slice(start, count), number, microbatch)
        loss = float(trainer.apply(sums)[0])
        return time.monotonic() - begun, loss

    first, turns = (2, 1) if forced else (len(packed), 8)  # the first updates compile each shape
    updates = [update(number % first) for number in range(first + turns)]
    seconds = statistics.median(seconds for seconds, _ in updates[first:])
    tokens = statistics.mean(sum(len(member.tokens) for member in some) for some in members)
    needed = statistics.mean(needed_flops(model.config, lora, rows)["all"] for rows in packed)
    mib = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0) / 2**20
    side, losses = "tiles" if forced else "ours", [loss for _, loss in updates[:2]]
    _note(
        side=side, shape=shape, kind=kind.replace("plain", "unshared"), speed=EXAMPLES / seconds, mib=mib, losses=losses
    )
    print(
        f"ours {shape} {kind}, {count} of {len(packed[0])} rows of {packed[0].tokens.shape[1]}, remat {remat}, "
        f"{trainer.attention}: {EXAMPLES / seconds:.1f} examples/s, {tokens / seconds:,.0f} tokens/s, "
        f"{1000 * seconds:.0f} ms per update, {100 * needed / seconds / peak:.1f}% of the peak, peak memory "
        f"{mib:,.0f} MiB so far, losses {losses[0]:.4f} {losses[1]:.4f}, "
        f"first updates {sum(spent for spent, _ in updates[:first]):.1f} s",
        flush=True,
    )
    if arguments.profile and not forced:
        _profile(lambda: update(0))


def _alone(some: Seq[Any], length: int) -> Any:
    """Return rows with one sequence each."""
    from jora_model.packing.tries import Rows, pack

    rows = [vars(pack([one], length)) for one in some]
    return Rows(**{name: np.concatenate([row[name] for row in rows]) for name in rows[0]})


def _profile(act: Callable[[], object]) -> None:
    """Print the kernels that take the most time."""
    import jax

    with tempfile.TemporaryDirectory() as name:
        with jax.profiler.trace(name):
            act()
        (path,) = Path(name).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    names = {event["pid"]: event["args"]["name"] for event in events if event.get("name") == "process_name"}
    spent: dict[str, list[float]] = collections.defaultdict(list)
    for event in events:
        if event.get("ph") == "X" and "GPU" in names.get(event["pid"], "") and "hlo_op" in event.get("args", {}):
            spent[event["name"]].append(event["dur"])
    print(f"  {sum(map(sum, spent.values())) / 1000:8.2f} ms {sum(map(len, spent.values())):6d} x kernels")
    for kernel, times in sorted(spent.items(), key=lambda item: -sum(item[1]))[:14]:
        print(f"  {sum(times) / 1000:8.2f} ms {len(times):6d} x {kernel[:110]}", flush=True)


def _peak() -> float:
    """Return FLOP/s of one program of consecutive products, which allocates nothing while it is timed."""
    import jax
    import jax.numpy as jnp

    n, turns = (8192, 20) if jax.default_backend() != "cpu" else (256, 2)
    x, y = (jax.random.normal(jax.random.key(seed), (n, n), jnp.bfloat16) for seed in range(2))
    y = y * n**-0.5  # keeps the products at the scale of x
    product = jax.jit(lambda x, y: jax.lax.fori_loop(0, turns, lambda _, x: x @ y, x))
    jax.block_until_ready(product(x, y))
    spent = []
    for _ in range(3):
        begun = time.monotonic()
        jax.block_until_ready(product(x, y))
        spent.append(time.monotonic() - begun)
    return turns * 2.0 * n**3 / statistics.median(spent)


if __name__ == "__main__":
    main()
