"""The report on a run as one HTML page: no network, no scripts, light and dark."""

from __future__ import annotations

from typing import Any

from data.report.run_facts import RunFacts, RungScores, StageCost, comparison_rows, told_bytes, told_seconds
from data.report.run_plots import interval_plot, line_plot
from data.report.templates import render_page, style_sheet

# Cause of a failure (data/scoring/failures.py) -> what it means.
CAUSES = {
    "not retrieved": "no oracle was among the chunks shown",
    "retrieved and ignored": "an oracle was shown; the answer comes from none of the chunks",
    "distractor believed": "the answer comes from a chunk without the expected answer",
    "badly formatted": "the answer contains the expected words, among others",
    "wrong": "the answer differs, though it comes from the oracle or no documents were shown",
    "should have abstained": "the documents do not hold the answer; the model answered",
    "abstained wrongly": "the model says that the documents lack an answer that they hold",
}
# Metrics with a plot; the table has all of them.
DRAWN = ("token_f1", "exact_match", "quote_precision", "oracle_citation")
_OF_QUOTES = ("quote_precision", "oracle_citation")
# Prefix of a rung's name -> number of its colour.
_FAMILIES = {"base": 5, "plain": 1, "dsf": 1}


def run_page(run: RunFacts) -> str:
    """The page as HTML, a function of the facts alone. Texts of documents and answers are escaped."""
    return render_page(
        "data.report",
        "run.html",
        run_css=style_sheet("data.report", "run.css"),
        run=run,
        parts=run_parts(run),
        plots=_plots(run),
        leading=comparison_rows(run.leading()),
        tables={metric: comparison_rows(run.comparisons(metric)) for metric in run.compared_metrics()},
        causes=CAUSES,
        commonest=max([group.count for group in run.failures], default=1),
        costly=[stage for stage in run.stages if _is_costly(stage, run)],
        cheap=[stage for stage in run.stages if not _is_costly(stage, run)],
        longest=max([stage.seconds for stage in run.stages], default=0.0) or 1.0,
        seconds=told_seconds,
        bytes=told_bytes,
    )


def run_parts(run: RunFacts) -> dict[str, str]:
    """The sections of this run's page: key -> title."""
    every = {
        "asked": ("Settings", run.asked),
        "data": ("Data", run.data or run.filters),
        "ladder": ("Evaluation", run.rungs),
        "sweep": ("Quality and cost of each value", run.sweep),
        "training": ("Training", run.curves),
        "robustness": ("Robustness", run.robustness),
        "retriever": ("Retrieval", run.retriever),
        "examples": ("Answers side by side", run.examples),
        "failures": ("Failures by cause", run.failures),
        "champion": ("Champion", run.decision),
        "cost": ("Cost", run.stages),
        "again": ("Reproduce", run.command or run.digests),
    }
    return {key: title for key, (title, content) in every.items() if content}


def _plots(run: RunFacts) -> dict[str, Any]:
    ladder = []
    for metric in DRAWN:
        rows = [(r.name, s, _colour(r.name)) for r in run.rungs if (s := r.scores.get(metric)) and _applies(r, metric)]
        if any(score.high for _, score, _ in rows):
            ladder.append(interval_plot(rows, f"{run.label(metric)} (percent)"))
    leading = run.leading()
    differences = [
        (f"{each.rung} vs {each.against}", each.difference, 0 if each.verdict == "better" else 5) for each in leading
    ]
    label = run.label(leading[0].metric) if leading else ""
    first = list({figure.title: figure for figure in reversed(run.robustness)}.values())[::-1]
    return {
        "ladder": ladder,
        "leading": interval_plot(differences, f"{label}: difference in points", zero=True),
        "curves": [line_plot(figure) for figure in run.curves],
        "robustness": [line_plot(figure) for figure in first],
        "more": [line_plot(figure) for figure in run.robustness if figure not in first],
    }


def _is_costly(stage: StageCost, run: RunFacts) -> bool:
    """Whether a stage took at least 1% of the total time. If nothing was built, every stage counts."""
    return stage.seconds >= sum(each.seconds for each in run.stages) / 100


def _applies(rung: RungScores, metric: str) -> bool:
    """Whether the metric applies to the rung: metrics of quotes only where answers have some."""
    quotes = rung.scores.get("quote_rate")
    return metric not in _OF_QUOTES or quotes is None or quotes.high > 0


def _colour(rung: str) -> int:
    return next((colour for prefix, colour in _FAMILIES.items() if rung.casefold().startswith(prefix)), 0)
