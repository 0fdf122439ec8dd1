"""The rungs of the evaluation: which model is asked, and what it is shown. Questions are those of unseen documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from data.chunks import Chunk
from data.prompts import Prompt, closed_book_prompt, raft_prompt, retrieval_prompt


class EvaluationSettings(BaseModel):
    """What is evaluated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    top_k: int = Field(default=5, ge=1, description="Chunks that retrieval puts into a prompt.")
    max_questions: int | None = Field(
        default=None, ge=1, description="Ask at most this many evaluation questions, drawn by the seed; all by default."
    )
    seed: int = Field(default=0, ge=0, description="Draws the questions and the bootstrap samples.")


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to answer: with the base model or the tuned one, with retrieved documents or from memory."""

    name: str
    tuned: bool
    retrieval: bool

    def prompt(self, question: str, context: Sequence[Chunk]) -> Prompt:
        """The prompt of this rung; the untuned model gets the wording that suits it best, not the trained format."""
        if not self.retrieval:
            return closed_book_prompt(question)
        return raft_prompt(context, question) if self.tuned else retrieval_prompt(context, question)


RUNGS = (
    Rung("base closed-book", tuned=False, retrieval=False),
    Rung("base + retrieval", tuned=False, retrieval=True),
    Rung("tuned + retrieval", tuned=True, retrieval=True),
)
RUNG_BY_NAME = {rung.name: rung for rung in RUNGS}


def draw(items: Sequence[Any], settings: EvaluationSettings) -> list[Any]:
    """At most `max_questions` of the items, in their order; the same draw for every rung."""
    if settings.max_questions is None or len(items) <= settings.max_questions:
        return list(items)
    chosen = np.random.default_rng(settings.seed).permutation(len(items))[: settings.max_questions]
    return [items[place] for place in sorted(chosen)]
