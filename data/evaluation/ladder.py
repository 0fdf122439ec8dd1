"""The rungs of the evaluation: the model and its context. Questions are about held-out documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from data.documents.chunks import Chunk
from data.evaluation.judge_settings import JudgeSettings
from data.evaluation.robustness import RobustnessSettings
from data.prompting.prompts import Prompt, closed_book_prompt, raft_prompt, retrieval_prompt
from data.prompting.quoting import quote_grammar
from data.questions.questions import Question
from user_error import UserError

# base: the base model; tuned: with the RAFT adapter; DSF: with an adapter of plain fine-tuning without documents.
LadderModel = Literal["base", "DSF", "tuned"]
Shown = Literal["closed-book", "retrieval", "oracle"]
RungName = Literal[
    "base closed-book",
    "base + retrieval",
    "base + oracle",
    "DSF closed-book",
    "DSF + retrieval",
    "tuned closed-book",
    "tuned + retrieval",
    "tuned + oracle",
]


@dataclass(frozen=True, slots=True)
class Rung:
    """A model and the context that it answers from.

    Attributes:
        shown: "closed-book": no chunks; "retrieval": the top-k chunks; "oracle": the top-k chunks with the oracles.
    """

    name: RungName
    model: LadderModel
    shown: Shown

    def prompt(self, question: str, context: Sequence[Chunk]) -> Prompt:
        """The prompt of this rung. Only the tuned model gets the trained format."""
        if self.shown == "closed-book":
            return closed_book_prompt(question)
        return raft_prompt(context, question) if self.model == "tuned" else retrieval_prompt(context, question)

    def grammar(self, context: Sequence[Chunk]) -> str | None:
        """The grammar that keeps quotes verbatim; only for the tuned model, which is asked for quotes."""
        return quote_grammar(context) if self.model == "tuned" else None


# The ladder from the bottom up.
RUNGS = (
    Rung("base closed-book", "base", "closed-book"),
    Rung("base + retrieval", "base", "retrieval"),
    Rung("base + oracle", "base", "oracle"),
    Rung("DSF closed-book", "DSF", "closed-book"),
    Rung("DSF + retrieval", "DSF", "retrieval"),
    Rung("tuned closed-book", "tuned", "closed-book"),
    Rung("tuned + retrieval", "tuned", "retrieval"),
    Rung("tuned + oracle", "tuned", "oracle"),
)
RUNG_BY_NAME: dict[str, Rung] = {rung.name: rung for rung in RUNGS}
# The rung that promotion compares (data/evaluation/champion.py), and the one that the first model must beat.
TUNED, BASE = RUNG_BY_NAME["tuned + retrieval"].name, RUNG_BY_NAME["base + retrieval"].name


class EvaluationSettings(BaseModel):
    """Settings of the evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Fields that decide which stages run. Each stage depends on its own arguments instead.
    NO_INPUT: ClassVar[frozenset[str]] = frozenset({"rungs", "dsf", "robustness", "judge"})

    rungs: tuple[RungName, ...] = Field(
        default=("base closed-book", BASE, TUNED, "tuned + oracle"),
        description="Models and their contexts: closed-book, retrieval, or oracle (the retrieved chunks; a missing "
        "oracle replaces the last). evaluation.dsf adds the rungs of DSF.",
    )
    dsf: bool = Field(
        default=False,
        description="Also train an adapter on the same questions and answers without documents (DSF) and evaluate it "
        "closed-book and with retrieval. Costs a second training.",
    )
    top_k: int = Field(default=5, ge=1, description="Retrieved chunks in a prompt.")
    max_questions: int | None = Field(
        default=None, ge=1, description="Evaluate at most this many questions, sampled by the seed; all by default."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the sampled questions and of the bootstrap.")
    robustness: RobustnessSettings = Field(
        default=RobustnessSettings(), description="Scores of the tuned model against its context."
    )
    judge: JudgeSettings = Field(
        default=JudgeSettings(), description="A model behind a server that rates faithfulness and correctness."
    )

    @model_validator(mode="after")
    def _rungs_fit(self) -> Self:
        missing = [name for name in (BASE, TUNED) if name not in self.rungs]
        if missing:
            raise UserError(f"rungs lacks {missing[0]!r}, which promotion compares: add it")
        if not self.dsf and (unknown := [name for name in self.rungs if RUNG_BY_NAME[name].model == "DSF"]):
            raise UserError(f"the rung {unknown[0]!r} needs a second training: set dsf=true")
        if strange := [name for name in self.judge.rungs if name not in {rung.name for rung in self.ladder}]:
            raise UserError(f"judge.rungs has {strange[0]!r}, which is not evaluated: remove it, or add it to rungs")
        return self

    @property
    def ladder(self) -> tuple[Rung, ...]:
        """The rungs from the bottom up."""
        return tuple(rung for rung in RUNGS if rung.name in self.rungs or (self.dsf and rung.model == "DSF"))

    def rungs_of(self, model: LadderModel) -> tuple[str, ...]:
        """The names of a model's rungs, from the bottom up."""
        return tuple(rung.name for rung in self.ladder if rung.model == model)


def draw(items: Sequence[Any], settings: EvaluationSettings) -> list[Any]:
    """At most `max_questions` of the items, in order; the same sample for every rung."""
    return draw_some(items, settings.max_questions, settings.seed)


def draw_some(items: Sequence[Any], most: int | None, seed: int) -> list[Any]:
    """At most `most` of the items, in order, sampled by the seed."""
    if most is None or len(items) <= most:
        return list(items)
    chosen = np.random.default_rng(seed).permutation(len(items))[:most]
    return [items[index] for index in sorted(chosen)]


def with_oracles(retrieved: Sequence[str], question: Question) -> list[str]:
    """The retrieved ids with the question's oracles among them; as many ids, unless there are more oracles.

    Retrieved ids keep their positions. A missing oracle replaces the last distractor, so its position is no better
    than the one that retrieval would give it.
    """
    context = list(retrieved)
    for missing in [oracle for oracle in question.oracle_ids if oracle not in retrieved]:
        distractors = [index for index, name in enumerate(context) if name not in question.oracle_ids]
        if distractors:
            context[distractors[-1]] = missing
        else:
            context.append(missing)
    return context
