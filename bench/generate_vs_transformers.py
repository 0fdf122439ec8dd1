"""Answers per second against transformers: `python -m bench.generate_vs_transformers --squad FILE [--unshared]`.

Both sides answer the same questions over contexts of five paragraphs (bench/generation_workload.py): SmolLM2-135M,
greedy, at most 64 new tokens. Ours: `jora_model.generation.generate`, which evaluation uses, bf16, 32 slots
(`batch_size`). Peer: `transformers.generate`, SDPA, the fastest of bf16 and float32 and of batch sizes 1 to 32 (tried
first on a few prompts), sorted by length and left-padded. Each side runs in its own process on all cores; they
alternate and the medians of answers per second are compared. Compilation is not counted. The answers are compared too:
rounding differs in bf16, so some differ; the drill greedy_parity compares them in float32.

About 10 minutes on two free cores; --quick about 2.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import describe_machine
from bench.worker import Worker, parse
from jora_model.formats.base import resolve_base
from jora_model.formats.gguf_import import import_gguf
from jora_model.generation.prompt_files import read_tokens, write_tokens
from tasks.engine.jobs import MEMORY_SETTINGS

MODULE = "bench.generate_vs_transformers"
MAX_NEW_TOKENS = 64
SLOTS = 32


def main() -> None:
    """Write the prompts, start both sides, run them in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unshared", action="store_true", help="no two prompts share a context")
    parser.add_argument("--only", choices=("ours", "peer"), help="run one side only, for profiling")
    parser.add_argument("--slots", type=int, default=SLOTS)
    arguments = parse(parser, {"ours": _ours, "peer": _peer})
    print(describe_machine("jax", "jaxlib", "torch", "transformers"), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = _prepare(folder, arguments)
        sides = [side for side in ("ours", "peer") if arguments.only in (None, side)]
        workers = {
            side: Worker(MODULE, side, folder, MEMORY_SETTINGS if side == "ours" else {}, settings) for side in sides
        }
        try:
            _compare(workers, settings["turns"])
        finally:
            for worker in workers.values():
                worker.__exit__()


def _prepare(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from data.prompting.tokenizer import load_tokenizer
    from testing.generation_workload import squad_prompts

    import_gguf(resolve_base("embedded"), folder / "base")
    tokenizer = load_tokenizer(folder / "base")
    articles = 2 if arguments.quick else 8
    prompts = squad_prompts(arguments.squad, tokenizer, shared=not arguments.unshared, articles=articles)
    if arguments.unshared:
        prompts = prompts[: 40 if arguments.quick else 120]
    write_tokens(folder / "prompts", "prompts", [prompt.id for prompt in prompts], [p.tokens for p in prompts])
    lengths = [len(prompt.tokens) for prompt in prompts]
    print(f"{len(prompts)} prompts of {statistics.mean(lengths):.0f} tokens", flush=True)
    return {
        "folder": str(folder),
        "end_id": tokenizer.end_id("chat"),
        "slots": arguments.slots,
        "turns": 2 if arguments.quick else 3,
        "peer_prompts": 16 if arguments.quick else 48,
        "batch_sizes": [1, 4, 16] if arguments.quick else [1, 2, 4, 8, 16, 32],
        "dtypes": ["bfloat16"] if arguments.quick else ["bfloat16", "float32"],
    }


def _compare(workers: dict[str, Worker], turns: int) -> None:
    for worker in workers.values():
        print(worker.call("warm"), flush=True)
    speeds: dict[str, list[float]] = {side: [] for side in workers}
    answers: dict[str, dict[str, list[int]]] = {}
    for _ in range(turns):
        for side, worker in workers.items():
            run = worker.call("run")
            answers[side] = run["answers"]
            count, tokens = len(run["answers"]), sum(map(len, run["answers"].values()))
            speeds[side].append(count / run["seconds"])
            print(
                f"{side}: {count} answers of {tokens / count:.1f} tokens in {run['seconds']:.1f} s: "
                f"{speeds[side][-1]:.3f} answers/s",
                flush=True,
            )
    for side, values in speeds.items():
        print(f"figure answers_per_second_{side} {statistics.median(values):.3f}")
    if len(workers) == 2:
        shared = answers["ours"].keys() & answers["peer"].keys()
        equal = sum(answers["ours"][id] == answers["peer"][id] for id in shared)
        print(f"figure equal_answers_percent {100 * equal / len(shared):.0f}")
        ratios = [a / b for a, b in zip(speeds["ours"], speeds["peer"], strict=True)]
        print(f"figure generate_speed_ratio {statistics.median(ratios):.2f}")


def _ours(settings: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    from jora_model.generation.generate import generate
    from jora_model.model.load import load_model
    from jora_model.spec.settings import GenerationSettings

    folder = Path(settings["folder"])
    ids, prompts = read_tokens(folder / "prompts", "prompts")
    model = load_model(folder / "base")
    generation = GenerationSettings(max_new_tokens=MAX_NEW_TOKENS, batch_size=settings["slots"])

    def run() -> dict[str, Any]:
        started = time.monotonic()
        generated = generate(model, prompts, generation, (settings["end_id"],))
        seconds = time.monotonic() - started
        return {"seconds": seconds, "answers": {id: answer.tolist() for id, answer in zip(ids, generated, strict=True)}}

    def warm() -> str:
        return f"ours: first run, with compilation, {run()['seconds']:.1f} s"

    return {"warm": warm, "run": run}


def _peer(settings: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    from testing.transformers_answers import TransformersAnswers

    folder = Path(settings["folder"])
    ids, prompts = read_tokens(folder / "prompts", "prompts")
    order = np.random.default_rng(0).permutation(len(ids))
    chosen = order[: settings["peer_prompts"]].tolist()
    best: dict[str, Any] = {}

    def timed(peer: TransformersAnswers, indices: list[int], size: int) -> tuple[float, list[list[int]]]:
        started = time.monotonic()
        answers = peer.answer([prompts[index] for index in indices], size)
        return time.monotonic() - started, answers

    def warm() -> str:
        speeds = []
        for dtype in settings["dtypes"]:
            peer = TransformersAnswers(folder / "base", dtype, settings["end_id"], MAX_NEW_TOKENS)
            timed(peer, chosen[:1], 1)
            for size in settings["batch_sizes"]:
                indices = order[: max(size, 4)].tolist()
                speed = len(indices) / timed(peer, indices, size)[0]
                speeds.append(f"{dtype} {size}: {speed:.3f}")
                if speed > best.get("speed", 0.0):
                    best.update(speed=speed, size=size, peer=peer)
                elif size >= 4 and speed < best["speed"] / 2:
                    break  # such as float32 on a CPU with fast bf16; larger batches cannot catch up
        return f"peer: answers/s by dtype and batch size: {', '.join(speeds)}"

    def run() -> dict[str, Any]:
        seconds, answers = timed(best["peer"], chosen, best["size"])
        return {"seconds": seconds, "answers": dict(zip([ids[index] for index in chosen], answers, strict=True))}

    return {"warm": warm, "run": run}


if __name__ == "__main__":
    main()
