"""Points of a sweep as a table, as CSV and as a picture."""

import csv

import pytest

from data.evaluation.sweep_plot import draw_sweep
from data.evaluation.sweep_points import SweepPoint, point_cells, study_points, write_points
from testing.answered import sweep_point

BASE = {name: {"value": 0.06, "low": 0.04, "high": 0.09} for name in ("token_f1", "exact_match")}


def point(value: str, parameters: int = 4000, step_seconds: float | None = 2.5, fewer_chunks: int = 3) -> SweepPoint:
    score = {"value": 0.3, "low": 0.25, "high": 0.35}
    return sweep_point(
        value,
        score,
        parameters=parameters,
        adapter_bytes=4 * parameters,
        step_seconds=step_seconds,
        fewer_chunks=fewer_chunks,
        exact_match=score | {"value": 0.28},
    )


def test_a_row_for_each_value_and_one_for_the_base_model():
    cells = point_cells("rank", [point("4"), point("16", 16_000, None)], BASE)
    assert cells[0] == ["rank", "trainable parameters", "adapter", "step", "examples", "exact match", "token F1"]
    assert cells[1] == ["4", "4,000", "0.016 MB", "2.5 s", "1,200", "28.0 (25.0 to 35.0)", "30.0 (25.0 to 35.0)"]
    assert cells[2][1:4] == ["16,000", "0.064 MB", "-"]
    assert cells[3] == ["base + retrieval", "-", "-", "-", "-", "6.0 (4.0 to 9.0)", "6.0 (4.0 to 9.0)"]


def test_chunks_that_did_not_fit_are_shown_where_the_values_differ():
    head, *rows = point_cells("distractors", [point("1"), point("4", fewer_chunks=900)], BASE)
    assert [row[head.index("fewer chunks")] for row in rows] == ["3", "900", "-"]


def test_csv_holds_everything(tmp_path):
    write_points(tmp_path / "sweep.csv", "rank", [point("4"), point("16", step_seconds=None)])
    with (tmp_path / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:2] == ["rank", "parameters"]
    assert [row["step_seconds"] for row in rows] == ["2.5", ""]
    assert (rows[0]["token_f1_low"], rows[0]["exact_match"], rows[0]["fewer_chunks"]) == ("0.25", "0.28", "3")


@pytest.mark.parametrize(
    ("over", "points"),
    [
        ("rank", [point("4"), point("64", 64_000)]),
        ("targets", [point("gate_proj"), point("up_proj")]),
        ("distractors", [point("0"), point("4", step_seconds=9.0)]),
        ("oracle-fraction", [point("0.8", step_seconds=None)]),
    ],
)
def test_a_picture_of_any_points_and_the_same_one_again(tmp_path, over, points):
    off = points[0].token_f1
    off["low"] = off["value"] + 1e-9  # type: ignore[index]
    for name in ("a.png", "b.png"):
        draw_sweep(over, points, BASE, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_points_of_oracle_fraction_are_those_of_a_robustness_plot():
    found = study_points([point("0.6"), point("1.0")])
    assert [(item.value, item.metric) for item in found if item.metric == "token_f1"] == [
        (0.6, "token_f1"),
        (1.0, "token_f1"),
    ]
    assert (found[0].study, found[0].rung, found[0].questions) == ("oracle_fraction", "tuned + retrieval", 80)
    assert (found[0].mean, found[0].low, found[0].high) == pytest.approx((30, 25, 35))
