"""Examples per second against PEFT: `python -m bench.train_vs_peft --squad FILE [--unshared] [--targets qv] [--quick]`.

Both sides train on the same RAFT examples of a SQuAD file (bench/squad_workload.py): SmolLM2-135M in bf16, rank 16,
adapters in float32. Ours: the Trainer of `jora train`, 64 examples per update. Peer: transformers and PEFT, SDPA, bf16,
sorted by length, one thread per core, no gradient checkpointing, the fastest of batch sizes 1, 2, 4 and 8 and of bf16
parameters or float32 adapters under autocast. Each side runs in its own process; they alternate (A/B/A/B) and the
medians are compared. Compilation is not counted, nor is PEFT's optimizer step.

Memory is compared at about the same number of tokens per microbatch: two rows of ours, four examples of the peer. The
percentage of peak counts the FLOPs of the matrix products that the model needs, without recomputation, against a bf16
product of 4096 x 576 x 1536 on all cores, measured with JAX in the same run.

About 15 minutes; --quick (fewer examples, two turns) about 4.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import describe_machine
from bench.worker import Worker, parse
from data.retrieval.machine import usable_cores
from jora_model.formats.base import resolve_base
from jora_model.formats.gguf_import import import_gguf
from jora_model.packing.sequences import read_sequences
from tasks.engine.jobs import MEMORY_SETTINGS

MODULE = "bench.train_vs_peft"
EXAMPLES_PER_UPDATE = 64
ROW_LENGTH = 3328
RANK, ALPHA = 16, 32.0
TARGETS = {"all-linear": "all-linear", "qv": "q_proj,v_proj"}


def main() -> None:
    """Write the workload, start both sides, run them in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", choices=sorted(TARGETS), default="all-linear")
    parser.add_argument("--unshared", action="store_true", help="one question per context")
    parser.add_argument("--devices", type=int, default=1, help="our CPU devices, along `data`")
    parser.add_argument("--row-length", type=int, default=ROW_LENGTH)
    arguments = parse(parser, {"ours": _ours, "peer": _peer})
    print(describe_machine("jax", "jaxlib", "torch", "transformers", "peft"), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = _prepare(folder, arguments)
        with (
            Worker(MODULE, "ours", folder, MEMORY_SETTINGS, settings) as ours,
            Worker(MODULE, "peer", folder, {}, settings) as peer,
        ):
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


def _compare(ours: Worker, peer: Worker, turns: int) -> None:
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
    print(f"peak resident memory: ours {ours_mb:,} MB, peer {peer_mb:,} MB with four examples per batch")
    print(f"figure memory_ratio {ours_mb / peer_mb:.2f}")
    print(f"figure percent_of_peak_without_attention {statistics.median(shares['layers']):.0f}")
    print(f"figure percent_of_peak {statistics.median(shares['all']):.0f}")
    print(f"figure examples_per_second_ours {statistics.median(speeds['ours']):.3f}")
    print(f"figure examples_per_second_peer {statistics.median(speeds['peer']):.3f}")
    print(f"figure train_speed_ratio {statistics.median(ratios):.2f}")


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
        rows = pack_evenly([sequences[index] for index in members], training.row_length, mesh.devices)
        sums = trainer.zero()
        for microbatch, start in enumerate(range(0, len(rows), mesh.devices)):
            sums = trainer.accumulate(sums, rows.slice(start, mesh.devices), number, microbatch)
        jax.block_until_ready(trainer.apply(sums))
        seconds = time.monotonic() - started
        tokens = sum(len(sequences[index].tokens) for index in members)
        packed = {"rows": len(rows), "length": rows.tokens.shape[1], "used": rows.used}
        answer = {"examples": len(members), "tokens": tokens, "seconds": seconds, **packed}
        return answer | {"flops": needed_flops(model.config, lora, rows), "peak": product_peak()}

    def warm() -> str:
        # Run every update once, so that no row length is compiled while it is measured.
        first, *_ = [update(number) for number in range(settings["turns"])]
        return f"ours: one update is {first['rows']} rows of {first['length']}, {first['used']:,} positions"

    return {"warm": warm, "run": lambda turn: update(turn)}


def _peer(settings: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(usable_cores())
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
    # Sorted by length for little padding.
    examples = sorted((sequences[index] for index in chosen), key=lambda sequence: len(sequence.tokens))

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
        seconds: dict[tuple[int, bool], float] = {}
        peak_mb = 0
        for autocast in (False, True):
            run_over(examples[middle : middle + 1], 1, autocast)
            for size in settings["batch_sizes"]:
                some = examples[max(0, middle - size) : max(0, middle - size) + max(size, 2)]
                seconds[size, autocast] = run_over(some, size, autocast) / len(some)
                if size <= 4 and not autocast:
                    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        best["size"], best["autocast"] = min(seconds, key=lambda how: seconds[how])
        speeds = ", ".join(
            f"batch {size}{' autocast' if autocast else ''} {1 / each:.3f}"
            for (size, autocast), each in seconds.items()
        )
        return {"line": f"peer: examples/s {speeds}", "peak_mb": peak_mb}

    def run(turn: int) -> dict[str, Any]:
        del turn
        seconds = run_over(examples, best["size"], best["autocast"])
        tokens = sum(len(sequence.tokens) for sequence in examples)
        return {"examples": len(examples), "tokens": tokens, "seconds": seconds}

    return {"warm": warm, "run": run}


if __name__ == "__main__":
    main()
