"""Reproducibility of training on the GPU, and generation against transformers; see bench/on_gpu.py."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from jora_model.generation.generate import generate
from jora_model.model.load import load_model
from jora_model.packing.sequences import read_sequences
from jora_model.spec.hf_files import ADAPTER_WEIGHTS
from jora_model.spec.settings import GenerationSettings

UPDATES, PROMPTS, NEW_TOKENS = 6, 4, 24
_NO_END = -1  # no end token, so that all answers have the same length


def trains_alike(base: Path, sequences: Path) -> None:
    """Compare the bytes of a training job run twice, and of one killed half-way and resumed."""
    with tempfile.TemporaryDirectory() as name:
        full, again, resumed = (Path(name) / run for run in ("full", "again", "resumed"))
        _train(base, sequences, full)
        _train(base, sequences, again)
        _train(base, sequences, resumed, stop_after=3)
        _train(base, sequences, resumed)
        adapters = [(run / "out" / ADAPTER_WEIGHTS).read_bytes() for run in (full, again, resumed)]
        facts = json.loads((resumed / "out" / "training.json").read_text())
        losses = [_losses(run / "out" / "metrics.jsonl") for run in (full, again, resumed)]
    apart = max(abs(a - b) for other in losses[1:] for a, b in zip(losses[0], other, strict=True))
    print(
        f"training of {UPDATES} updates repeated: {'same bytes' if adapters[0] == adapters[1] else 'DIFFERENT BYTES'}; "
        f"killed and resumed after update {UPDATES - facts['updates_in_this_process']}: "
        f"{'same bytes' if adapters[0] == adapters[2] else 'DIFFERENT BYTES'}; losses differ by at most {apart:.2e}",
        flush=True,
    )


def _losses(path: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in path.read_text().splitlines()]


def _train(base: Path, sequences: Path, run: Path, stop_after: int | None = None) -> None:
    """Run a job to its end, or kill it after `stop_after` updates."""
    run.mkdir(exist_ok=True)
    training = {"row_length": 3328, "examples_per_update": 16, "max_updates": UPDATES, "checkpoint_every": 1}
    job: dict[str, object] = {
        "base": str(base),
        "base_name": "random",
        "sequences": str(sequences),
        "output": str(run / "out"),
    }
    job |= {"checkpoints": str(run / "checkpoints"), "training": training}
    (run / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "jora_model.training.train", str(run / "job.json")]
    with (run / "log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        metrics = run / "out" / "metrics.jsonl"
        try:
            while stop_after and process.poll() is None:
                if metrics.exists() and len(metrics.read_text().splitlines()) >= stop_after:
                    process.kill()
                    process.wait()
                    return
            if process.wait() != 0:
                raise RuntimeError((run / "log").read_text()[-600:])
        finally:
            process.kill()


def generates_alike(base: Path, folder: Path) -> None:
    """Compare greedy answers in float32 and bfloat16 with those of transformers in float32."""
    import jax
    import torch
    from transformers import AutoModelForCausalLM

    prompts = [sequence.tokens[: 200 + 7 * n] for n, sequence in enumerate(read_sequences(folder)[:PROMPTS])]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = False
    theirs = []
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager").to(device)
    model.generation_config.eos_token_id = None
    for prompt in prompts:
        ids = torch.from_numpy(prompt[None].astype(np.int64)).to(device)
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0
        )
        theirs.append(out[0, len(prompt) :].cpu().numpy())
    del model
    settings = GenerationSettings(max_new_tokens=NEW_TOKENS)
    for dtype in ("float32", "bfloat16"):
        with jax.default_matmul_precision("highest" if dtype == "float32" else "default"):
            ours = generate(load_model(base, compute_dtype=dtype), prompts, settings, [_NO_END])
        agreed = [int((a == b).cumprod().sum()) for a, b in zip(ours, theirs, strict=True)]
        distinct = len(set(np.concatenate(theirs).tolist()))
        print(
            f"generated in {dtype}: the first {agreed} of {NEW_TOKENS} tokens equal those of transformers in float32, "
            f"{distinct} of which are distinct",
            flush=True,
        )
