"""The loss curve as a picture."""

import json
from pathlib import Path


def draw_curve(metrics: Path, picture: Path) -> None:
    """Loss and learning rate against updates, from metrics.jsonl to a PNG."""
    from matplotlib.figure import Figure

    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    updates = [row["update"] for row in rows]
    figure = Figure(figsize=(7, 4), layout="constrained")
    loss = figure.subplots()
    loss.plot(updates, [row["loss"] for row in rows], color="tab:blue", marker="." if len(rows) < 40 else "")
    loss.set(xlabel="update", ylabel="loss (mean over answer tokens)", ylim=(0, None))
    loss.grid(alpha=0.3)
    rate = loss.twinx()
    rate.plot(updates, [row["learning_rate"] for row in rows], color="tab:gray", linewidth=1)
    rate.set(ylabel="learning rate", ylim=(0, None))
    # No time stamp in the file: the same run gives the same picture.
    figure.savefig(picture, dpi=120, metadata={"Software": None})
