"""Train an adapter from a job file: `python -m jora_model.training.train JOB.json`; several processes: several.py.

The same job on the same devices writes the same bytes, whether or not it was killed and resumed. The output folder gets
adapter_config.json and adapter_model.safetensors (PEFT), metrics.jsonl (a line per update), loss.png, training.json (a
summary) and, on request, tensorboard/ and profile/.
"""

import hashlib
import json
import logging
import math
import resource
import sys
import time
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jora_model.formats.hf_weights import facts_and_weights, rounding_note
from jora_model.formats.lora import write_adapter
from jora_model.model.load import adapter_factors, adapter_magnitudes, load_model
from jora_model.ops.plain_attention import backend_name, choose_attention
from jora_model.packing.sampler import Sampler
from jora_model.packing.sequences import Sequence, read_sequences
from jora_model.packing.tries import Rows, pack_evenly
from jora_model.runtime.compilation import (
    CompilationCount,
    compilation_facts,
    describe_compilation,
    use_compilation_cache,
)
from jora_model.runtime.distributed import is_first
from jora_model.runtime.process import report_progress, set_up_log
from jora_model.runtime.several import run_job
from jora_model.runtime.sharding import check_divisible, check_rows, make_mesh, provide_cpu_devices, replicated_note
from jora_model.runtime.tracing import Trace
from jora_model.spec.config import ModelConfig
from jora_model.spec.hf_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG
from jora_model.spec.job import TrainJob, TrainSettings, read_job
from jora_model.training.checkpoints import Checkpoints
from jora_model.training.curve import draw_curve
from jora_model.training.metrics import Metrics, NoMetrics, check_tensorboard
from jora_model.training.optimizer import learning_rate_at
from jora_model.training.step import Trainer
from jora_model.training.validation import Best, Validation
from user_error import UserError

log = logging.getLogger("jora_model.training.train")  # __name__ is __main__ in a process of its own

_ENDS = 1_000_000  # bytes that are read of both ends of a file of the base model


def train(job: TrainJob) -> None:
    """Run a job, from its last checkpoint if there is one.

    Raises:
        UserError: a mesh that does not fit, an example longer than a row, a target that matches nothing, a loss that is
            not finite (the message names the update and the examples).
    """
    settings = job.training
    if settings.tensorboard:
        check_tensorboard()
    if settings.patience is not None and job.validation is None:
        raise UserError(
            f"training.patience={settings.patience} needs validation examples; set split.validation_fraction above 0 "
            "or leave patience out"
        )
    if job.compilation_cache:
        use_compilation_cache(Path(job.compilation_cache))
    config, checkpoint = facts_and_weights(Path(job.base))
    if note := rounding_note(checkpoint, settings.compute_dtype):
        log.info("%s", note)
    check_divisible(config, job.mesh)
    check_rows(settings.rows_per_microbatch, job.mesh)
    if note := replicated_note(config, job.mesh.tp):
        log.warning("%s", note)
    sequences = _read(Path(job.sequences), config)
    held_out = _read(Path(job.validation), config) if job.validation else None
    mesh = make_mesh(job.mesh) if job.mesh.devices > 1 else None
    sampler = Sampler(sequences, settings.examples_per_update, settings.seed)
    updates = sampler.updates_per_epoch * settings.epochs
    updates = min(updates, settings.max_updates or updates)
    reaches = _reaches(sampler, sequences, held_out, settings, updates, config.long_from)
    attention, reason = choose_attention(
        backend_name(),
        settings.compute_dtype,
        config.head_dim,
        reaches,
        capped=config.score_cap is not None,
        windowed=any(window is not None for window in config.windows(settings.row_length)),
    )
    log.info("attention: %s (%s)", attention, reason)
    for note in config.notes:
        log.warning("%s: %s", job.base_name, note)
    output = Path(job.output)
    if is_first():
        output.mkdir(parents=True, exist_ok=True)
    with CompilationCount() as compiled:
        model = load_model(
            Path(job.base),
            lora=job.lora,
            adapter=None if job.start_from is None else Path(job.start_from),
            mesh=mesh,
            seed=settings.seed,
            compute_dtype=settings.compute_dtype,
        )
        trainer = Trainer(model, settings, updates, attention)
        validation = Validation(held_out, settings, trainer.state.adapter, config.long_from) if held_out else None
        checkpoints = Checkpoints(Path(job.checkpoints), _fingerprint(job))
        try:
            summary = _loop(trainer, sampler, sequences, validation, checkpoints, output, updates)
        finally:
            checkpoints.close()
    if validation and settings.keep_best:
        trainer.state = trainer.state._replace(adapter=validation.adapter)
        summary["adapter_of_update"] = validation.best.update
    factors, magnitudes = adapter_factors(trainer.model), adapter_magnitudes(trainer.model)
    if not is_first():
        return
    write_adapter(output, factors, job.lora, job.base_name, magnitudes)
    draw_curve(output / "metrics.jsonl", output / "loss.png")
    summary["compilation"] = compilation_facts(trainer.programs, compiled)
    (output / "training.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    log.info("%s", describe_compilation(summary["compilation"]))


def _loop(
    trainer: Trainer,
    sampler: Sampler,
    sequences: Seq[Sequence],
    validation: Validation | None,
    checkpoints: Checkpoints,
    output: Path,
    updates: int,
) -> dict[str, Any]:
    """Run the updates from the last checkpoint until `updates` or an early stop; returns a summary."""
    settings = trainer.settings
    done = _restore(trainer, validation, checkpoints)
    if done:
        log.warning("resuming after update %d of %d", done, updates)
    # All at once: each one computed in the loop would wait for the devices.
    rates = np.asarray(learning_rate_at(settings, updates)(np.arange(updates, dtype=np.float32)))
    stored = example_tokens = rows_used = 0
    started, first = time.monotonic(), done
    stopped, validation_text = validation is not None and validation.stops, ""
    trace = Trace(output / "profile", settings.profile if is_first() else 0, first, updates)
    bar = tqdm(total=updates, initial=done, desc="training", unit="update", file=sys.stderr, disable=not is_first())
    with bar, Metrics(output, done, settings.tensorboard) if is_first() else NoMetrics() as metrics, trace:
        if not stopped and done < updates:
            members, rows = _prepare(sampler, sequences, done, settings, trainer.config.long_from)
        while done < updates and not stopped:
            update = done
            trace.before(update)
            begun = time.monotonic()
            sums = trainer.zero()
            size = settings.rows_per_microbatch
            for microbatch, start in enumerate(range(0, len(rows), size)):
                sums = trainer.accumulate(sums, rows.slice(start, size), update, microbatch)
            answer_tokens = int(rows.weights.sum())
            tokens = sum(len(sequences[index].tokens) for index in members)
            stored += rows.used
            example_tokens += tokens
            rows_used += len(rows)
            current = members
            # The devices are busy now: preparing the next rows takes no extra time.
            if update + 1 < updates:
                members, rows = _prepare(sampler, sequences, update + 1, settings, trainer.config.long_from)
            # The only wait for the devices in an update.
            mean_loss, norm = (float(value) for value in jax.device_get(trainer.apply(sums)))
            _check_finite(update, mean_loss, norm, [sequences[index].id for index in current])
            done, seconds = update + 1, time.monotonic() - begun
            line = {
                "update": done,
                "epoch": update // sampler.updates_per_epoch + 1,
                "loss": mean_loss,
                "learning_rate": float(rates[update]),
                "gradient_norm": norm,
                "examples": len(current),
                "answer_tokens": answer_tokens,
                "answer_tokens_per_second": answer_tokens / seconds,
                "example_tokens_per_second": tokens / seconds,
                "seconds": seconds,
            }
            if validation and validation.due(done, updates):
                line["validation_loss"] = validation.measure(trainer, done)
                line["validation_seconds"] = time.monotonic() - begun - seconds
                stopped = validation.stops
            metrics.write(line)
            if done % settings.checkpoint_every == 0 or done == updates or stopped:
                metrics.sync()
                _save(trainer, validation, checkpoints, done)
            if "validation_loss" in line:
                validation_text = f"validation {line['validation_loss']:.3f}, "
            bar.set_postfix_str(f"loss {mean_loss:.3f}, {validation_text}{tokens / seconds:,.0f} example tokens/s")
            bar.update()
            report_progress(done, updates)
    if stopped:
        log.info("early stop after update %d of %d: the validation loss no longer falls", done, updates)
    return {
        "updates": done,
        "planned_updates": updates,
        "updates_in_this_process": done - first,
        "adapter_of_update": done,
        "validation": validation.facts() if validation else None,
        "examples": sampler.count,
        "families": len(sampler.families),
        "example_tokens": example_tokens,
        "stored_positions": stored,
        "rows": rows_used,
        "seconds": round(time.monotonic() - started, 1),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "traces": trainer.traces,
    }


def _save(trainer: Trainer, validation: Validation | None, checkpoints: Checkpoints, done: int) -> None:
    best = asdict(validation.best) if validation else {}
    checkpoints.save(done, (trainer.state, validation and validation.adapter), best)


def _restore(trainer: Trainer, validation: Validation | None, checkpoints: Checkpoints) -> int:
    """Restore trainer and validation from the last checkpoint; returns its number of updates, 0 without one."""
    restored = checkpoints.restore((trainer.state, validation and validation.adapter))
    if restored is None:
        return 0
    trainer.state, adapter = restored.state
    if validation:
        validation.best, validation.adapter = Best(**restored.facts), adapter
    return restored.updates


def _prepare(
    sampler: Sampler, sequences: Seq[Sequence], update: int, settings: TrainSettings, long_from: int | None
) -> tuple[list[int], Rows]:
    members = sampler.update(update)
    chosen = [sequences[index] for index in members]
    return members, pack_evenly(chosen, settings.row_length, settings.rows_per_microbatch, long_from)


def _reaches(
    sampler: Sampler,
    sequences: Seq[Sequence],
    held_out: Seq[Sequence] | None,
    settings: TrainSettings,
    updates: int,
    long_from: int | None,
) -> Iterator[np.ndarray]:
    """`reach` of all rows of a run, one update at a time."""
    if held_out:
        yield pack_evenly(held_out, settings.row_length, settings.rows_per_microbatch, long_from).reach
    for update in range(updates):
        yield _prepare(sampler, sequences, update, settings, long_from)[1].reach


def _check_finite(update: int, loss: float, norm: float, ids: list[str]) -> None:
    if math.isfinite(loss) and math.isfinite(norm):
        return
    raise UserError(
        f"loss {loss} and gradient norm {norm} at update {update + 1} are not finite; lower training.learning_rate, "
        f"or check its examples: {', '.join(ids)}"
    )


def _read(folder: Path, config: ModelConfig) -> list[Sequence]:
    """The sequences of a folder, checked against the model's vocabulary and positions, which JAX does not check."""
    sequences = read_sequences(folder)
    for sequence in sequences:
        if not 0 <= sequence.tokens.min() <= sequence.tokens.max() < config.vocab_size:
            raise UserError(
                f"example {sequence.id} has a token outside the model's vocabulary of {config.vocab_size}; build the "
                "dataset with this base model's tokenizer"
            )
        if len(sequence.tokens) > config.max_positions:
            raise UserError(
                f"example {sequence.id} has {len(sequence.tokens)} tokens and the model {config.max_positions} "
                "positions; lower raft.max_tokens and build the dataset again"
            )
    return sequences


def _fingerprint(job: TrainJob) -> str:
    """Digest of what determines the adapter: settings, base and sequences, but not their paths or the kinds of logs.

    Of the base model, which may have hundreds of gigabytes, only the config and both ends of each file are read.
    """
    settings = job.model_dump_json(
        include={"lora", "mesh", "training"}, exclude={"training": {"tensorboard", "profile"}}
    )
    digest = hashlib.sha256(settings.encode())
    for folder in filter(None, (job.sequences, job.validation)):
        digest.update((Path(folder) / "sequences.safetensors").read_bytes())
    if job.start_from is not None:
        for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
            digest.update((Path(job.start_from) / name).read_bytes())
    digest.update((Path(job.base) / CONFIG).read_bytes())
    for path in sorted(Path(job.base).glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(size - _ENDS, 0))
            digest.update(file.read(_ENDS))
    return digest.hexdigest()


def main(path: Path, processes: int) -> None:
    """Train from a job file, as one of `processes` processes; JAX must not be initialized yet."""
    job = read_job(path, TrainJob)
    provide_cpu_devices(job.mesh, processes)
    train(job)


if __name__ == "__main__":
    set_up_log("jora_model")
    run_job(main)
