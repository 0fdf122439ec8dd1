"""The training engine on an NVIDIA GPU beside PEFT: `python -m bench.on_gpu --sequences FOLDER [--shapes smollm2,1b]`.

FOLDER is what `python -m bench.on_gpu --squad FILE --prepare FOLDER` writes: the RAFT sequences of
bench/squad_workload.py, with shared contexts (shared/) and with a context for each question (unshared/). Weights are
random, of the shapes of SmolLM2-135M and Llama-3.2-1B, so that nothing is downloaded; speed and memory do not depend on
their values.

Each part is a process of its own: `check` compares cuDNN's attention and the whole model with references on the GPU
(bench/on_gpu_check.py), `ours` measures the Trainer that `jora train` runs, `peer` transformers and PEFT (bf16, SDPA,
fused AdamW, sorted by length, several batch sizes, with gradient checkpointing and without). Rank 16 on all linears, 64
examples an update. Compiling is not counted. Of each side the fastest run is compared, or one within 5% of it that
takes less memory; memory is what its own allocator had at most until then. `--profile` lists the kernels that take most
of the time.
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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

RANK, ALPHA, EXAMPLES = 16, 32.0, 64
SHAPES: dict[str, tuple[int, int, int, int, int, int]] = {  # hidden, feed-forward, layers, heads, key/value heads, V
    "tiny": (64, 128, 2, 4, 2, 49152),
    "smollm2": (576, 1536, 30, 9, 3, 49152),
    "1b": (2048, 8192, 16, 32, 8, 128256),
}
# Which sequences, row length, rows of a microbatch, remat, and the attention if it is not the engine's own choice.
Run = tuple[str, int, int, str, str]
RUNS: tuple[Run, ...] = (
    ("shared", 3328, 1, "full", ""),
    ("shared", 3328, 4, "full", ""),
    ("shared", 3328, 4, "none", ""),
    ("unshared", 1792, 16, "full", ""),
    ("unshared", 1792, 16, "none", ""),
    ("shared", 3328, 1, "full", "tiles"),
)
# Which sequences, gradient checkpointing, batch size.
PEER_RUNS = (
    ("shared", False, 8),
    ("shared", False, 16),
    ("shared", False, 32),
    ("shared", True, 16),
    ("shared", True, 64),
    ("unshared", False, 16),
    ("unshared", False, 32),
)


def main() -> None:
    """Run the parts, one process after another, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=Path)
    parser.add_argument("--squad", type=Path)
    parser.add_argument("--prepare", type=Path)
    parser.add_argument("--shapes", default="smollm2,1b")
    parser.add_argument("--parts", default="check,ours,peer")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for each part")
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
    from data.sequences import write_sequences
    from jora_model.base import resolve_base
    from jora_model.gguf_import import import_gguf

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
                how = "over its limit"
                with contextlib.suppress(subprocess.TimeoutExpired):  # the other parts still tell something
                    how = f"exit {subprocess.run(command, env=environment, timeout=arguments.limit).returncode}"
                print(f"== {part} {shape}: {how}, {time.monotonic() - begun:.0f} s", flush=True)
        _print_figures([json.loads(line) for line in results.read_text().splitlines()] if results.exists() else [])


def _print_figures(results: list[dict[str, Any]]) -> None:
    runs: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for result in results:
        sides = runs.setdefault((result["shape"], result["kind"]), {"ours": [], "peer": []})
        sides[result["side"]].append(result)
    for (shape, kind), sides in runs.items():
        if all(sides.values()):
            ours, peer = (_best(sides[side]) for side in ("ours", "peer"))
            print(f"figure {shape}_{kind}_memory_ratio {ours['mib'] / max(peer['mib'], 1):.3f}")
            print(f"figure {shape}_{kind}_speed_ratio {ours['speed'] / peer['speed']:.2f}")


def _best(results: list[dict[str, Any]]) -> dict[str, Any]:
    fastest = max(result["speed"] for result in results)
    return min((result for result in results if result["speed"] > 0.95 * fastest), key=lambda result: result["mib"])


def _work(part: str, shape: str, base: Path, arguments: argparse.Namespace) -> None:
    if part == "make":
        _make(shape, base)
    elif part == "check":
        from bench.on_gpu_check import check

        check(base, arguments.sequences)
    elif part == "ours":
        print(f"a bf16 product of 8192^3: {_peak() / 1e12:.0f} TFLOP/s")
        for run in RUNS:
            _patiently(f"ours {shape} {run}", partial(_ours, shape, base, arguments, run))
    else:
        for kind, checkpointing, size in PEER_RUNS:
            name = f"peer {shape} {kind}, batch {size}{', checkpointing' if checkpointing else ''}"
            _patiently(name, partial(_peer, name, base, arguments.sequences / kind, checkpointing, size))


def _patiently(name: str, act: Callable[[], None]) -> None:
    """What does not fit into the GPU's memory is said; the other runs still tell something."""
    try:
        act()
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:300]}", flush=True)


def _note(**result: Any) -> None:
    with Path(os.environ["ON_GPU_RESULTS"]).open("a") as file:
        file.write(json.dumps(result) + "\n")


def _make(shape: str, base: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    hidden, inner, layers, heads, kv_heads, vocabulary = SHAPES[shape]
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=hidden // heads,
        vocab_size=vocabulary,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        initializer_range=0.04,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(base)
    print(f"{shape}: {sum(parameter.numel() for parameter in model.parameters()):,} parameters")


def _ours(shape: str, base: Path, arguments: argparse.Namespace, run: Run) -> None:
    import jax

    from jora_model.job import TrainSettings
    from jora_model.plain_attention import backend_name, choose_attention
    from jora_model.sampler import Sampler
    from jora_model.sequences import read_sequences
    from jora_model.settings import LoraSettings
    from jora_model.step import Trainer
    from jora_model.tries import pack_evenly
    from jora_model.weights import load_model

    kind, length, count, remat, forced = run
    lora = LoraSettings(rank=RANK, alpha=ALPHA, target_modules=("all-linear",))
    sequences = read_sequences(arguments.sequences / kind)
    sampler = Sampler(sequences, EXAMPLES, 0)
    members = [[sequences[place] for place in sampler.update(number)] for number in range(4)]
    packed = [pack_evenly(some, length, count) for some in members]
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

    turns = 1 if forced else 8
    for number in range(min(turns, len(packed))):
        update(number)
    found = [update(number) for number in range(turns)]
    seconds = statistics.median(seconds for seconds, _ in found)
    tokens = statistics.mean(sum(len(member.tokens) for member in some) for some in members)
    mib = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0) / 2**20
    _note(side="ours", shape=shape, kind=kind, speed=EXAMPLES / seconds, mib=mib)
    print(
        f"ours {shape} {kind}, {count} of {len(packed[0])} rows of {packed[0].tokens.shape[1]}, remat {remat}, "
        f"{trainer.attention}: {EXAMPLES / seconds:.1f} examples/s, {tokens / seconds:,.0f} tokens/s, "
        f"{1000 * seconds:.0f} ms an update, peak memory {mib:,.0f} MiB so far, loss {found[-1][1]:.3f}",
        flush=True,
    )
    if arguments.profile and not forced:
        _profile(lambda: update(0))


def _profile(act: Callable[[], object]) -> None:
    """The kernels that take most of the time."""
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
    import jax
    import jax.numpy as jnp

    n = 8192 if jax.default_backend() != "cpu" else 256
    x = jax.random.normal(jax.random.key(0), (n, n), jnp.bfloat16)
    product = jax.jit(lambda x: x @ x)
    jax.block_until_ready(product(x))
    begun = time.monotonic()
    jax.block_until_ready([product(x) for _ in range(10)])
    return 10 * 2.0 * n**3 / (time.monotonic() - begun)


def _peer(name: str, base: Path, folder: Path, checkpointing: bool, size: int) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from jora_model.sequences import read_sequences

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.cuda.empty_cache()  # of the run before
        torch.cuda.reset_peak_memory_stats()
    sequences = read_sequences(folder)
    chosen = np.random.default_rng(0).permutation(len(sequences))[:EXAMPLES]
    examples = sorted((sequences[place] for place in chosen), key=lambda sequence: -len(sequence.tokens))
    base_model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, attn_implementation="sdpa")
    base_model = base_model.to(device)
    if checkpointing:
        base_model.gradient_checkpointing_enable({"use_reentrant": False})
        base_model.enable_input_require_grads()
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base_model, config, autocast_adapter_dtype=False)
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=device == "cuda")

    def batch(some: list[Any]) -> dict[str, Any]:
        shape = (len(some), max(len(sequence.tokens) for sequence in some))
        ids, mask, labels = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, -100)
        for row, sequence in enumerate(some):
            length = len(sequence.tokens)
            ids[row, :length], mask[row, :length] = sequence.tokens, 1
            labels[row, :length] = np.where(sequence.loss_mask, sequence.tokens, -100)
        arrays = {"input_ids": ids, "attention_mask": mask, "labels": labels}
        return {key: torch.from_numpy(array).to(device) for key, array in arrays.items()}

    batches = [batch(examples[start : start + size]) for start in range(0, len(examples), size)]

    def update() -> float:
        begun = time.monotonic()
        for inputs in batches:
            loss = model(**inputs).loss / len(batches)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        return time.monotonic() - begun

    update()
    seconds = statistics.median(update() for _ in range(3))
    mib = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0.0
    _note(side="peer", shape=name.split()[1], kind=folder.name, speed=EXAMPLES / seconds, mib=mib)
    tokens = sum(len(sequence.tokens) for sequence in examples)
    print(
        f"{name}: {EXAMPLES / seconds:.1f} examples/s, {tokens / seconds:,.0f} tokens/s, {1000 * seconds:.0f} ms an "
        f"update, peak memory {mib:,.0f} MiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
