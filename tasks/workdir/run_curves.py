"""Reads the metrics of a training for its run's report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.report.run_facts import Figure, Series, told_seconds
from tasks.stages.json_files import read_json
from tasks.workdir.run_scores import read_lines

_MAX_POINTS = 300  # of a line; neighbours are averaged beyond that


def training_facts(adapter: Path) -> dict[str, Any]:
    """Curves of loss, validation loss and learning rate, a summary line, and the number of trained tokens."""
    rows = read_lines(adapter / "metrics.jsonl")
    summary = read_json(adapter / "training.json")
    updates = [row["update"] for row in rows]
    losses = [_series("training", updates, [row["loss"] for row in rows])]
    held_out = [(row["update"], row["validation_loss"]) for row in rows if "validation_loss" in row]
    if held_out:
        losses.append(Series("validation", *map(list, zip(*held_out, strict=True))))
    rates = [_series("learning rate", updates, [row["learning_rate"] for row in rows])]
    curves = [
        Figure("Loss", "update", "mean over answer tokens", losses),
        Figure("Learning rate", "update", "", rates),
    ]
    return {
        "curves": curves if rows else [],
        "curves_note": _summary(rows, held_out, summary),
        "trained_tokens": summary.get("example_tokens"),
    }


def _summary(rows: Sequence[dict[str, Any]], held_out: Sequence[tuple[int, float]], summary: dict[str, Any]) -> str:
    if not rows:
        return ""
    planned = summary.get("planned_updates", len(rows))
    parts = [f"{len(rows):,} of {planned:,} updates in {told_seconds(summary['seconds'])}"]
    parts.append(f"the loss went from {rows[0]['loss']:.2f} to {rows[-1]['loss']:.2f}")
    if held_out:
        update, lowest = min(held_out, key=lambda point: point[1])
        parts.append(f"the validation loss was lowest after update {update:,}, {lowest:.2f}")
    if (kept := summary.get("adapter_of_update")) is not None:
        parts.append(f"the adapter is that of update {kept:,}")
    return "; ".join(parts) + "."


def _series(name: str, x: Sequence[int], y: Sequence[float]) -> Series:
    """The line, with neighbouring points averaged if there are many."""
    width = -(-len(x) // _MAX_POINTS)
    if width <= 1:
        return Series(name, list(x), list(y))
    parts = [slice(start, start + width) for start in range(0, len(x), width)]
    return Series(name, [x[part][-1] for part in parts], [sum(y[part]) / len(y[part]) for part in parts])
