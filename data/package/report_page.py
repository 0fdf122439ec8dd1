"""The report on a dataset as one HTML page: no network, no scripts, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from data.report.charts import bars, histogram
from data.report.highlight import ShownExample
from data.report.templates import render_page


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter: how many items it gets, and how many it removes by reason."""

    name: str
    came: int
    removed: Mapping[str, int]

    @property
    def left(self) -> int:
        """How many items pass."""
        return self.came - sum(self.removed.values())


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """What the page shows of one split.

    Attributes:
        prompt_tokens, answer_tokens: one for each example.
        oracle_cosines, distractor_cosines: of a question and each chunk of its context.
    """

    examples: int
    general: int
    with_oracles: int
    prompt_tokens: Sequence[int]
    answer_tokens: Sequence[int]
    oracle_cosines: Sequence[float]
    distractor_cosines: Sequence[float]


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page shows.

    Attributes:
        totals: name -> number, shown at the top.
        leaks: of each part, as leaks.json has it.
        counts: of each part, as counts.json has it.
        retriever: rows of the retriever's table, column names first; empty if not measured.
        split_note: how the questions were split, in sentences.
    """

    totals: Mapping[str, int]
    filters: Sequence[Filter]
    splits: Mapping[str, SplitFacts]
    examples: Sequence[ShownExample]
    leaks: Sequence[Mapping[str, Any]]
    counts: Mapping[str, Mapping[str, int]]
    settings: Mapping[str, Any]
    retriever: Sequence[Sequence[str]] = field(default=())
    split_note: str = ""


def report_page(report: Report) -> str:
    """The page as HTML, a function of the report alone. Texts of the dataset are escaped."""
    return render_page("data.package", "report.html", report=report, charts=_charts(report))


def _charts(report: Report) -> dict[str, Markup]:
    splits = report.splits
    return {
        "oracles": bars(
            {name: (split.with_oracles, split.examples - split.general) for name, split in splits.items()},
            "examples whose context holds their oracles",
        ),
        "prompts": histogram(
            {name: split.prompt_tokens for name, split in splits.items()}, "tokens of a prompt", integers=True
        ),
        "answers": histogram(
            {name: split.answer_tokens for name, split in splits.items()}, "tokens of an answer", integers=True
        ),
        "cosines": histogram(
            {
                "oracles": [cosine for split in splits.values() for cosine in split.oracle_cosines],
                "distractors": [cosine for split in splits.values() for cosine in split.distractor_cosines],
            },
            "cosine of a question and a chunk of its context",
        ),
    }
