"""Train an adapter from a job file, in this process: `python -m jora_model.train JOB.json`.

The same job on the same devices gives the same bytes, killed and started again or not. Writes to the output folder
adapter_config.json and adapter_model.safetensors (PEFT), metrics.jsonl (a line for each update), loss.png and
training.json (a summary).
"""

import hashlib
import json
import logging
import math
import os
import resource
import sys
import time
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jora_model.checkpoints import Checkpoints
from jora_model.compilation import use_compilation_cache
from jora_model.config import ModelConfig
from jora_model.curve import draw_curve
from jora_model.job import TrainJob, read_job
from jora_model.lora import adapter_factors, write_adapter
from jora_model.process import run_job_file
from jora_model.sampler import Sampler
from jora_model.sequences import Sequence, read_sequences
from jora_model.sharding import check_divisible, check_rows, make_mesh
from jora_model.step import Trainer, TrainState, learning_rate_at
from jora_model.tries import Rows, pack
from jora_model.weights import load_model

log = logging.getLogger(__name__)

_ENDS = 1_000_000


def train(job: TrainJob) -> None:
    """Run a job to its end, from its last checkpoint where there is one.

    Raises:
        ValueError: what a person did wrong: a mesh that does not fit, an example longer than a row, a target that
            matches nothing, a loss that is not finite (with the update and the examples).
    """
    settings = job.training
    if job.compilation_cache:
        use_compilation_cache(Path(job.compilation_cache))
    sequences = read_sequences(Path(job.sequences))
    config = ModelConfig.read(Path(job.base))
    check_divisible(config, job.mesh)
    check_rows(settings.rows_per_microbatch, job.mesh)
    _check_sequences(sequences, config)
    mesh = make_mesh(job.mesh) if job.mesh.devices > 1 else None
    sampler = Sampler(sequences, settings.examples_per_update, settings.seed)
    updates = sampler.updates_per_epoch * settings.epochs
    updates = min(updates, settings.max_updates or updates)
    model = load_model(
        Path(job.base), lora=job.lora, mesh=mesh, seed=settings.seed, compute_dtype=settings.compute_dtype
    )
    trainer = Trainer(model, settings, updates)
    output = Path(job.output)
    output.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(Path(job.checkpoints), _fingerprint(job))
    try:
        totals = _loop(trainer, sampler, sequences, checkpoints, output / "metrics.jsonl", updates)
    finally:
        checkpoints.close()
    write_adapter(output, adapter_factors(trainer.model), job.lora, job.base_name)
    draw_curve(output / "metrics.jsonl", output / "loss.png")
    (output / "training.json").write_text(json.dumps(totals, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _loop(
    trainer: Trainer,
    sampler: Sampler,
    sequences: Seq[Sequence],
    checkpoints: Checkpoints,
    metrics: Path,
    updates: int,
) -> dict[str, Any]:
    settings = trainer.settings
    done = 0
    if (found := checkpoints.restore(trainer.state)) is not None:
        done, trainer.state = found[0], TrainState(*found[1])
        log.warning("going on after update %d of %d", done, updates)
    _keep_lines(metrics, done)
    rate = learning_rate_at(settings, updates)
    stored = example_tokens = rows_used = 0
    started = time.monotonic()
    bar = tqdm(total=updates, initial=done, desc="training", unit="update", file=sys.stderr)
    with bar, metrics.open("a", encoding="utf-8") as file:
        members, rows = _prepare(sampler, sequences, done, settings.row_length) if done < updates else ([], None)
        for update in range(done, updates):
            begun = time.monotonic()
            assert rows is not None
            sums = trainer.zero()
            size = settings.rows_per_microbatch
            for microbatch, start in enumerate(range(0, len(rows), size)):
                sums = trainer.accumulate(sums, rows.slice(start, size), update, microbatch)
            answer_tokens = int(rows.weights.sum())
            tokens = sum(len(sequences[place].tokens) for place in members)
            stored += rows.used
            example_tokens += tokens
            rows_used += len(rows)
            current = members
            # The devices are busy now: the next rows cost nothing.
            if update + 1 < updates:
                members, rows = _prepare(sampler, sequences, update + 1, settings.row_length)
            mean_loss, norm = (float(value) for value in trainer.apply(sums))
            _check_finite(update, mean_loss, norm, [sequences[place].id for place in current])
            seconds = time.monotonic() - begun
            line = {
                "update": update + 1,
                "epoch": update // sampler.updates_per_epoch + 1,
                "loss": mean_loss,
                "learning_rate": float(rate(update)),
                "gradient_norm": norm,
                "examples": len(current),
                "answer_tokens": answer_tokens,
                "answer_tokens_per_second": answer_tokens / seconds,
                "example_tokens_per_second": tokens / seconds,
                "seconds": seconds,
            }
            file.write(json.dumps(line) + "\n")
            file.flush()
            if (update + 1) % settings.checkpoint_every == 0 or update + 1 == updates:
                os.fsync(file.fileno())
                checkpoints.save(update + 1, trainer.state)
            bar.set_postfix_str(f"loss {mean_loss:.3f}, {tokens / seconds:,.0f} example tokens/s")
            bar.update()
    return {
        "updates": updates,
        "updates_in_this_process": updates - done,
        "examples": sampler.count,
        "families": len(sampler.families),
        "example_tokens": example_tokens,
        "stored_positions": stored,
        "rows": rows_used,
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "traces": trainer.traces,
        "compile_seconds": {name: round(seconds, 1) for name, seconds in trainer.compile_seconds.items()},
    }


def _prepare(sampler: Sampler, sequences: Seq[Sequence], update: int, row_length: int) -> tuple[list[int], Rows]:
    members = sampler.update(update)
    return members, pack([sequences[place] for place in members], row_length)


def _check_finite(update: int, loss: float, norm: float, ids: list[str]) -> None:
    if math.isfinite(loss) and math.isfinite(norm):
        return
    raise ValueError(
        f"loss {loss} and gradient norm {norm} at update {update + 1} are not finite; lower training.learning_rate, "
        f"or look at its examples: {', '.join(ids)}"
    )


def _check_sequences(sequences: Seq[Sequence], config: ModelConfig) -> None:
    """Outside its tables a model computes something and says nothing."""
    for sequence in sequences:
        if not 0 <= sequence.tokens.min() <= sequence.tokens.max() < config.vocab_size:
            raise ValueError(
                f"example {sequence.id} has a token outside the model's vocabulary of {config.vocab_size}; build the "
                "dataset with this base model's tokenizer"
            )
        if len(sequence.tokens) > config.max_positions:
            raise ValueError(
                f"example {sequence.id} has {len(sequence.tokens)} tokens and the model {config.max_positions} "
                "positions; lower raft.max_tokens and build the dataset again"
            )


def _keep_lines(metrics: Path, updates: int) -> None:
    """Drop lines of updates that are done again, and one that a kill cut off."""
    kept = []
    for text in metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []:
        try:
            row = json.loads(text)
        except json.JSONDecodeError:
            break
        if row["update"] <= updates:
            kept.append(text + "\n")
    fresh = metrics.with_suffix(".new")
    fresh.write_text("".join(kept), encoding="utf-8")
    fresh.replace(metrics)


def _fingerprint(job: TrainJob) -> str:
    """Digest of what decides the run: settings, base and sequences, not where they lie.

    Of a base model, which may have hundreds of gigabytes, the config and the ends of each file stand for the whole.
    """
    digest = hashlib.sha256(job.model_dump_json(include={"lora", "mesh", "training"}).encode())
    digest.update((Path(job.sequences) / "sequences.safetensors").read_bytes())
    digest.update((Path(job.base) / "config.json").read_bytes())
    for path in sorted(Path(job.base).glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(size - _ENDS, 0))
            digest.update(file.read(_ENDS))
    return digest.hexdigest()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    run_job_file(lambda path: train(read_job(path, TrainJob)))
