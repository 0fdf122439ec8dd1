"""The judge: selects answers, builds its calls, reads its verdicts, and compares them with exact match."""

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
    """The call that asks the judge about one answer.

    Attributes:
        documents: texts of the chunks of the prompt, in order.
    """

    question: str
    expected: str
    answer: str
    documents: tuple[str, ...]

    @property
    def prompt(self) -> Prompt:
        """The prompt of the call."""
        return judge_prompt(self.question, self.expected, self.answer, self.documents)

    @property
    def response_format(self) -> dict[str, Any]:
        """The JSON schema of the verdict."""
        return RESPONSE_FORMAT


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judge's verdict on one answer.

    Attributes:
        correct, faithful: None if the output is not a readable verdict.
        reason: the judge's own words, or its output if that is not a verdict.
        exact_match: of the answer, 0 or 1, for comparison.
        closed_book: no documents were shown; faithfulness does not apply.
    """

    rung: str
    question_id: str
    correct: bool | None
    faithful: bool | None
    reason: str
    exact_match: float
    closed_book: bool


def chosen_answers(answers: Sequence[Answered], settings: JudgeSettings, seed: int) -> list[Answered]:
    """The answers to be judged: of the settings' rungs, to the same drawn questions."""
    names = settings.rungs or tuple(dict.fromkeys(answered.rung for answered in answers))
    ids = list(dict.fromkeys(answered.question_id for answered in answers))
    drawn = set(draw_some(ids, settings.max_questions, seed))
    return [answered for answered in answers if answered.rung in names and answered.question_id in drawn]


def to_call(answered: Answered, texts: Mapping[str, str]) -> JudgeCall:
    """The call about an answer.

    Args:
        texts: chunk id -> text.
    """
    documents = tuple(texts[name] for name in answered.context_ids)
    return JudgeCall(answered.question, answered.all_expected, answered.answer, documents)


def read_verdict(answered: Answered, text: str) -> Verdict:
    """The last verdict in a judge's output, which may have words or Markdown around it."""
    verdicts = [item for item in find_items(text[:MAX_CHARACTERS], "correct") if isinstance(item["correct"], bool)]
    item = verdicts[-1] if verdicts else {}
    faithful = item.get("faithful")
    return Verdict(
        rung=answered.rung,
        question_id=answered.question_id,
        correct=item.get("correct"),
        faithful=faithful if isinstance(faithful, bool) else None,
        reason=str(item.get("reason", "")) if verdicts else text.strip()[:500],
        exact_match=answered.exact_match,
        closed_book=not answered.context_ids,
    )


def summarize_verdicts(verdicts: Sequence[Verdict], *, seed: int = 0) -> list[dict[str, Any]]:
    """One row for each rung.

    Returns:
        `rung`, `judged` (readable verdicts), `unreadable`; `correct` and `faithful` (over answers with documents) as
        {"value", "low", "high"}, 0 to 1, or None without verdicts; `agreement` with exact match (0 to 1) and
        `kappa` (`cohens_kappa`).
    """
    rows = []
    for name in dict.fromkeys(verdict.rung for verdict in verdicts):
        of_rung = [verdict for verdict in verdicts if verdict.rung == name]
        readable = [verdict for verdict in of_rung if verdict.correct is not None]
        row: dict[str, Any] = {"rung": name, "judged": len(readable), "unreadable": len(of_rung) - len(readable)}
        row["correct"] = _mean([float(bool(verdict.correct)) for verdict in readable], seed)
        shown = [v for v in readable if v.faithful is not None and not v.closed_book]
        row["faithful"] = _mean([float(bool(verdict.faithful)) for verdict in shown], seed)
        row |= _agreement(readable)
        rows.append(row)
    return rows


def verdict_table(rows: Sequence[Mapping[str, Any]], judge: str) -> str:
    """An aligned Markdown table of the rows, below a line that names the judge."""
    return f"judged by {judge}\n\n{aligned(verdict_cells(rows))}"


def verdict_cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Rows of a table, column names first."""
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
