"""Whether a new model takes the place of the standing one: the rule, over answers of both to the same questions.

answers --Marks--> compare(new, standing) -> Difference for each metric --decide--> PromotionDecision

Differences are new minus standing, from 0 to 1, with the interval of a paired bootstrap: both models are measured on
the same drawn questions, so that questions which are hard for both do not widen it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from data.scoring.bootstrap import paired_difference
from data.scoring.scores import METRICS, aligned

Metric = Literal["token_f1", "exact_match"]
Guard = Literal["exact_match", "quote_precision", "quote_rate", "oracle_citation", "abstention_right"]

# In the order of the table; what is guarded among them.
LABELS = {
    **{name: METRICS[name] for name in ("token_f1", "exact_match", "quote_precision", "quote_rate", "oracle_citation")},
    "abstention_right": "abstains rightly",
}
_NOTHING = 1e-9  # a difference that only the rounding of sums makes


class PromotionSettings(BaseModel):
    """When a new model becomes the champion. Only evaluated models can; by hand, any: jora models promote."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Literal["beats", "not_worse", "always", "never"] = Field(
        default="beats",
        description="beats: better than the champion, and the interval of the difference excludes a loss; not_worse: "
        "the interval excludes a loss of more than promotion.tolerance; always; never.",
    )
    first: Literal["beats_base", "always"] = Field(
        default="beats_base",
        description="The first model: judged by the rule against the base model with retrieval, or taken in any case.",
    )
    metric: Metric = Field(default="token_f1", description="What is compared, of the tuned model with retrieval.")
    tolerance: float = Field(
        default=0.02, ge=0, le=1, description="The loss that not_worse allows for; 0.02 is 2 points."
    )
    guards: tuple[Guard, ...] = Field(
        default=("quote_precision", "oracle_citation", "abstention_right"),
        description="Scores that may not drop by more than promotion.margin.",
    )
    margin: float = Field(default=0.05, ge=0, le=1, description="How far a guard may drop; 0.05 is 5 points.")
    min_questions: int = Field(default=30, ge=1, description="Fewer questions than this decide nothing.")


@dataclass(frozen=True, slots=True)
class Marks:
    """What one answer scored; the fields are those of `AnswerScore`.

    Attributes:
        abstention_right: it abstains from an unanswerable question, or answers one that is none.
        answerable: the documents answer the question; quoting and citing count over these only.
    """

    question_id: str
    token_f1: float
    exact_match: float
    quotes: int
    verbatim_quotes: int
    cites_oracle: bool
    abstention_right: bool
    answerable: bool = True


@dataclass(frozen=True, slots=True)
class Difference:
    """A metric of both models, and how much higher the new one's is, with its 95% interval.

    A value is None where nothing counts (quote precision without a quote); then so are `change`, `low` and `high`.
    """

    metric: str
    new: float | None
    standing: float | None
    change: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    """Whether the new model becomes the champion, and why in words."""

    promoted: bool
    reason: str


def in_common(new: Iterable[Marks], standing: Iterable[Marks]) -> tuple[list[Marks], list[Marks]]:
    """The marks of the questions that both have answered, in the order of the new model's."""
    by_id = {marks.question_id: marks for marks in standing}
    both = [marks for marks in new if marks.question_id in by_id]
    return both, [by_id[marks.question_id] for marks in both]


def compare(new: Sequence[Marks], standing: Sequence[Marks], *, seed: int = 0) -> tuple[Difference, ...]:
    """A difference for each metric of `LABELS`.

    Args:
        new, standing: marks of the same questions in the same order, at least one.
    """
    assert [marks.question_id for marks in new] == [marks.question_id for marks in standing] and new
    sides = [_measured(new), _measured(standing)]
    return tuple(_difference(metric, *(side[metric] for side in sides), seed=seed) for metric in LABELS)


def decide(
    differences: Iterable[Difference], questions: int, against: str, settings: PromotionSettings, *, first: bool = False
) -> PromotionDecision:
    """The rule.

    Args:
        questions: how many were compared.
        against: what the standing model is called.
        first: there is no champion yet, and the standing model is the base.
    """
    if settings.rule == "never":
        return PromotionDecision(False, "promotion.rule is never")
    if settings.rule == "always":
        return PromotionDecision(True, "promotion.rule is always")
    if first and settings.first == "always":
        return PromotionDecision(True, "it is the first, and promotion.first is always")
    if questions < settings.min_questions:
        return PromotionDecision(
            False, f"{questions} questions decide nothing: promotion.min_questions is {settings.min_questions}"
        )
    by_metric = {difference.metric: difference for difference in differences}
    for guard in settings.guards:
        if drop := _dropped(by_metric[guard], settings.margin):
            return PromotionDecision(False, f"{drop}, against {against}")
    return _judged(by_metric[settings.metric], f"over {questions} questions against {against}", settings)


def _judged(difference: Difference, over: str, settings: PromotionSettings) -> PromotionDecision:
    assert difference.change is not None and difference.low is not None  # of every answer
    told = f"{LABELS[difference.metric]} {_change(difference)} {over}"
    if settings.rule == "not_worse":
        allowed = difference.low >= -settings.tolerance - _NOTHING
        loss = f"a loss of more than {100 * settings.tolerance:g} points"
        return PromotionDecision(
            allowed, f"{told}: the interval {'excludes' if allowed else 'does not exclude'} {loss}"
        )
    if difference.low < -_NOTHING:
        return PromotionDecision(False, f"{told}: the interval does not exclude a loss")
    if difference.change <= _NOTHING:
        return PromotionDecision(False, f"{told}: no better")
    return PromotionDecision(True, f"{told}: the interval excludes a loss")


def _dropped(guard: Difference, margin: float) -> str | None:
    """What is wrong with a guarded score, if anything is."""
    label = LABELS[guard.metric]
    if guard.standing is None:
        return None
    if guard.new is None:
        return f"{label} is gone: no answer has a quote any more"
    if guard.standing - guard.new <= margin + _NOTHING:
        return None
    return (
        f"{label} dropped from {100 * guard.standing:.1f} to {100 * guard.new:.1f}, more than promotion.margin "
        f"({100 * margin:g} points)"
    )


def comparison_table(differences: Iterable[Difference], new: str, standing: str) -> str:
    """A Markdown table: a row a metric, in percent; the change in points with its 95% interval."""
    rows = [["", new, standing, "change"]]
    rows += [[LABELS[d.metric], _percent(d.new), _percent(d.standing), _change(d)] for d in differences]
    return aligned(rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _change(difference: Difference) -> str:
    if difference.change is None or difference.low is None or difference.high is None:
        return "-"
    # A rounded zero has no sign.
    change, low, high = (round(100 * value, 1) + 0.0 for value in (difference.change, difference.low, difference.high))
    return f"{change:+.1f} ({low:.1f} to {high:.1f})"


def _measured(marks: Sequence[Marks]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each metric what each question scores, and what it counts for: its quotes, or 1; float64 [N] each."""
    quotes = np.array([m.quotes for m in marks], np.float64)
    ones = np.ones(len(marks))
    answerable = np.array([m.answerable for m in marks], np.float64)
    measured = {
        "token_f1": (np.array([m.token_f1 for m in marks]), ones),
        "exact_match": (np.array([m.exact_match for m in marks]), ones),
        "quote_precision": (np.array([m.verbatim_quotes for m in marks], np.float64), quotes),
        "quote_rate": ((quotes > 0) * answerable, answerable),
        "oracle_citation": (np.array([m.cites_oracle for m in marks], np.float64) * answerable, answerable),
        "abstention_right": (np.array([m.abstention_right for m in marks], np.float64), ones),
    }
    assert list(measured) == list(LABELS)
    return measured


def _difference(
    metric: str,
    new: tuple[np.ndarray, np.ndarray],
    standing: tuple[np.ndarray, np.ndarray],
    *,
    seed: int,
) -> Difference:
    sides = (new, standing)
    values = [float(value.sum() / weight.sum()) if weight.sum() else None for value, weight in sides]
    if values[0] is None or values[1] is None:
        return Difference(metric, values[0], values[1], None, None, None)
    paired = paired_difference(new, standing, seed=seed)
    return Difference(metric, values[0], values[1], values[0] - values[1], paired.low, paired.high)
