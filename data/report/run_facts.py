"""What the report on a run shows, as plain values: collected by tasks/workdir, rendered by run_page and run_markdown.

Scores are in percent, 0 to 100; differences are in percentage points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from data.scoring.scores import UNAIDED_NOTE

# Kind of a piece of text: plain, quoted by the answer, or evidence that the answer does not quote.
PLAIN, QUOTED, PROOF = "", "quoted", "proof"
MarkedPiece = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Interval:
    """A score or a difference with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        # + 0.0: no sign on a rounded zero.
        value, low, high = (round(number, 1) + 0.0 for number in (self.value, self.low, self.high))
        return f"{value:.1f} ({low:.1f} to {high:.1f})"


@dataclass(frozen=True, slots=True)
class RungScores:
    """One rung of the ladder: metric -> score, or None if no answer counts for it."""

    name: str
    questions: int
    scores: Mapping[str, Interval | None]


@dataclass(frozen=True, slots=True)
class RungDifference:
    """The difference of two rungs on the same questions, with `p` of the paired test or None."""

    rung: str
    against: str
    metric: str
    difference: Interval
    p: float | None
    questions: int

    @property
    def verdict(self) -> str:
        """What the interval says, in words."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "not significant"


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a plot: x and y of each point, with intervals if measured.

    Attributes:
        x: numbers, or names, which are spaced evenly.
        low, high: one for each point, or empty.
    """

    name: str
    x: Sequence[float | str]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot: title, axis labels, lines, and a note below it."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, column names first.

    Attributes:
        note: a line below it.
        words: number of leading columns that hold text; the others hold numbers.
    """

    title: str
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: int = 1


@dataclass(frozen=True, slots=True)
class ShownQuote:
    """A quote of an answer and the place of its verbatim text; `place` is empty if it is in no chunk shown."""

    text: str
    place: str


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """The answer of a rung.

    Attributes:
        text: the answer, or the output if that is not in the trained format.
    """

    rung: str
    text: str
    quotes: Sequence[ShownQuote]
    right: bool


@dataclass(frozen=True, slots=True)
class Passage:
    """An excerpt of a chunk that was shown, or should have been, in marked pieces."""

    place: str
    pieces: Sequence[MarkedPiece]
    oracle: bool
    retrieved: bool


@dataclass(frozen=True, slots=True)
class ShownQuestion:
    """A question with the answers of some rungs and the passages that they come from."""

    question: str
    expected: str
    kind: str
    answers: Sequence[ShownAnswer]
    passages: Sequence[Passage]


@dataclass(frozen=True, slots=True)
class Failures:
    """Wrong answers with the same cause: their number and one example."""

    cause: str
    count: int
    example: ShownQuestion


@dataclass(frozen=True, slots=True)
class ShownDecision:
    """The promotion rule's decision in words, and the differences behind it."""

    text: str
    promoted: bool
    table: Table | None


@dataclass(frozen=True, slots=True)
class StageCost:
    """Cost of all calls of a stage.

    Attributes:
        seconds: of wall time.
        peak_bytes: of memory; None if all calls were cached.
    """

    stage: str
    calls: int
    cached: int
    seconds: float
    peak_bytes: int | None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """All that a run's page shows. What the run did not measure is empty and left out.

    Attributes:
        repeats: name of the earlier run with the same results, if this run had nothing to do.
        headline: the result in one sentence.
        tiles: name -> formatted number, shown at the top.
        labels: metric -> display name, in the order of the table.
        compared: the two rungs shown in the examples, the tuned one last.
        judge: ratings of the answers by a judge model.
        sweep: of a sweep, one row for each value.
        examples_note: how the examples were drawn.
        command: reproduces the run.
        digests: name of an artifact -> kind and digest.
        documents_page: path, relative to the page, of the account of every file; empty if there is none.
        links: name -> path relative to the page.
        missing: what cannot be shown and why, one line each.
    """

    name: str
    state: str
    about: str
    note: str = ""
    error: str = ""
    repeats: str = ""
    headline: str = ""
    tiles: Mapping[str, str] = field(default_factory=dict)
    asked: Sequence[tuple[str, str]] = ()
    changed: Sequence[tuple[str, str]] = ()
    data: Sequence[tuple[str, str]] = ()
    documents_page: str = ""
    filters: Table | None = None
    rungs: Sequence[RungScores] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    compared: tuple[str, str] = ("", "")
    paired: Sequence[RungDifference] = ()
    judge: Table | None = None
    sweep: Table | None = None
    breakdown: Sequence[Table] = ()
    curves: Sequence[Figure] = ()
    curves_note: str = ""
    robustness: Sequence[Figure] = ()
    retriever: Table | None = None
    examples: Sequence[ShownQuestion] = ()
    examples_note: str = ""
    failures: Sequence[Failures] = ()
    failures_note: str = ""
    decision: ShownDecision | None = None
    stages: Sequence[StageCost] = ()
    tokens: Sequence[tuple[str, str]] = ()
    command: str = ""
    digests: Sequence[tuple[str, str]] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()

    def label(self, metric: str) -> str:
        """Display name of a metric."""
        return self.labels.get(metric, metric.replace("_", " "))

    def ladder(self) -> Table:
        """The ladder as a table."""
        metrics = [metric for metric in self.metrics() if any(rung.scores.get(metric) for rung in self.rungs)]
        rows = [["", "questions", *map(self.label, metrics)]]
        rows += [
            [rung.name, str(rung.questions), *(str(rung.scores.get(metric) or "-") for metric in metrics)]
            for rung in self.rungs
        ]
        note = "percent, with 95% intervals; -: no answer counts for the metric"
        return Table("The ladder", rows, f"{note}. {UNAIDED_NOTE}" if "quotes_unaided" in metrics else note)

    def metrics(self) -> list[str]:
        """Metrics of the rungs in the order of their labels; those without a label come last."""
        present = {metric: None for rung in self.rungs for metric in rung.scores}
        return [*(key for key in self.labels if key in present), *(key for key in present if key not in self.labels)]

    def comparisons(self, metric: str) -> list[RungDifference]:
        """The paired comparisons of one metric."""
        return [paired for paired in self.paired if paired.metric == metric]

    def leading(self) -> list[RungDifference]:
        """Comparisons of the tuned rung with every other, in the first metric."""
        first = self.comparisons(next(iter(self.compared_metrics()), ""))
        return [paired for paired in first if self.compared[1] in (paired.rung, paired.against)]

    def compared_metrics(self) -> list[str]:
        """Metrics of the comparisons, in the order of the file."""
        return list({paired.metric: None for paired in self.paired})


def comparison_rows(paired: Sequence[RungDifference]) -> Table:
    """Paired comparisons as a table."""
    rows = [["rung", "compared with", "points", "", "p", "questions"]]
    for each in paired:
        p = "-" if each.p is None else "< 0.001" if each.p < 0.001 else f"{each.p:.3f}"
        rows.append(
            [each.rung, each.against, f"{_sign(each)}{each.difference}", each.verdict, p, f"{each.questions:,}"]
        )
    return Table("", rows, words=2)


def _sign(paired: RungDifference) -> str:
    return "+" if round(paired.difference.value, 1) > 0 else ""


def told_seconds(seconds: float) -> str:
    """A duration as text: `0.4 s`, `3 min 05 s`, `1 h 02 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def told_bytes(size: int) -> str:
    """A size as text, in powers of 1,000."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.95 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
