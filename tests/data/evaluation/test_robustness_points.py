from pathlib import Path

import pytest

from data.evaluation.robustness_plot import draw_points
from data.evaluation.robustness_points import StudyOutcome, make_points
from data.scoring.scores import AnswerScore


def score(f1: float) -> AnswerScore:
    return AnswerScore("q", float(f1 == 1), f1, f1, 0.0, 1, 1, f1 == 1, False, True, None, 3)


def test_a_point_for_each_value_and_metric(tmp_path: Path) -> None:
    scores = {("top_k", 10): [1, 0.5], ("distractors", 2): [0, 0], ("distractors", 0): [1, 1], ("top_k", 1): [0.5, 0]}
    outcomes = [StudyOutcome(study, value, score(f1)) for (study, value), f1s in scores.items() for f1 in f1s]
    points = make_points(outcomes)
    of_f1 = [point for point in points if point.metric == "token_f1"]
    assert [(point.study, point.value) for point in of_f1] == [
        ("distractors", 0),
        ("distractors", 2),
        ("top_k", 1),
        ("top_k", 10),
    ]
    assert [point.mean for point in of_f1] == pytest.approx([100, 0, 25, 75])
    assert {point.rung for point in of_f1 if point.study == "top_k"} == {"tuned + retrieval"}
    assert all(point.low <= point.mean <= point.high and point.questions == 2 for point in points)
    for name in ("one.png", "two.png"):
        draw_points(points, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
