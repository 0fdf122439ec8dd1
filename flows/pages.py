"""Markdown artifacts of runs and sweeps in Prefect's UI; each key has one version per run.

run         stages with time and memory, the promotion decision, loss curve, paths of the results
data        documents and questions, what was left out, retrieval metrics, changes since the last dataset
evaluation  the ladder, and the comparison with the champion
sweep       table and plot
report      the full report, as in report.html
"""

import base64
import json
from collections.abc import Iterable
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from tasks.records.records import RunRecord
from tasks.records.runs import Results
from tasks.store.artifacts import Artifact
from tasks.store.report import describe_bytes, describe_counts
from tasks.store.store import Store
from tasks.workdir.run_report import read_markdown


def show_in_prefect(store: Store, results: Results, artifacts: dict[str, Artifact]) -> None:
    """Create the pages of a completed run."""
    _page("run", "Stages, results and loss curve", _run(store, results))
    _page("data", "Documents, questions and retrieval metrics", _data(results, artifacts))
    if "evaluation" in results.paths:
        _page("evaluation", "Scores on documents that training never saw", _evaluation(results))


def show_sweep_in_prefect(over: str, folder: Path) -> None:
    """Create the page of a sweep."""
    lines = [(folder / "sweep.md").read_text(encoding="utf-8"), _picture(f"{over} sweep", folder / "sweep.png")]
    _page("sweep", f"Quality against cost over {over}", lines)


def show_report_in_prefect(store: Store, record: RunRecord) -> None:
    """Create the page of a run's report."""
    _page("report", f"Report of {record.name}", [read_markdown(store, record)])


def _run(store: Store, results: Results) -> list[str]:
    lines = [results.note, "", "| stage | result | | peak memory |", "|---|---|---|---|"]
    for outcome in store.outcomes:
        how = "cached" if outcome.cached else f"built in {outcome.seconds:.1f} s"
        how += f", attempt {outcome.attempts}" if outcome.attempts > 1 else ""
        memory = describe_bytes(outcome.peak_bytes) if outcome.peak_bytes else ""
        lines.append(f"| {outcome.stage} | {outcome.artifact}{describe_counts(outcome.artifact)} | {how} | {memory} |")
    lines += ["", *(f"- {name}: `{path}`" for name, path in results.paths.items())]
    if "training" in results.paths:
        lines += ["", _picture("loss curve", results.paths["training"] / "loss.png")]
    return lines


def _data(results: Results, artifacts: dict[str, Artifact]) -> list[str]:
    lines = ["| | |", "|---|---|"]
    for name in ("documents", "chunks", "questions", "dataset"):
        if name in artifacts:
            counts = (f"{number:,} {what.replace('_', ' ')}" for what, number in artifacts[name].counts)
            lines.append(f"| {name} | {', '.join(counts)} |")
    if "questions" in results.paths:
        lines += ["", "| filter | kept | rejected |", "|---|---|---|"]
        for row in json.loads((results.paths["questions"] / "filters.json").read_text(encoding="utf-8")):
            lines.append(f"| {row['filter']} | {row['kept']:,} | {row['rejected']:,} |")
    if "retrieval" in results.paths:
        lines += ["", "```text", (results.paths["retrieval"] / "retrieval.txt").read_text(encoding="utf-8"), "```"]
    if "diff" in results.paths:
        lines += ["", (results.paths["diff"] / "diff.md").read_text(encoding="utf-8")]
    if "package" in results.paths:
        lines += ["", f"Details and examples: `{results.paths['package'] / 'report.html'}`"]
    return lines


def _evaluation(results: Results) -> list[str]:
    lines = [(results.paths["evaluation"] / "summary.md").read_text(encoding="utf-8")]
    if "comparison" in results.paths:
        lines += ["", results.note, "", (results.paths["comparison"] / "comparison.md").read_text(encoding="utf-8")]
    return lines


def _page(key: str, what: str, lines: Iterable[str]) -> None:
    create_markdown_artifact("\n".join(lines), key=key, description=what)


def _picture(name: str, path: Path) -> str:
    return f"![{name}](data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()})"
