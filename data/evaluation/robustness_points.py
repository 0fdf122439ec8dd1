"""Points of the robustness plots: a score with its interval for each value of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from data.evaluation.ladder import RUNG_BY_NAME, TUNED
from data.scoring.bootstrap import bootstrap_interval
from data.scoring.evaluated import Study, StudyPoint
from data.scoring.scores import AnswerScore, measured

POINT_METRICS = ("token_f1", "exact_match", "oracle_citation")
_ORACLE = RUNG_BY_NAME["tuned + oracle"].name
# Study -> rung of the ladder that its prompts correspond to.
STUDY_RUNGS: dict[Study, str] = {
    "distractors": _ORACLE,
    "oracle_position": _ORACLE,
    "top_k": TUNED,
    "oracle_fraction": TUNED,
}


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """The score of one answer of a study."""

    study: Study
    value: int
    score: AnswerScore


def make_points(outcomes: Sequence[StudyOutcome], *, seed: int = 0) -> list[StudyPoint]:
    """A point for each study, value and metric, values ascending."""
    groups: dict[tuple[Study, int], list[AnswerScore]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.study, outcome.value), []).append(outcome.score)
    points = []
    order = list(STUDY_RUNGS)
    for study, value in sorted(groups, key=lambda key: (order.index(key[0]), key[1])):
        scores = groups[study, value]
        for metric in POINT_METRICS:
            values, weights = measured(scores)[metric]
            low, high = bootstrap_interval(values, weights, seed=seed)
            mean = float(values.sum() / weights.sum())
            rung = STUDY_RUNGS[study]
            points.append(StudyPoint(study, value, rung, metric, 100 * mean, 100 * low, 100 * high, len(scores)))
    return points
