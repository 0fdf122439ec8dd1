"""Examples per second against PEFT: `python -m bench.train_vs_peft --squad FILE [--unshared] [--targets qv] [--quick]`.

The same RAFT examples of a SQuAD file (bench/squad_workload.py), SmolLM2-135M in bf16, rank 16, adapters in float32.
Ours: the Trainer that `jora train` runs, 64 examples an update, as the pipeline starts it. Peer: transformers and PEFT,
SDPA, bf16, sorted by length, 2 threads, no gradient checkpointing, the best of batch sizes 1, 2, 4 and 8; its best of
parameters in bf16 throughout or float32 adapters under autocast. Each side lives in a process of its own; they take
turns (A/B/A/B) and the medians are compared. Compiling is not counted; PEFT's optimizer step is not counted either.

Memory is compared at about as many tokens a microbatch: two rows of ours, four examples of the peer. The share of the
peak counts what the model needs (products only, nothing that is computed again), against a bf16 product of 4096 x 576 x
1536 on every core at once, by JAX, measured beside it.

About 15 minutes; --quick (fewer examples, two turns) about 4.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import describe_machine
from jora_model.formats.base import resolve_base
from jora_model.formats.gguf_import import import_gguf
from jora_model.packing.sequences import read_sequences
from tasks.engine.jobs import MEMORY_SETTINGS

EXAMPLES_PER_UPDATE = 64
ROW_LENGTH = 3328
RANK, ALPHA = 16, 32.0
TARGETS = {"all-linear": "all-linear", "qv": "q_proj,v_proj"}


def main() -> None:
    """Build the workload, start both sides, let them take turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--squad", type=Path, required=True, help="a SQuAD-format file")
    parser.add_argument("--targets", choices=sorted(TARGETS), default="all-linear")
    parser.add_argument("--unshared", action="store_true", help="one question a context")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--devices", type=int, default=1, help="CPU devices of ours, along `data`")
    parser.add_argument("--row-length", type=int, default=ROW_LENGTH)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        _serve(arguments.worker)
        return
    print(describe_machine("jax", "jaxlib", "torch", "transformers", "peft"), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = _prepare(folder, arguments)
        with _Worker("ours", folder, settings) as ours, _Worker("peer", folder, settings) as peer:
            _compare(ours, peer, settings["turns"])


def _prepare(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.squad_workload import squad_sequences
    from data.raft.sequences import write_sequences

    import_gguf(resolve_base("embedded"), folder / "base")
    sequences = squad_sequences(arguments.squad, folder / "base", shared=not arguments.unshared)
    (folder / "sequences").mkdir()
    write_sequences(folder / "sequences", sequences)
    tokens = sum(len(sequence.tokens) for sequence in sequences)
    print(f"{len(sequences)} examples of {tokens / len(sequences):.0f} tokens", flush=True)
    return {
        "folder": str(folder),
        "targets": TARGETS[arguments.targets],
        "devices": arguments.devices,
        "row_length": arguments.row_length,
        "turns": 2 if arguments.quick else 4,
        "peer_examples": 8 if arguments.quick else 24,
        "batch_sizes": [1, 2, 4] if arguments.quick else [1, 2, 4, 8],
    }


def _compare(ours: "_Worker", peer: "_Worker", turns: int) -> None:
    print(ours.call("warm"), flush=True)
    warmed = peer.call("warm")
    print(warmed["line"], flush=True)
    shares: dict[str, list[float]] = {"layers": [], "all": []}
    speeds: dict[str, list[float]] = {"ours": [], "peer": []}
    for turn in range(turns):
        for worker in (ours, peer):
            answer = worker.call("run", turn=turn)
            speeds[worker.side].append(answer["examples"] / answer["seconds"])
            if worker.side == "ours":
                for kind, flops in answer["flops"].items():
                    shares[kind].append(100 * flops / answer["seconds"] / answer["peak"])
            print(
                f"{worker.side}: {answer['examples']} examples in {answer['seconds']:.1f} s: "
                f"{speeds[worker.side][-1]:.2f} examples/s, {answer['tokens'] / answer['seconds']:,.0f} tokens/s",
                flush=True,
            )
    ratios = [a / b for a, b in zip(speeds["ours"], speeds["peer"], strict=True)]
    ours_mb, peer_mb = ours.peak_mb(), warmed["peak_mb"]
    print(f"peak resident memory: ours {ours_mb:,} MB, peer {peer_mb:,} MB with four examples a batch")
    print(f"figure memory_ratio {ours_mb / peer_mb:.2f}")
    print(f"figure percent_of_peak_without_attention {statistics.median(shares['layers']):.0f}")
    print(f"figure percent_of_peak {statistics.median(shares['all']):.0f}")
    print(f"figure examples_per_second_ours {statistics.median(speeds['ours']):.3f}")
    print(f"figure examples_per_second_peer {statistics.median(speeds['peer']):.3f}")
    print(f"figure train_speed_ratio {statistics.median(ratios):.2f}")


class _Worker:
    """One side in a process of its own; calls and answers are JSON lines."""

    def __init__(self, side: str, folder: Path, settings: dict[str, Any]):
        self.side = side
        self._log = (folder / f"{side}.log").open("w+")
        environment = {**os.environ, "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
        if side == "ours":
            environment |= MEMORY_SETTINGS
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.train_vs_peft", "--squad", ".", "--worker", side],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
        )
        self.call("settings", **settings)

    def call(self, what: str, **arguments: Any) -> Any:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"what": what, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise RuntimeError(f"{self.side} ended: {self._log.read()[-3000:]}")
        return json.loads(line)

    def peak_mb(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM:"))

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream:
                stream.close()


def _serve(side: str) -> None:
    handlers: dict[str, Callable[..., Any]] = {}
    # Whatever libraries print goes to the log; answers have a stream of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        call = json.loads(line)
        what = call.pop("what")
        if what == "settings":
            handlers = {"ours": _ours, "peer": _peer}[side](call)
            answer = "ready"
        else:
            answer = handlers[what](**call)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _ours(settings: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    import jax

    from bench.machine import product_peak
    from bench.needed_flops import needed_flops
    from jora_model.model.load import load_model
    from jora_model.packing.sampler import Sampler
    from jora_model.packing.tries import pack_evenly
    from jora_model.runtime.sharding import make_mesh, provide_cpu_devices
    from jora_model.spec.job import TrainSettings
    from jora_model.spec.settings import LoraSettings, MeshSettings
    from jora_model.training.step import Trainer

    mesh = MeshSettings(data=settings["devices"])
    provide_cpu_devices(mesh)
    folder = Path(settings["folder"])
    sequences = read_sequences(folder / "sequences")
    training = TrainSettings(
        row_length=settings["row_length"], examples_per_update=EXAMPLES_PER_UPDATE, rows_per_microbatch=mesh.devices
    )
    lora = LoraSettings(rank=RANK, alpha=ALPHA, target_modules=settings["targets"])
    sampler = Sampler(sequences, EXAMPLES_PER_UPDATE, 0)
    model = load_model(folder / "base", lora=lora, mesh=make_mesh(mesh) if mesh.devices > 1 else None)
    trainer = Trainer(model, training, sampler.updates_per_epoch)

    def update(number: int) -> dict[str, Any]:
        members = sampler.update(number)
        started = time.monotonic()
        rows = pack_evenly([sequences[place] for place in members], training.row_length, mesh.devices)
        sums = trainer.zero()
        for microbatch, start in enumerate(range(0, len(rows), mesh.devices)):
            sums = trainer.accumulate(sums, rows.slice(start, mesh.devices), number, microbatch)
        jax.block_until_ready(trainer.apply(sums))
        seconds = time.monotonic() - started
        tokens = sum(len(sequences[place].tokens) for place in members)
        packed = {"rows": len(rows), "length": rows.tokens.shape[1], "used": rows.used}
        answer = {"examples": len(members), "tokens": tokens, "seconds": seconds, **packed}
        return answer | {"flops": needed_flops(model.config, lora, rows), "peak": product_peak()}

    def warm() -> str:
        # Every update once, so that no length of rows is compiled while it is measured.
        found, *_ = [update(number) for number in range(settings["turns"])]
        return f"ours: an update is {found['rows']} rows of {found['length']}, {found['used']:,} positions"

    return {"warm": warm, "run": lambda turn: update(turn)}


def _peer(settings: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    folder = Path(settings["folder"])
    targets = settings["targets"]
    base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.bfloat16, attn_implementation="sdpa")
    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        target_modules=targets if targets == "all-linear" else targets.split(","),
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base, config, autocast_adapter_dtype=False)
    model.train()
    sequences = read_sequences(folder / "sequences")
    chosen = np.random.default_rng(0).permutation(len(sequences))[: settings["peer_examples"]]
    # Sorted, so that a batch is padded little.
    examples = sorted((sequences[place] for place in chosen), key=lambda sequence: len(sequence.tokens))

    def use_adapters(dtype: Any) -> None:
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(dtype)
                parameter.grad = None

    def step(batch: list[Any], autocast: bool) -> None:
        length = max(len(sequence.tokens) for sequence in batch)
        ids = torch.zeros((len(batch), length), dtype=torch.long)
        labels = torch.full((len(batch), length), -100)
        attention = torch.zeros((len(batch), length), dtype=torch.long)
        for row, sequence in enumerate(batch):
            tokens = torch.from_numpy(sequence.tokens.astype(np.int64))
            ids[row, : len(tokens)] = tokens
            labels[row, : len(tokens)] = torch.where(torch.from_numpy(sequence.loss_mask), tokens, -100)
            attention[row, : len(tokens)] = 1
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            model(input_ids=ids, attention_mask=attention, labels=labels).loss.backward()

    def run_over(some: list[Any], size: int, autocast: bool) -> float:
        use_adapters(torch.float32 if autocast else torch.bfloat16)
        started = time.monotonic()
        for start in range(0, len(some), size):
            step(some[start : start + size], autocast)
        return time.monotonic() - started

    best: dict[str, Any] = {}

    def warm() -> dict[str, Any]:
        middle = len(examples) // 2
        found = {}
        peak_mb = 0
        for autocast in (False, True):
            run_over(examples[middle : middle + 1], 1, autocast)
            for size in settings["batch_sizes"]:
                some = examples[max(0, middle - size) : max(0, middle - size) + max(size, 2)]
                found[size, autocast] = run_over(some, size, autocast) / len(some)
                if size <= 4 and not autocast:
                    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        best["size"], best["autocast"] = min(found, key=lambda how: found[how])
        told = ", ".join(
            f"batch {size}{' autocast' if autocast else ''} {1 / seconds:.3f}"
            for (size, autocast), seconds in found.items()
        )
        return {"line": f"peer: examples/s {told}", "peak_mb": peak_mb}

    def run(turn: int) -> dict[str, Any]:
        del turn
        seconds = run_over(examples, best["size"], best["autocast"])
        tokens = sum(len(sequence.tokens) for sequence in examples)
        return {"examples": len(examples), "tokens": tokens, "seconds": seconds}

    return {"warm": warm, "run": run}


if __name__ == "__main__":
    main()
