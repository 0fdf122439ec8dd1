"""The rungs of the evaluation: which model is asked, and what it is shown. Questions are those of unseen documents."""

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

# The base model; it with RAFT's adapter; it with an adapter of plain fine-tuning without documents (DSF).
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
    """One way to answer: by which model, and over which documents.

    Attributes:
        shown: "closed-book", none; "retrieval", the top-k chunks; "oracle", the top-k with the oracles in it for sure.
    """

    name: RungName
    model: LadderModel
    shown: Shown

    def prompt(self, question: str, context: Sequence[Chunk]) -> Prompt:
        """The prompt of this rung. Only the tuned model knows the trained format; the others get what suits them."""
        if self.shown == "closed-book":
            return closed_book_prompt(question)
        return raft_prompt(context, question) if self.model == "tuned" else retrieval_prompt(context, question)

    def grammar(self, context: Sequence[Chunk]) -> str | None:
        """What keeps quotes verbatim: only the tuned model is asked for some."""
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
# What a model is judged by (data/evaluation/champion.py), and what the first is judged against.
TUNED, BASE = RUNG_BY_NAME["tuned + retrieval"].name, RUNG_BY_NAME["base + retrieval"].name


class EvaluationSettings(BaseModel):
    """What is evaluated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: What decides which stages there are; their own arguments are what each of them depends on.
    NO_INPUT: ClassVar[frozenset[str]] = frozenset({"rungs", "dsf", "robustness", "judge"})

    rungs: tuple[RungName, ...] = Field(
        default=("base closed-book", BASE, TUNED, "tuned + oracle"),
        description="Which model is asked, and what it is shown: closed-book, retrieval, or oracle (the retrieved "
        "chunks with the oracle among them for sure, in the place of the last where it was not found). Those of DSF "
        "come with evaluation.dsf.",
    )
    dsf: bool = Field(
        default=False,
        description="Also train an adapter on the same questions and answers without documents (DSF), with the same "
        "settings, and ask it closed-book and with retrieval. Costs a second training.",
    )
    top_k: int = Field(default=5, ge=1, description="Chunks that retrieval puts into a prompt.")
    max_questions: int | None = Field(
        default=None, ge=1, description="Ask at most this many evaluation questions, drawn by the seed; all by default."
    )
    seed: int = Field(default=0, ge=0, description="Draws the questions and the bootstrap samples.")
    robustness: RobustnessSettings = Field(
        default=RobustnessSettings(), description="The tuned model's score against what it is shown."
    )
    judge: JudgeSettings = Field(
        default=JudgeSettings(), description="A model behind a server that judges faithfulness and correctness."
    )

    @model_validator(mode="after")
    def _rungs_fit(self) -> Self:
        missing = [name for name in (BASE, TUNED) if name not in self.rungs]
        if missing:
            raise UserError(f"rungs lacks {missing[0]!r}, by which a model is judged: add it")
        if not self.dsf and (unknown := [name for name in self.rungs if RUNG_BY_NAME[name].model == "DSF"]):
            raise UserError(f"the rung {unknown[0]!r} needs a second training: set dsf=true")
        if strange := [name for name in self.judge.rungs if name not in {rung.name for rung in self.ladder}]:
            raise UserError(f"judge.rungs has {strange[0]!r}, which is not asked: take it out, or add it to rungs")
        return self

    @property
    def ladder(self) -> tuple[Rung, ...]:
        """The rungs from the bottom up."""
        return tuple(rung for rung in RUNGS if rung.name in self.rungs or (self.dsf and rung.model == "DSF"))

    def rungs_of(self, model: LadderModel) -> tuple[str, ...]:
        """The names of a model's rungs, from the bottom up."""
        return tuple(rung.name for rung in self.ladder if rung.model == model)


def draw(items: Sequence[Any], settings: EvaluationSettings) -> list[Any]:
    """At most `max_questions` of the items, in their order; the same draw for every rung."""
    return draw_some(items, settings.max_questions, settings.seed)


def draw_some(items: Sequence[Any], most: int | None, seed: int) -> list[Any]:
    """At most so many of the items, in their order, drawn by the seed."""
    if most is None or len(items) <= most:
        return list(items)
    chosen = np.random.default_rng(seed).permutation(len(items))[:most]
    return [items[place] for place in sorted(chosen)]


def with_oracles(found: Sequence[str], question: Question) -> list[str]:
    """The ids that were found with the question's oracles among them: as many, unless the oracles alone are more.

    Those that were found keep their places; a missing oracle takes that of the last that is none. Where it stands is
    then no better than where retrieval would have put it.
    """
    context = list(found)
    for missing in [oracle for oracle in question.oracle_ids if oracle not in found]:
        others = [place for place, name in enumerate(context) if name not in question.oracle_ids]
        if others:
            context[others[-1]] = missing
        else:
            context.append(missing)
    return context
