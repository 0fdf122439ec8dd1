"""Points of a sweep, quality and cost: as a table and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.evaluation.ladder import TUNED
from data.scoring.evaluated import StudyPoint
from data.scoring.scores import percent

ScoreInterval = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """Cost and quality of one value of a sweep.

    Attributes:
        value: as on the command line.
        parameters: number of trainable parameters.
        adapter_bytes: size of the adapter's file.
        scale: the factor on the adapter's output.
        step_seconds: of the median step; None if unknown.
        updates: number of training steps.
        examples: number of training examples.
        fewer_chunks: number of examples with fewer chunks than the setting says, because no more fit or exist.
        token_f1, exact_match: {"value", "low", "high"}, 0 to 1, with a 95% interval.
        questions: number of evaluation questions.
        adapter, evaluation: paths relative to the work directory.
    """

    value: str
    parameters: int
    adapter_bytes: int
    scale: float
    step_seconds: float | None
    updates: int
    examples: int
    fewer_chunks: int
    token_f1: ScoreInterval
    exact_match: ScoreInterval
    questions: int
    adapter: str
    evaluation: str


def point_cells(over: str, points: Sequence[SweepPoint], base: Mapping[str, ScoreInterval]) -> list[list[str]]:
    """Rows of a table, column names first: one for each value, and one for the base model with retrieval.

    "scale" and "fewer chunks" have a column only if the values differ in them.

    Args:
        base: the rung "base + retrieval", as in the evaluation's summary.json.
    """
    columns = {
        over: [point.value for point in points],
        "trainable parameters": [f"{point.parameters:,}" for point in points],
        "adapter": [f"{point.adapter_bytes / 1e6:.3g} MB" for point in points],
        "step": ["-" if point.step_seconds is None else f"{point.step_seconds:.3g} s" for point in points],
        "scale": [f"{point.scale:g}" for point in points],
        "examples": [f"{point.examples:,}" for point in points],
        "fewer chunks": [f"{point.fewer_chunks:,}" for point in points],
        "exact match": [percent(point.exact_match) for point in points],
        "token F1": [percent(point.token_f1) for point in points],
    }
    columns = {
        name: cells for name, cells in columns.items() if name not in ("scale", "fewer chunks") or len(set(cells)) > 1
    }
    last = {
        over: "base + retrieval",
        "exact match": percent(base["exact_match"]),
        "token F1": percent(base["token_f1"]),
    }
    return [list(columns), *map(list, zip(*columns.values(), strict=True)), [last.get(name, "-") for name in columns]]


def study_points(points: Sequence[SweepPoint]) -> list[StudyPoint]:
    """The points of a sweep over oracle-fraction as points of a study, in percent."""
    study = []
    for point in points:
        for metric, score in (("token_f1", point.token_f1), ("exact_match", point.exact_match)):
            mean, low, high = (100 * score[key] for key in ("value", "low", "high"))
            value = float(point.value)
            study.append(StudyPoint("oracle_fraction", value, TUNED, metric, mean, low, high, point.questions))
    return study


def write_points(path: Path, over: str, points: Sequence[SweepPoint]) -> None:
    """Write the points as CSV. Intervals are NAME_low and NAME_high; the first column is named `over`."""
    rows = []
    for point in points:
        row: dict[str, object] = {over: point.value}
        for name in SweepPoint.__slots__[1:]:
            value = getattr(point, name)
            if isinstance(value, Mapping):
                row |= {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
            else:
                row[name] = value
        rows.append(row)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
