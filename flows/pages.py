"""What a person sees of a run or a sweep in Prefect's UI, as Markdown artifacts.

Of a run: the dataset, the loss curve and the ladder. Of a sweep: its table and its plot.
"""

import base64
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from tasks.report import describe_counts
from tasks.runs import Results
from tasks.store import Store


def show_in_prefect(store: Store, results: Results) -> None:
    """One page for the run: what each stage gave, the loss curve, the ladder, where the results lie."""
    lines = ["| stage | result | |", "|---|---|---|"]
    for outcome in store.outcomes:
        how = "cached" if outcome.cached else f"built in {outcome.seconds:.1f} s"
        lines.append(f"| {outcome.stage} | {outcome.artifact}{describe_counts(outcome.artifact)} | {how} |")
    lines += ["", *(f"- {name}: `{path}`" for name, path in results.paths.items())]
    if "diff" in results.paths:
        lines += ["", (results.paths["diff"] / "diff.md").read_text(encoding="utf-8")]
    if "evaluation" in results.paths:
        lines += ["", (results.paths["evaluation"] / "summary.md").read_text(encoding="utf-8")]
    if "comparison" in results.paths:
        lines += ["", (results.paths["comparison"] / "comparison.md").read_text(encoding="utf-8")]
    if results.note:
        lines += ["", results.note]
    if "training" in results.paths:
        lines += ["", _picture("loss curve", results.paths["training"] / "loss.png")]
    create_markdown_artifact("\n".join(lines), key="run", description="What this run built")


def show_sweep_in_prefect(over: str, folder: Path) -> None:
    """One page for the sweep."""
    lines = [(folder / "sweep.md").read_text(encoding="utf-8"), _picture(f"{over} sweep", folder / "sweep.png")]
    create_markdown_artifact("\n".join(lines), key="sweep", description=f"Quality against cost over {over}")


def _picture(name: str, path: Path) -> str:
    return f"![{name}](data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()})"
