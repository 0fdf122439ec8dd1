"""The promotion rule: whether a new model replaces the standing one, from their answers to the same questions.

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

# Metric -> display name, in the order of the table.
LABELS = {
    **{name: METRICS[name] for name in ("token_f1", "exact_match", "quote_precision", "quote_rate", "oracle_citation")},
    "abstention_right": "abstains rightly",
}
_ROUNDING = 1e-9  # differences up to this are rounding of sums


class PromotionSettings(BaseModel):
    """When an evaluated model becomes the champion. `jora models promote` promotes any model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: Literal["beats", "not_worse", "always", "never"] = Field(
        default="beats",
        description="beats: better than the champion, and the interval of the difference excludes a loss; not_worse: "
        "the interval excludes a loss above promotion.tolerance; always; never.",
    )
    first: Literal["beats_base", "always"] = Field(
        default="beats_base",
        description="Rule for the first model: compare it with the base model with retrieval, or always promote it.",
    )
    metric: Metric = Field(default="token_f1", description="Compared metric, of the tuned model with retrieval.")
    tolerance: float = Field(default=0.02, ge=0, le=1, description="Loss that not_worse allows; 0.02 is 2 points.")
    guards: tuple[Guard, ...] = Field(
        default=("quote_precision", "oracle_citation", "abstention_right"),
        description="Scores that may not drop by more than promotion.margin.",
    )
    margin: float = Field(default=0.05, ge=0, le=1, description="Drop of a guard that is allowed; 0.05 is 5 points.")
    min_questions: int = Field(default=30, ge=1, description="Never promote on fewer questions than this.")


@dataclass(frozen=True, slots=True)
class Marks:
    """The scores of one answer, as in `AnswerScore`.

    Attributes:
        abstention_right: abstains if and only if the question is unanswerable.
        answerable: the documents hold the answer; metrics of quotes count over these only.
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
    """A metric of both models and the change from standing to new, with its 95% interval.

    A value is None if no answer counts (quote precision without quotes); then `change`, `low` and `high` are, too.
    """

    metric: str
    new: float | None
    standing: float | None
    change: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    """Whether the new model becomes the champion, and the reason in words."""

    promoted: bool
    reason: str


def in_common(new: Iterable[Marks], standing: Iterable[Marks]) -> tuple[list[Marks], list[Marks]]:
    """The marks of the questions that both answered, in the new model's order."""
    by_id = {marks.question_id: marks for marks in standing}
    both = [marks for marks in new if marks.question_id in by_id]
    return both, [by_id[marks.question_id] for marks in both]


def compare(new: Sequence[Marks], standing: Sequence[Marks], *, seed: int = 0) -> tuple[Difference, ...]:
    """The difference of each metric of `LABELS`.

    Args:
        new, standing: marks of the same questions in the same order, at least one.
    """
    assert [marks.question_id for marks in new] == [marks.question_id for marks in standing] and new
    sides = [_measured(new), _measured(standing)]
    return tuple(_difference(metric, *(side[metric] for side in sides), seed=seed) for metric in LABELS)


def decide(
    differences: Iterable[Difference], questions: int, against: str, settings: PromotionSettings, *, first: bool = False
) -> PromotionDecision:
    """The decision of the promotion rule.

    Args:
        questions: number of compared questions.
        against: name of the standing model.
        first: there is no champion yet; the standing model is the base.
    """
    if settings.rule == "never":
        return PromotionDecision(False, "promotion.rule is never")
    if settings.rule == "always":
        return PromotionDecision(True, "promotion.rule is always")
    if first and settings.first == "always":
        return PromotionDecision(True, "it is the first model, and promotion.first is always")
    if questions < settings.min_questions:
        return PromotionDecision(
            False, f"{questions} questions are too few: promotion.min_questions is {settings.min_questions}"
        )
    by_metric = {difference.metric: difference for difference in differences}
    for guard in settings.guards:
        if drop := _dropped(by_metric[guard], settings.margin):
            return PromotionDecision(False, f"{drop}, against {against}")
    return _judged(by_metric[settings.metric], f"over {questions} questions against {against}", settings)


def _judged(difference: Difference, over: str, settings: PromotionSettings) -> PromotionDecision:
    assert difference.change is not None and difference.low is not None  # every answer counts for it
    change = f"{LABELS[difference.metric]} {_change(difference)} {over}"
    if settings.rule == "not_worse":
        allowed = difference.low >= -settings.tolerance - _ROUNDING
        loss = f"a loss of more than {100 * settings.tolerance:g} points"
        return PromotionDecision(
            allowed, f"{change}: the interval {'excludes' if allowed else 'does not exclude'} {loss}"
        )
    if difference.low < -_ROUNDING:
        return PromotionDecision(False, f"{change}: the interval does not exclude a loss")
    if difference.change <= _ROUNDING:
        return PromotionDecision(False, f"{change}: no better")
    return PromotionDecision(True, f"{change}: the interval excludes a loss")


def _dropped(guard: Difference, margin: float) -> str | None:
    """Why a guard fails, or None."""
    label = LABELS[guard.metric]
    if guard.standing is None:
        return None
    if guard.new is None:
        return f"{label} is undefined: no answer has a quote"
    if guard.standing - guard.new <= margin + _ROUNDING:
        return None
    return (
        f"{label} dropped from {100 * guard.standing:.1f} to {100 * guard.new:.1f}, more than promotion.margin "
        f"({100 * margin:g} points)"
    )


def comparison_table(differences: Iterable[Difference], new: str, standing: str) -> str:
    """A Markdown table: one row for each metric, in percent; the change in points with its 95% interval."""
    rows = [["", new, standing, "change"]]
    rows += [[LABELS[d.metric], _percent(d.new), _percent(d.standing), _change(d)] for d in differences]
    return aligned(rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _change(difference: Difference) -> str:
    if difference.change is None or difference.low is None or difference.high is None:
        return "-"
    # + 0.0: no sign on a rounded zero.
    change, low, high = (round(100 * value, 1) + 0.0 for value in (difference.change, difference.low, difference.high))
    return f"{change:+.1f} ({low:.1f} to {high:.1f})"


def _measured(marks: Sequence[Marks]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Metric -> (values, weights) of the questions, float64 [N] each."""
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
