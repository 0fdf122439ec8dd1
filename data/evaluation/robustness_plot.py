"""The plot of the robustness studies: a panel for each study, a line for each metric, 95% intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.scoring.evaluated import Study, StudyPoint
from data.scoring.scores import METRICS

_AXES: dict[Study, str] = {
    "distractors": "distractors beside the oracle",
    "oracle_position": "position of the oracle",
    "top_k": "retrieved chunks",
    "oracle_fraction": "oracle_fraction in training",
}
_COLOURS = ("tab:blue", "tab:orange", "tab:green")


def draw_points(points: Sequence[StudyPoint], picture: Path) -> None:
    """Write a PNG, whose bytes depend on the points only."""
    from matplotlib.figure import Figure

    studies = list(dict.fromkeys(point.study for point in points))
    metrics = list(dict.fromkeys(point.metric for point in points))
    figure = Figure(figsize=(1.5 + 3.5 * max(1, len(studies)), 4), layout="constrained")
    row = figure.subplots(1, max(1, len(studies)), sharey=True, squeeze=False)[0]
    for axes, study in zip(row, studies, strict=False):
        for metric, colour in zip(metrics, _COLOURS, strict=False):
            line = [point for point in points if (point.study, point.metric) == (study, metric)]
            x = [float(point.value) for point in line]
            means = [point.mean for point in line]
            # matplotlib refuses the negative lengths that rounding can give.
            ends = ([max(0.0, p.mean - p.low) for p in line], [max(0.0, p.high - p.mean) for p in line])
            axes.errorbar(x, means, yerr=ends, fmt="o-", capsize=3, color=colour, label=METRICS[metric])
        ticks = sorted({float(point.value) for point in points if point.study == study})
        axes.set(xlabel=_AXES[study], ylim=(0, None), xticks=ticks)
        axes.grid(alpha=0.3)
    if points:
        row[0].set(ylabel=f"percent ({max(point.questions for point in points)} questions)")
        row[0].legend(fontsize=8)
    figure.suptitle("tuned model: score against context, 95% intervals", fontsize=10)
    figure.savefig(picture, dpi=120, metadata={"Software": None})
