"""Comparisons of rungs, breakdowns by document and kind of question, and examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from data.evaluation.ladder import TUNED
from data.scoring.bootstrap import paired_difference
from data.scoring.evaluated import Answered, Comparison
from data.scoring.scores import AnswerScore, measured

# Metrics of the comparisons: those that count every answer.
COMPARED = ("token_f1", "exact_match", "rouge_l", "contains_answer")


def compare_rungs(rungs: Mapping[str, Sequence[AnswerScore]], *, seed: int = 0) -> list[Comparison]:
    """Comparisons of each rung with each one below it.

    Args:
        rungs: rung -> scores of the same questions in the same order, from the bottom up.
    """
    parts = {name: measured(scores) for name, scores in rungs.items()}
    comparisons = []
    for below, above in combinations(rungs, 2):
        asked = [[score.question_id for score in rungs[name]] for name in (below, above)]
        assert asked[0] == asked[1], "two rungs answer different questions"
        for metric in COMPARED:
            paired = paired_difference(parts[above][metric], parts[below][metric], seed=seed)
            change, low, high = (100 * value for value in paired[:3])
            comparisons.append(Comparison(above, below, metric, change, low, high, paired.p, len(asked[0])))
    return comparisons


def make_breakdown(answers: Sequence[Answered]) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """`by_document` and `by_kind`: rung -> name -> number of questions, exact match and token F1 in percent."""
    breakdown: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for part, key in (("by_document", "document"), ("by_kind", "kind")):
        groups: dict[str, dict[str, list[Answered]]] = {}
        for answered in answers:
            groups.setdefault(answered.rung, {}).setdefault(getattr(answered, key), []).append(answered)
        breakdown[part] = {
            rung: {name: _means(group) for name, group in sorted(names.items())} for rung, names in groups.items()
        }
    return breakdown


def _means(answers: Sequence[Answered]) -> dict[str, Any]:
    return {
        "questions": len(answers),
        "exact_match": 100 * float(np.mean([answered.exact_match for answered in answers])),
        "token_f1": 100 * float(np.mean([answered.token_f1 for answered in answers])),
    }


def show_examples(answers: Sequence[Answered]) -> str:
    """A question that the tuned model with retrieval answers right and one that it answers wrong, with all answers.

    Of each kind, the one with the median gain over the rung before.
    """
    by_question: dict[str, list[Answered]] = {}
    for answered in answers:
        by_question.setdefault(answered.question_id, []).append(answered)
    names = [answered.rung for answered in next(iter(by_question.values()))]
    tuned = names.index(TUNED)

    def gain(rungs: list[Answered]) -> float:
        return rungs[tuned].token_f1 - rungs[max(tuned - 1, 0)].token_f1

    lines: list[str] = []
    for right, how in ((True, "right"), (False, "wrong")):
        kind = sorted((r for r in by_question.values() if (r[tuned].exact_match == 1) == right), key=gain)
        if kind:
            lines += [f"one of {len(kind)} questions that {TUNED} answers {how}", ""]
            lines += [*_lines(kind[len(kind) // 2]), ""]
    return "\n".join(lines).rstrip()


def _lines(rungs: Sequence[Answered]) -> list[str]:
    lines = [f"question   {rungs[0].question}", f"expected   {rungs[0].all_expected}"]
    for answered in rungs:
        cause = f" ({answered.cause})" if answered.cause else ""
        lines += ["", f"{answered.rung}{cause}:", *(f"    {line}" for line in answered.output.strip().splitlines())]
    return lines
