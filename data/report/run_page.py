"""The report on a run as one HTML page: no network, no scripts, light or dark as the reader's screen is."""

from __future__ import annotations

from typing import Any

from data.report.run_facts import RunFacts, RungScores, StageCost, comparison_rows, told_bytes, told_seconds
from data.report.run_plots import interval_plot, line_plot
from data.report.templates import render_page, style_sheet

# What each cause of a failure means (data/scoring/failures.py); one that is not known here stands by itself.
CAUSES = {
    "not retrieved": "no chunk that proves the answer was among those shown",
    "retrieved and ignored": "the proof was shown, and the answer comes from none of the documents",
    "distractor believed": "it rests on a chunk that does not hold the answer",
    "badly formatted": "the expected words are there, among others",
    "wrong": "it looked in the right place, or had none to look in, and answers otherwise",
    "should have abstained": "the documents do not answer the question, and it does",
    "abstained wrongly": "it says that the documents do not hold what they hold",
}
# Metrics that are drawn; the table has all.
DRAWN = ("token_f1", "exact_match", "quote_precision", "oracle_citation")
_OF_QUOTES = ("quote_precision", "oracle_citation")
# Beginning of a rung's name -> number of its colour.
_FAMILIES = {"base": 5, "plain": 1, "dsf": 1}


def run_page(run: RunFacts) -> str:
    """The page; the same facts give the same bytes, and every text of documents and answers is escaped."""
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
    """The parts that a page of this run has: key -> title."""
    every = {
        "asked": ("What was asked for", run.asked),
        "data": ("The data", run.data or run.filters),
        "ladder": ("What changed", run.rungs),
        "sweep": ("What each value costs and gives", run.sweep),
        "training": ("Training", run.curves),
        "robustness": ("Robustness", run.robustness),
        "retriever": ("The retriever", run.retriever),
        "examples": ("Answers side by side", run.examples),
        "failures": ("What went wrong, by cause", run.failures),
        "champion": ("The champion", run.decision),
        "cost": ("Cost", run.stages),
        "again": ("Do it again", run.command or run.digests),
    }
    return {key: title for key, (title, content) in every.items() if content}


def _plots(run: RunFacts) -> dict[str, Any]:
    ladder = []
    for metric in DRAWN:
        rows = [(r.name, s, _colour(r.name)) for r in run.rungs if (s := r.scores.get(metric)) and _asked(r, metric)]
        if any(score.high for _, score, _ in rows):
            ladder.append(interval_plot(rows, f"{run.label(metric)} (percent)"))
    leading = run.leading()
    differences = [
        (f"{each.rung} against {each.against}", each.difference, 0 if each.told == "better" else 5) for each in leading
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
    """Whether a stage took a hundredth of the time of all; where nothing was built, every stage counts."""
    return stage.seconds >= sum(each.seconds for each in run.stages) / 100


def _asked(rung: RungScores, metric: str) -> bool:
    """Whether a rung gives quotes at all, where it is about these: an untuned model is not asked for any."""
    quotes = rung.scores.get("quote_rate")
    return metric not in _OF_QUOTES or quotes is None or quotes.high > 0


def _colour(rung: str) -> int:
    return next((colour for start, colour in _FAMILIES.items() if rung.casefold().startswith(start)), 0)
