"""Answers prompts: `generate(...)` in Python, or `python -m jora_model.generation.generate JOB.json` as a process.

Prompts with a common prefix are submitted to the engine (engine.py) one after the other, so that it is run once.
Results are in the order of the prompts.
"""

import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jora_model.generation.engine import Engine, Request, check_prompt
from jora_model.generation.guide import Grammars, Guide
from jora_model.generation.layer_weights import ModelWeights, open_weights
from jora_model.generation.prompt_files import read_grammars, read_tokens, write_tokens
from jora_model.model.transformer import Transformer
from jora_model.packing.prompt_rows import families
from jora_model.runtime.compilation import use_compilation_cache
from jora_model.runtime.process import report_progress, run_job_file, set_up_log
from jora_model.spec.config import ModelConfig
from jora_model.spec.job import GenerateJob, read_job
from jora_model.spec.settings import GenerationSettings

log = logging.getLogger(__name__)

_FEED = 256  # most requests waiting in the engine, which searches them for common prefixes


def generate(
    model: Transformer | ModelWeights,
    prompts: Sequence[np.ndarray],
    settings: GenerationSettings,
    eos_ids: Sequence[int],
    progress: Callable[[int], object] = lambda finished: None,
    guide: Callable[[int], Guide | None] = lambda index: None,
) -> list[np.ndarray]:
    """Continue each prompt until a token of `eos_ids` or `max_new_tokens`.

    Args:
        model: with or without an adapter, which stays unmerged.
        prompts: int32 tokens, each at least one.
        progress: called with the number of answers finished since the last call.
        guide: returns the grammar state for the answer to prompt `index`.

    Returns:
        int32 tokens of each answer, in the order of the prompts. The end token is included: an answer without one was
        cut at `max_new_tokens`.

    Raises:
        UserError: a prompt is empty, longer with its answer than the model's positions, or has a token outside of its
            vocabulary.
    """
    for index, prompt in enumerate(prompts):
        check_prompt(prompt, settings, model.config.max_positions, model.config.vocab_size, f"prompt {index}")
    engine = Engine(model, slots=min(settings.batch_size, max(1, len(prompts))))
    # Families of the longest prompts first: a lack of memory fails at once, and the time left is never underestimated.
    longest_first = sorted(families(prompts), key=lambda family: -max(len(prompts[index]) for index in family))
    order = deque(index for family in longest_first for index in family)
    index_of: dict[int, int] = {}
    answers: list[list[int]] = [[] for _ in prompts]
    while order or not engine.idle:
        while order and engine.waiting < _FEED:
            index = order.popleft()
            request = Request(prompts[index], settings, tuple(eos_ids), draw=index, guide=guide(index))
            index_of[engine.submit(request)] = index
        produced = engine.step()
        for number, token, _ in produced:
            answers[index_of[number]].append(token)
        progress(sum(finished is not None for _, _, finished in produced))
    return [np.array(answer, np.int32) for answer in answers]


def generate_answers(job: GenerateJob) -> None:
    """Answer a folder of prompts; writes answers.safetensors {tokens, offsets} and answers.json {"ids", "overruled"}.

    Raises:
        UserError: a file is missing or damaged, or a prompt is too long.
    """
    if job.compilation_cache:
        use_compilation_cache(Path(job.compilation_cache))
    ids, prompts = read_tokens(Path(job.prompts), "prompts")
    adapter = None if job.adapter is None else Path(job.adapter)
    model = open_weights(Path(job.base), adapter=adapter, compute_dtype=jnp.dtype(job.compute_dtype))
    guide = _Guides(job, model.config, len(prompts))
    with tqdm(total=len(prompts), desc="answers", unit="answer", file=sys.stderr) as bar:

        def advance(finished: int) -> None:
            bar.update(finished)
            report_progress(int(bar.n), len(prompts))

        answers = generate(model, prompts, job.generation, job.end_ids, advance, guide)
    cut = sum(answer[-1] not in job.end_ids for answer in answers)
    if cut:
        log.warning("%d of %d answers were cut at %d tokens", cut, len(answers), job.generation.max_new_tokens)
    write_tokens(Path(job.output), "answers", ids, answers, overruled=guide.overruled)


class _Guides:
    """The guides of prompts that have a grammar, created on demand."""

    def __init__(self, job: GenerateJob, config: ModelConfig, prompts: int):
        self._of_prompt = [None] * prompts if job.grammars is None else read_grammars(Path(job.grammars), prompts)
        self._grammars = None if job.grammars is None else Grammars(Path(job.base), config.vocab_size, job.end_ids)
        self._guides: dict[int, Guide] = {}

    def __call__(self, index: int) -> Guide | None:
        grammar = self._of_prompt[index]
        guide = None if grammar is None or self._grammars is None else self._grammars.guide(grammar)
        if guide is not None:
            self._guides[index] = guide
        return guide

    @property
    def overruled(self) -> list[int | None]:
        """`Guide.overruled` of each prompt's answer; None if it had no guide."""
        guides = map(self._guides.get, range(len(self._of_prompt)))
        return [None if guide is None else guide.overruled for guide in guides]


if __name__ == "__main__":
    set_up_log("jora_model")
    run_job_file(lambda path: generate_answers(read_job(path, GenerateJob)))
