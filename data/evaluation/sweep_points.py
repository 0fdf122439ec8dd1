"""Points of a sweep, quality beside cost: as a table for people and as CSV for programs."""

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
    """What one value of a sweep costs and how well its adapter answers.

    Attributes:
        value: as on the command line; for the base model the name of its rung.
        parameters: trained weights.
        adapter_bytes: size of the adapter's file.
        scale: the factor on the adapter's output.
        step_seconds: of the median step; None where it is not known.
        updates: steps of the training.
        examples: of the dataset.
        fewer_chunks: how many of them have fewer chunks than the setting says, because no more fit or are left.
        token_f1, exact_match: {"value", "low", "high"}, 0 to 1, with a 95% interval.
        questions: how many were asked.
        adapter, evaluation: folders below the work directory; "" where there is none.
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
    """Rows of a table, the names of its columns first: one for each value, and one for the base model with retrieval.

    Scale and "fewer chunks" have a column only where the values differ in them.

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
    """The points of a sweep over oracle-fraction as those of a robustness plot, in percent."""
    found = []
    for point in points:
        for metric, score in (("token_f1", point.token_f1), ("exact_match", point.exact_match)):
            mean, low, high = (100 * score[key] for key in ("value", "low", "high"))
            value = float(point.value)
            found.append(StudyPoint("oracle_fraction", value, TUNED, metric, mean, low, high, point.questions))
    return found


def write_points(path: Path, over: str, points: Sequence[SweepPoint]) -> None:
    """The points as CSV, each interval as NAME_low and NAME_high; the first column is called `over`."""
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
