"""The plot of a sweep: token F1 with its interval against each cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from data.evaluation.sweep_points import ScoreInterval, SweepPoint

_WIDE = 4  # from this ratio of largest to smallest cost on, the axis is logarithmic


def draw_sweep(over: str, points: Sequence[SweepPoint], base: Mapping[str, ScoreInterval], picture: Path) -> None:
    """Write a PNG with a panel for each cost, or for the value itself if all adapters have the same size.

    The dashed line and its band are the base model with retrieval.

    Args:
        base: the rung "base + retrieval", as in the evaluation's summary.json.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    panels = _panels(over, points)
    scores = [point.token_f1 for point in points]
    means = [100 * score["value"] for score in scores]
    # matplotlib refuses the negative lengths that rounding can give.
    below = [max(0.0, 100 * (score["value"] - score["low"])) for score in scores]
    above = [max(0.0, 100 * (score["high"] - score["value"])) for score in scores]
    untuned = {name: 100 * value for name, value in base["token_f1"].items()}
    figure = Figure(figsize=(1.5 + 3.5 * len(panels), 4), layout="constrained")
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, costs) in zip(row, panels.items(), strict=True):
        axes.errorbar(
            costs, means, yerr=(below, above), fmt="o", capsize=3, color="tab:blue", label="tuned + retrieval"
        )
        for point, cost, height in zip(points, costs, means, strict=True):
            axes.annotate(point.value, (cost, height), textcoords="offset points", xytext=(6, 4), fontsize=8)
        axes.axhline(untuned["value"], color="tab:gray", linestyle="--", label="base + retrieval")
        axes.axhspan(untuned["low"], untuned["high"], color="tab:gray", alpha=0.15, linewidth=0)
        if name != over and max(costs) >= _WIDE * min(costs):
            axes.set_xscale("log")
            axes.minorticks_off()
            axes.set_xticks(costs)
            axes.xaxis.set_major_formatter(EngFormatter(places=1, sep=""))
        axes.set(xlabel=name, ylim=(0, None))
        axes.margins(x=0.15)
        axes.grid(alpha=0.3)
    row[0].set(ylabel=f"token F1 (percent, {points[0].questions} questions)")
    row[0].legend(fontsize=8)
    figure.suptitle(f"{over}: quality against cost, 95% intervals", fontsize=10)
    # No time stamp in the file: the bytes depend on the points only.
    figure.savefig(picture, dpi=120, metadata={"Software": None})


def _panels(over: str, points: Sequence[SweepPoint]) -> dict[str, list[float]]:
    """Axis label -> x of each point."""
    panels: dict[str, list[float]] = {
        "trainable parameters": [point.parameters for point in points],
        "adapter (MB)": [point.adapter_bytes / 1e6 for point in points],
    }
    if len(set(panels["trainable parameters"])) == 1 and (numbers := _numbers(points)):
        panels = {over: numbers}
    if all(point.step_seconds is not None for point in points):
        panels["step (seconds)"] = [point.step_seconds or 0.0 for point in points]
    return panels


def _numbers(points: Sequence[SweepPoint]) -> list[float] | None:
    """The values as numbers, or None if they are names."""
    try:
        return [float(point.value) for point in points]
    except ValueError:
        return None
