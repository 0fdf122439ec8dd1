"""The report on a dataset: one HTML page without network or scripts, light or dark as the reader's screen is."""

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
    """A step that questions or examples go through: how many come, and how many go for which reason."""

    name: str
    came: int
    removed: Mapping[str, int]

    @property
    def left(self) -> int:
        """How many go on."""
        return self.came - sum(self.removed.values())


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """What the page shows of one split: numbers of tokens and similarities, one for each example or chunk shown.

    Attributes:
        prompt_tokens, answer_tokens: of each example.
        oracle_cosines, distractor_cosines: of a question to the chunks that it is shown.
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
        totals: name -> number, the first things to see.
        leaks: of each part, as leaks.json has it.
        counts: of each part, as counts.json has it.
        retriever: rows of the retriever's table, if it was measured; the first holds the names of the columns.
    """

    totals: Mapping[str, int]
    filters: Sequence[Filter]
    splits: Mapping[str, SplitFacts]
    examples: Sequence[ShownExample]
    leaks: Sequence[Mapping[str, Any]]
    counts: Mapping[str, Mapping[str, int]]
    settings: Mapping[str, Any]
    retriever: Sequence[Sequence[str]] = field(default=())


def report_page(report: Report) -> str:
    """The page as HTML; the same report gives the same bytes, and every text of the dataset is escaped."""
    return render_page("data.package", "report.html", report=report, charts=_charts(report))


def _charts(report: Report) -> dict[str, Markup]:
    splits = report.splits
    return {
        "oracles": bars(
            {name: (split.with_oracles, split.examples - split.general) for name, split in splits.items()},
            "examples whose context holds their oracles",
        ),
        "prompts": histogram(
            {name: split.prompt_tokens for name, split in splits.items()}, "tokens of a prompt", whole=True
        ),
        "answers": histogram(
            {name: split.answer_tokens for name, split in splits.items()}, "tokens of an answer", whole=True
        ),
        "cosines": histogram(
            {
                "oracles": [cosine for split in splits.values() for cosine in split.oracle_cosines],
                "distractors": [cosine for split in splits.values() for cosine in split.distractor_cosines],
            },
            "cosine of the question to a chunk that it is shown",
        ),
    }
