"""How the tuned model's score depends on what it is shown: distractors, the oracle's position, top-k.

    distractors      the oracles among n distractors, the nearest that retrieval finds, in an order drawn by the seed
    oracle_position  the first oracle at each place of a context of top-k chunks
    top_k            what retrieval finds, k chunks of it, whether the oracle is among them or not

As in figures 5 and 6 of the RAFT paper (arXiv 2403.10131). Only answerable questions are asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from data.questions.questions import Question
from data.scoring.evaluated import Study


class RobustnessSettings(BaseModel):
    """What is varied, and how many questions are asked for each value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=False, description="Measure it; costs an answer for each question and value.")
    distractors: tuple[Annotated[int, Field(ge=0, le=63)], ...] = Field(
        default=(0, 2, 4, 6, 8, 10), description="Numbers of distractors beside the oracles; empty: not varied."
    )
    positions: bool = Field(default=True, description="Put the oracle at each place among evaluation.top_k chunks.")
    top_k: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        default=(1, 3, 5, 10), description="Numbers of retrieved chunks; empty: not varied."
    )
    max_questions: int = Field(
        default=50, ge=1, description="Ask at most this many of the evaluation's answerable questions."
    )
    seed: int = Field(default=0, ge=0, description="Draws the questions and the order of the chunks.")

    def most_chunks(self, top_k: int) -> int:
        """Chunks of the longest context, for a question with one oracle."""
        return max((top_k, *self.top_k, *(number + 1 for number in self.distractors)))


@dataclass(frozen=True, slots=True)
class Trial:
    """One question over one context of a study."""

    study: Study
    value: int
    context_ids: tuple[str, ...]


def trials(question: Question, found: Sequence[str], top_k: int, settings: RobustnessSettings) -> Iterator[Trial]:
    """All contexts that an answerable question is asked over.

    Args:
        found: what retrieval finds for it, best first, oracles or not; at least `settings.most_chunks(top_k)` and as
            many again as it has oracles, where there are so many chunks.
        top_k: size of the contexts in which the oracle is moved.
    """
    assert question.oracle_ids
    oracles, others = list(question.oracle_ids), [name for name in found if name not in question.oracle_ids]
    for number in sorted(set(settings.distractors)):
        if number <= len(others):
            yield Trial("distractors", number, tuple(_mixed([*oracles, *others[:number]], question, settings.seed)))
    if settings.positions:
        first, *more = oracles
        rest = [*more, *others][: top_k - 1]
        for place in range(len(rest) + 1):
            yield Trial("oracle_position", place + 1, (*rest[:place], first, *rest[place:]))
    for k in sorted(set(settings.top_k)):
        yield Trial("top_k", k, tuple(found[:k]))


def _mixed(names: list[str], question: Question, seed: int) -> list[str]:
    """In an order that is the question's own, whatever else is asked."""
    digest = hashlib.sha256(f"{seed}\0{question.id}".encode()).digest()
    order = np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(len(names))
    return [names[place] for place in order.tolist()]
