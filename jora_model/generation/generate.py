"""Answer prompts: `generate(...)` in Python, or `python -m jora_model.generation.generate JOB.json` as a process.

Prompts that begin alike are handed to the engine (engine.py) side by side, so that what they share is run once. Results
are in the order of the prompts.
"""

import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jora_model.generation.engine import Engine, Request
from jora_model.generation.guide import Grammars, Guide
from jora_model.generation.prompt_files import read_grammars, read_tokens, write_tokens
from jora_model.model.load import load_model
from jora_model.model.transformer import Llama
from jora_model.packing.prompt_rows import families
from jora_model.runtime.compilation import use_compilation_cache
from jora_model.runtime.process import report_progress, run_job_file, set_up_log
from jora_model.spec.config import ModelConfig
from jora_model.spec.job import GenerateJob, read_job
from jora_model.spec.settings import GenerationSettings
from user_error import UserError

log = logging.getLogger(__name__)

_FEED = 256  # requests that wait in the engine, which looks for those that share among them


def generate(
    model: Llama,
    prompts: Sequence[np.ndarray],
    settings: GenerationSettings,
    eos_ids: Sequence[int],
    progress: Callable[[int], object] = lambda finished: None,
    guide: Callable[[int], Guide | None] = lambda place: None,
) -> list[np.ndarray]:
    """Continue each prompt until a token of `eos_ids` or `max_new_tokens`.

    Args:
        model: with or without an adapter, which stays unmerged.
        prompts: int32 tokens, each at least one.
        progress: called with the number of answers finished since the last call.
        guide: what the answer to the prompt at a place is held to.

    Returns:
        int32 tokens of each answer, in the order of the prompts. The end token is included, so an answer without
        one was cut at `max_new_tokens`.

    Raises:
        UserError: a prompt is empty, or with its answer longer than the model's positions.
    """
    _check(prompts, settings, model.config)
    engine = Engine(model, slots=min(settings.batch_size, max(1, len(prompts))))
    # Families of the longest prompts first: what does not fit into memory fails at once, and the time left is never
    # underestimated.
    found = sorted(families(prompts), key=lambda places: -max(len(prompts[place]) for place in places))
    order = deque(place for places in found for place in places)
    place_of: dict[int, int] = {}
    answers: list[list[int]] = [[] for _ in prompts]
    while order or not engine.idle:
        while order and engine.waiting < _FEED:
            place = order.popleft()
            request = Request(prompts[place], settings, tuple(eos_ids), place=place, guide=guide(place))
            place_of[engine.submit(request)] = place
        produced = engine.step()
        for number, token, _ in produced:
            answers[place_of[number]].append(token)
        progress(sum(finished is not None for _, _, finished in produced))
    return [np.array(answer, np.int32) for answer in answers]


def _check(prompts: Sequence[np.ndarray], settings: GenerationSettings, config: ModelConfig) -> None:
    for place, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise UserError(f"prompt {place} has no token; give it at least one")
        if len(prompt) + settings.max_new_tokens > config.max_positions:
            raise UserError(
                f"prompt {place} has {len(prompt)} tokens, with max_new_tokens={settings.max_new_tokens} more than the "
                f"model's {config.max_positions} positions; shorten the prompt or lower max_new_tokens"
            )


def generate_answers(job: GenerateJob) -> None:
    """Answer a folder of prompts; writes answers.safetensors {tokens, offsets} and answers.json {"ids", "overruled"}.

    Raises:
        UserError: a file is missing or damaged, a prompt too long.
    """
    if job.compilation_cache:
        use_compilation_cache(Path(job.compilation_cache))
    ids, prompts = read_tokens(Path(job.prompts), "prompts")
    adapter = None if job.adapter is None else Path(job.adapter)
    model = load_model(Path(job.base), adapter=adapter, compute_dtype=jnp.dtype(job.compute_dtype))
    guide = _Guides(job, model.config, len(prompts))
    with tqdm(total=len(prompts), desc="answers", unit="answer", file=sys.stderr) as bar:

        def tell(finished: int) -> None:
            bar.update(finished)
            report_progress(int(bar.n), len(prompts))

        answers = generate(model, prompts, job.generation, job.end_ids, tell, guide)
    cut = sum(answer[-1] not in job.end_ids for answer in answers)
    if cut:
        log.warning("%d of %d answers were cut at %d tokens", cut, len(answers), job.generation.max_new_tokens)
    write_tokens(Path(job.output), "answers", ids, answers, overruled=guide.overruled)


class _Guides:
    """The guide of each prompt that has a grammar, made when it is asked for."""

    def __init__(self, job: GenerateJob, config: ModelConfig, prompts: int):
        self._found = [None] * prompts if job.grammars is None else read_grammars(Path(job.grammars), prompts)
        self._grammars = None if job.grammars is None else Grammars(Path(job.base), config.vocab_size, job.end_ids)
        self._given: dict[int, Guide] = {}

    def __call__(self, place: int) -> Guide | None:
        grammar = self._found[place]
        guide = None if grammar is None or self._grammars is None else self._grammars.guide(grammar)
        if guide is not None:
            self._given[place] = guide
        return guide

    @property
    def overruled(self) -> list[int | None]:
        """Of each prompt's answer; None: it was not held to anything."""
        return [self._given[place].overruled if place in self._given else None for place in range(len(self._found))]


if __name__ == "__main__":
    set_up_log("jora_model")
    run_job_file(lambda path: generate_answers(read_job(path, GenerateJob)))
