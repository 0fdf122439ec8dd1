"""Checks an export by its logits: `python -m jora_model.generation.probe JOB.json`, as a process.

The trained model (base and adapter) and the exported one are loaded one after the other, run in float32 on a real
prompt, and compared. The remaining difference is the rounding of the merged weights.
"""

import gc
import json
import logging
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jora_model.model.load import load_model
from jora_model.packing.sequences import read_sequences
from jora_model.runtime.compilation import use_compilation_cache
from jora_model.runtime.process import run_job_file, set_up_log
from jora_model.spec.job import ProbeJob, read_job
from user_error import UserError

log = logging.getLogger("jora_model.generation.probe")


def logits(base: Path, adapter: Path | None, tokens: np.ndarray, rounded: bool = False) -> np.ndarray:
    """Float32 logits `[T, V]` of a model for tokens int32 `[T]`; `rounded` as in `load_model`."""
    model = load_model(base, adapter=adapter, compute_dtype=jnp.float32, rounded=rounded)
    length = len(tokens)
    positions = jnp.arange(length, dtype=jnp.int32)[None]
    hidden = model.hidden_states(jnp.asarray(tokens)[None], positions, jnp.full((1, length), length, jnp.int32))
    return np.asarray(model.head(hidden))[0]


def root_mean_square(values: np.ndarray) -> float:
    """Root mean square of all values, summed in float64."""
    return float(np.sqrt(np.mean(np.square(values), dtype=np.float64)))


def probe(job: ProbeJob) -> None:
    """Compare, and write `{part: {difference, share, changed, bound}}` to the job's output.

    `difference` is the largest difference of a logit, `share` the root mean square of the differences over that of the
    logits, `changed` how many of the likeliest next tokens differ. The share is checked: rounding to bfloat16 moves a
    few logits of the first positions by a tenth of the largest, at random.

    Raises:
        UserError: a part differs by more than its bound.
    """
    if job.compilation_cache:
        use_compilation_cache(Path(job.compilation_cache))
    tokens = read_sequences(Path(job.sequences))[0].tokens[: job.tokens]
    rounded = job.compute_dtype == "bfloat16"
    trained = logits(Path(job.base), Path(job.adapter), tokens, rounded)
    parts = {}
    for part, bound in job.bounds.items():
        folder = Path(job.export) / part
        gc.collect()  # one model in memory at a time
        merged = part == "merged"
        ours = logits(folder, None, tokens) if merged else logits(Path(job.base), folder, tokens, rounded)
        difference = float(np.abs(ours - trained).max())
        share = root_mean_square(ours - trained) / max(root_mean_square(trained), 1e-30)
        changed = int((ours.argmax(-1) != trained.argmax(-1)).sum())
        parts[part] = {"difference": difference, "share": share, "changed": changed, "bound": bound}
        if not share <= bound:
            raise UserError(
                f"the exported {part} model has other logits than the trained one: they differ by {share:.2g} of "
                f"their root mean square, {bound:.2g} is allowed; the export is discarded"
            )
        log.info("%s: its logits differ by %.2g of their root mean square", part, share)
    Path(job.output).write_text(json.dumps({"tokens": len(tokens), **parts}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    set_up_log("jora_model")
    run_job_file(lambda path: probe(read_job(path, ProbeJob)))
