"""Contexts of the robustness studies: number of distractors, position of the oracle, top-k.

    distractors      the oracles and the n best retrieved distractors, in an order drawn by the seed
    oracle_position  the first oracle at each position of a context of top-k chunks
    top_k            the first k retrieved chunks, with or without the oracle

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
    """The varied quantities, and the number of questions for each value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=False, description="Run the studies; costs an answer for each question and value.")
    distractors: tuple[Annotated[int, Field(ge=0, le=63)], ...] = Field(
        default=(0, 2, 4, 6, 8, 10), description="Numbers of distractors beside the oracles; empty: no such study."
    )
    positions: bool = Field(default=True, description="Put the oracle at each position among evaluation.top_k chunks.")
    top_k: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        default=(1, 3, 5, 10), description="Numbers of retrieved chunks; empty: no such study."
    )
    max_questions: int = Field(default=50, ge=1, description="Use at most this many answerable evaluation questions.")
    seed: int = Field(default=0, ge=0, description="Seed of the sampled questions and of the order of the chunks.")

    def most_chunks(self, top_k: int) -> int:
        """Number of chunks of the longest context of a question with one oracle."""
        return max((top_k, *self.top_k, *(number + 1 for number in self.distractors)))


@dataclass(frozen=True, slots=True)
class Trial:
    """One question over one context of a study."""

    study: Study
    value: int
    context_ids: tuple[str, ...]


def trials(question: Question, retrieved: Sequence[str], top_k: int, settings: RobustnessSettings) -> Iterator[Trial]:
    """The contexts of an answerable question.

    Args:
        retrieved: ids of retrieved chunks, best first; at least `settings.most_chunks(top_k)` plus the number of
            oracles, if there are as many chunks.
        top_k: size of the contexts of the study of positions.
    """
    assert question.oracle_ids
    oracles, distractors = list(question.oracle_ids), [name for name in retrieved if name not in question.oracle_ids]
    for number in sorted(set(settings.distractors)):
        if number <= len(distractors):
            yield Trial(
                "distractors", number, tuple(_mixed([*oracles, *distractors[:number]], question, settings.seed))
            )
    if settings.positions:
        first, *more = oracles
        rest = [*more, *distractors][: top_k - 1]
        for index in range(len(rest) + 1):
            yield Trial("oracle_position", index + 1, (*rest[:index], first, *rest[index:]))
    for k in sorted(set(settings.top_k)):
        yield Trial("top_k", k, tuple(retrieved[:k]))


def _mixed(names: list[str], question: Question, seed: int) -> list[str]:
    """The names in an order that depends on the seed and the question only."""
    digest = hashlib.sha256(f"{seed}\0{question.id}".encode()).digest()
    order = np.random.default_rng(int.from_bytes(digest[:8], "big")).permutation(len(names))
    return [names[index] for index in order.tolist()]
