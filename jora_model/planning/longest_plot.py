"""Plot of the longest row against the number of devices."""

from collections.abc import Sequence
from pathlib import Path

from jora_model.planning.plan_job import Longest


def draw_longest(answers: Sequence[Longest], title: str, picture: Path) -> None:
    """Write a PNG with logarithmic axes; a number of devices on which no row fits has no point."""
    from matplotlib.figure import Figure

    points = [(answer.devices, answer.footprint.row_length, answer) for answer in answers if answer.footprint]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([devices for devices, _, _ in points], [length for _, length, _ in points], marker="o")
    for devices, length, answer in points:
        label = f"{'≥ ' if answer.capped else ''}{length:,}\nfsdp={answer.mesh.fsdp} tp={answer.mesh.tp}"
        axes.annotate(label, (devices, length), textcoords="offset points", xytext=(6, -14), fontsize=8)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set(xlabel="devices", ylabel="longest row (tokens)", title=title)
    axes.set_xticks([answer.devices for answer in answers], [str(answer.devices) for answer in answers])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.margins(x=0.15, y=0.15)
    axes.grid(alpha=0.3)
    figure.savefig(picture, dpi=120, metadata={"Software": None})
