"""Answer prompts in batches: `generate(...)` in Python, or `python -m jora_model.generate JOB.json` as a process.

Prompts are sorted by length, so that those of a batch are padded little, and padded to a few lengths, so that little is
compiled. A batch ends when its last answer does. Results are in the order of the prompts.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jora_model.compilation import use_compilation_cache
from jora_model.config import ModelConfig
from jora_model.decode import Decoder
from jora_model.job import GenerateJob, read_job
from jora_model.model import Llama
from jora_model.process import report_progress, run_job_file, set_up_log
from jora_model.prompt_files import read_tokens, write_tokens
from jora_model.sampling import next_tokens, prompt_keys
from jora_model.settings import GenerationSettings
from jora_model.weights import load_model

log = logging.getLogger(__name__)

_SHORTEST_BUCKET = 64
# With a single row XLA's CPU backend leaves its fast product and widens every weight to float32 (2 times slower).
_FEWEST_ROWS = 2


def generate(
    model: Llama,
    prompts: Sequence[np.ndarray],
    settings: GenerationSettings,
    eos_ids: Sequence[int],
    progress: Callable[[int], object] = lambda finished: None,
) -> list[np.ndarray]:
    """Continue each prompt until a token of `eos_ids` or `max_new_tokens`.

    Args:
        model: with or without an adapter, which stays unmerged.
        prompts: int32 tokens, each at least one.
        progress: called with the number of answers finished since the last call.

    Returns:
        int32 tokens of each answer, in the order of the prompts. The end token is included, so an answer without
        one was cut at `max_new_tokens`.

    Raises:
        ValueError: a prompt is empty, or with its answer longer than the model's positions.
    """
    _check(prompts, settings, model.config)
    decoder = Decoder(model)
    choose = jax.jit(partial(next_tokens, temperature=settings.temperature, top_k=settings.top_k, top_p=settings.top_p))
    answers: list[np.ndarray] = [np.zeros(0, np.int32)] * len(prompts)
    # Longest first: what does not fit into memory fails at once, and the time left is never underestimated.
    order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
    rows = max(_FEWEST_ROWS, min(settings.batch_size, len(prompts)))
    for start in range(0, len(order), settings.batch_size):
        places = order[start : start + settings.batch_size]
        batch = _run_batch(
            decoder, choose, [prompts[place] for place in places], places, rows, settings, eos_ids, progress
        )
        for place, answer in zip(places, batch, strict=True):
            answers[place] = answer
    return answers


def _run_batch(
    decoder: Decoder,
    choose: Callable[..., jax.Array],
    prompts: Sequence[np.ndarray],
    places: Sequence[int],
    rows: int,
    settings: GenerationSettings,
    eos_ids: Sequence[int],
    progress: Callable[[int], object],
) -> list[np.ndarray]:
    """Answers of one batch, filled up to `rows` with rows of one token that nobody reads."""
    tokens = np.zeros((rows, bucket_length(max(len(prompt) for prompt in prompts))), np.int32)
    lengths, places_B = np.ones(rows, np.int32), np.zeros(rows, np.int32)
    for row, (prompt, place) in enumerate(zip(prompts, places, strict=True)):
        tokens[row, : len(prompt)] = prompt
        lengths[row], places_B[row] = len(prompt), place
    keys = prompt_keys(settings.seed, jnp.asarray(places_B))
    logits, state = decoder.prefill(jnp.asarray(tokens), jnp.asarray(lengths), settings.max_new_tokens)
    chosen: list[np.ndarray] = []
    ends = np.full(len(prompts), settings.max_new_tokens)
    running = np.ones(len(prompts), bool)
    for step in range(settings.max_new_tokens):
        new_B = choose(logits, keys, np.int32(step))
        chosen.append(np.asarray(new_B)[: len(prompts)])
        stopped = running & np.isin(chosen[-1], eos_ids)
        ends[stopped] = step + 1
        running &= ~stopped
        progress(int(stopped.sum()))
        if not running.any() or step + 1 == settings.max_new_tokens:
            break
        logits, state = decoder.step(new_B, state)
    progress(int(running.sum()))
    return [np.stack(chosen)[:end, row] for row, end in enumerate(ends)]


def bucket_length(length: int) -> int:
    """The length that prompts are padded to: four sizes an octave, so at most a quarter is padding.

    >>> [bucket_length(n) for n in (3, 64, 65, 900, 1025)]
    [64, 64, 80, 1024, 1280]
    """
    if length <= _SHORTEST_BUCKET:
        return _SHORTEST_BUCKET
    step = 1 << ((length - 1).bit_length() - 3)
    return -(-length // step) * step


def _check(prompts: Sequence[np.ndarray], settings: GenerationSettings, config: ModelConfig) -> None:
    for place, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {place} has no token; give it at least one")
        if len(prompt) + settings.max_new_tokens > config.max_positions:
            raise ValueError(
                f"prompt {place} has {len(prompt)} tokens, with max_new_tokens={settings.max_new_tokens} more than the "
                f"model's {config.max_positions} positions; shorten the prompt or lower max_new_tokens"
            )


def generate_answers(job: GenerateJob) -> None:
    """Answer a folder of prompts; writes answers.safetensors {tokens, offsets} and answers.json {"ids"}.

    Raises:
        ValueError: a file is missing or damaged, a prompt too long.
    """
    if job.compilation_cache:
        use_compilation_cache(Path(job.compilation_cache))
    ids, prompts = read_tokens(Path(job.prompts), "prompts")
    adapter = None if job.adapter is None else Path(job.adapter)
    model = load_model(Path(job.base), adapter=adapter, compute_dtype=jnp.dtype(job.compute_dtype))
    with tqdm(total=len(prompts), desc="answers", unit="answer", file=sys.stderr) as bar:

        def tell(finished: int) -> None:
            bar.update(finished)
            report_progress(int(bar.n), len(prompts))

        answers = generate(model, prompts, job.generation, job.end_ids, tell)
    cut = sum(answer[-1] not in job.end_ids for answer in answers)
    if cut:
        log.warning("%d of %d answers were cut at %d tokens", cut, len(answers), job.generation.max_new_tokens)
    write_tokens(Path(job.output), "answers", ids, answers)


if __name__ == "__main__":
    set_up_log("jora_model")
    run_job_file(lambda path: generate_answers(read_job(path, GenerateJob)))
