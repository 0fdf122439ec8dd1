"""A judge's verdicts: which answers are judged, what is asked, what comes back, and how it agrees with exact match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.evaluation.judge_prompts import RESPONSE_FORMAT, judge_prompt
from data.evaluation.judge_settings import JudgeSettings
from data.evaluation.ladder import draw_some
from data.prompting.prompts import Prompt
from data.scoring.bootstrap import bootstrap_interval
from data.scoring.evaluated import Answered
from data.scoring.scores import aligned, percent
from data.teacher.parse import MAX_CHARACTERS, find_items


@dataclass(frozen=True, slots=True)
class JudgeCall:
    """One answer to be judged.

    Attributes:
        documents: texts of the chunks that were shown, in their order.
    """

    question: str
    expected: str
    answer: str
    documents: tuple[str, ...]

    @property
    def prompt(self) -> Prompt:
        """What the judge reads."""
        return judge_prompt(self.question, self.expected, self.answer, self.documents)

    @property
    def response_format(self) -> dict[str, Any]:
        """What it is asked to write."""
        return RESPONSE_FORMAT


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge said of one answer.

    Attributes:
        correct, faithful: None where what it wrote is no verdict.
        reason: its own words, or what it wrote instead of a verdict.
        exact_match: of the answer, 0 or 1, to compare with.
        closed_book: no documents were shown, so that faithfulness says nothing.
    """

    rung: str
    question_id: str
    correct: bool | None
    faithful: bool | None
    reason: str
    exact_match: float
    closed_book: bool


def chosen_answers(answers: Sequence[Answered], settings: JudgeSettings, seed: int) -> list[Answered]:
    """The answers that are judged: of the rungs in the settings, to the same drawn questions."""
    names = settings.rungs or tuple(dict.fromkeys(answered.rung for answered in answers))
    ids = list(dict.fromkeys(answered.question_id for answered in answers))
    drawn = set(draw_some(ids, settings.max_questions, seed))
    return [answered for answered in answers if answered.rung in names and answered.question_id in drawn]


def to_call(answered: Answered, texts: Mapping[str, str]) -> JudgeCall:
    """What is asked about an answer.

    Args:
        texts: of the chunks, by their ids.
    """
    documents = tuple(texts[name] for name in answered.context_ids)
    return JudgeCall(answered.question, answered.expected, answered.answer, documents)


def read_verdict(answered: Answered, text: str) -> Verdict:
    """The verdict in what a judge wrote, in a frame of words or Markdown or not; the last one of several."""
    told = [item for item in find_items(text[:MAX_CHARACTERS], "correct") if isinstance(item["correct"], bool)]
    item = told[-1] if told else {}
    faithful = item.get("faithful")
    return Verdict(
        rung=answered.rung,
        question_id=answered.question_id,
        correct=item.get("correct"),
        faithful=faithful if isinstance(faithful, bool) else None,
        reason=str(item.get("reason", "")) if told else text.strip()[:500],
        exact_match=answered.exact_match,
        closed_book=not answered.context_ids,
    )


def summarize_verdicts(verdicts: Sequence[Verdict], *, seed: int = 0) -> list[dict[str, Any]]:
    """A row a rung.

    Returns:
        `rung`, `judged` (readable verdicts), `unreadable`; `correct` and `faithful` (over answers with documents) as
        {"value", "low", "high"}, 0 to 1, or None where there is none; `agreement` with exact match (0 to 1) and
        `kappa` (`cohens_kappa`).
    """
    rows = []
    for name in dict.fromkeys(verdict.rung for verdict in verdicts):
        of_rung = [verdict for verdict in verdicts if verdict.rung == name]
        told = [verdict for verdict in of_rung if verdict.correct is not None]
        row: dict[str, Any] = {"rung": name, "judged": len(told), "unreadable": len(of_rung) - len(told)}
        row["correct"] = _mean([float(bool(verdict.correct)) for verdict in told], seed)
        shown = [v for v in told if v.faithful is not None and not v.closed_book]
        row["faithful"] = _mean([float(bool(verdict.faithful)) for verdict in shown], seed)
        row |= _agreement(told)
        rows.append(row)
    return rows


def verdict_table(rows: Sequence[Mapping[str, Any]], judge: str) -> str:
    """The rows as a Markdown table that reads well as plain text, below a line that names the judge."""
    return f"judged by {judge}\n\n{aligned(verdict_cells(rows))}"


def verdict_cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Rows of a table, the names of its columns first."""
    cells = [["", "judged", "unreadable", "correct", "faithful", "as exact match", "Cohen's kappa"]]
    for row in rows:
        agreement = "-" if row["agreement"] is None else f"{100 * row['agreement']:.1f}"
        kappa = "-" if row["kappa"] is None else f"{row['kappa']:.2f}"
        counts = [str(row["judged"]), str(row["unreadable"])]
        cells.append([row["rung"], *counts, percent(row["correct"]), percent(row["faithful"]), agreement, kappa])
    return cells


def _mean(values: Sequence[float], seed: int) -> dict[str, float] | None:
    if not values:
        return None
    low, high = bootstrap_interval(np.array(values), seed=seed)
    return {"value": float(np.mean(values)), "low": low, "high": high}


def _agreement(verdicts: Sequence[Verdict]) -> dict[str, float | None]:
    if not verdicts:
        return {"agreement": None, "kappa": None}
    said = [bool(verdict.correct) for verdict in verdicts]
    matched = [verdict.exact_match == 1 for verdict in verdicts]
    agreement = float(np.mean([one == other for one, other in zip(said, matched, strict=True)]))
    return {"agreement": agreement, "kappa": cohens_kappa(said, matched)}


def cohens_kappa(one: Sequence[bool], other: Sequence[bool]) -> float | None:
    """Agreement of two raters beyond chance, at most 1: (p_o - p_e) / (1 - p_e), written with disagreements.

    J. Cohen, A Coefficient of Agreement for Nominal Scales, 1960, equation 1. None where both always say the same:
    chance alone agrees there.
    """
    count, ones, others = len(one), sum(one), sum(other)
    by_chance = ones * (count - others) / count + (count - ones) * others / count
    return 1 - sum(a != b for a, b in zip(one, other, strict=True)) / by_chance if by_chance else None
