"""The loss curve as a PNG."""

import json
from pathlib import Path


def draw_curve(metrics: Path, picture: Path) -> None:
    """Plot loss, validation loss if there is one, and learning rate against updates, from metrics.jsonl to a PNG."""
    from matplotlib.figure import Figure

    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    updates = [row["update"] for row in rows]
    figure = Figure(figsize=(7, 4), layout="constrained")
    loss = figure.subplots()
    marker = "." if len(rows) < 40 else ""
    loss.plot(updates, [row["loss"] for row in rows], color="tab:blue", marker=marker, label="training")
    if held_out := [(row["update"], row["validation_loss"]) for row in rows if "validation_loss" in row]:
        loss.plot(*zip(*held_out, strict=True), color="tab:orange", marker="o", label="validation")
        best = min(held_out, key=lambda point: point[1])
        loss.plot(*best, color="tab:orange", marker="*", markersize=14, linestyle="", label="lowest")
        loss.legend()
    loss.set(xlabel="update", ylabel="loss (mean over answer tokens)", ylim=(0, None))
    loss.grid(alpha=0.3)
    rate = loss.twinx()
    rate.plot(updates, [row["learning_rate"] for row in rows], color="tab:gray", linewidth=1)
    rate.set(ylabel="learning rate", ylim=(0, None))
    # No time stamp in the file: the same run writes the same bytes.
    figure.savefig(picture, dpi=120, metadata={"Software": None})
