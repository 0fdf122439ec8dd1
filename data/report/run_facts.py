"""What the report on a run shows, as plain values: gathered by tasks/workdir, drawn by run_page and run_markdown.

All scores are in percent, from 0 to 100; differences are in points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from data.scoring.scores import UNAIDED_NOTE

# What is known of a piece of text: nothing, the answer quotes it, or it proves the answer and was not quoted.
PLAIN, QUOTED, PROOF = "", "quoted", "proof"
MarkedPiece = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Interval:
    """A score or a difference with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        # A rounded zero has no sign.
        value, low, high = (round(number, 1) + 0.0 for number in (self.value, self.low, self.high))
        return f"{value:.1f} ({low:.1f} to {high:.1f})"


@dataclass(frozen=True, slots=True)
class RungScores:
    """One rung of the ladder: metric -> score, None where nothing counts."""

    name: str
    questions: int
    scores: Mapping[str, Interval | None]


@dataclass(frozen=True, slots=True)
class RungDifference:
    """How much higher a rung is than another on the same questions; `p` of the paired test, if there was one."""

    rung: str
    against: str
    metric: str
    difference: Interval
    p: float | None
    questions: int

    @property
    def told(self) -> str:
        """What the interval says."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "not told apart"


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a plot: x and y of each point and, where measured, its interval.

    Attributes:
        x: numbers, or names, which stand side by side.
        low, high: as many as points, or none.
    """

    name: str
    x: Sequence[float | str]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot: its title, what the axes show, its lines, and a line below it."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, the names of the columns first.

    Attributes:
        note: a line below it.
        words: so many columns at the beginning hold words, the others numbers.
    """

    title: str
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: int = 1


@dataclass(frozen=True, slots=True)
class ShownQuote:
    """A quote of an answer, and where it stands word for word; nowhere in what was shown where `place` is empty."""

    text: str
    place: str


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """What a rung answered.

    Attributes:
        text: the answer, or the whole output where that is not in the format.
    """

    rung: str
    text: str
    quotes: Sequence[ShownQuote]
    right: bool


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a chunk that was shown or should have been: where it stands, its text in marked pieces."""

    place: str
    pieces: Sequence[MarkedPiece]
    oracle: bool
    retrieved: bool


@dataclass(frozen=True, slots=True)
class ShownQuestion:
    """A question with the answers of some rungs side by side and the passages that they rest on."""

    question: str
    expected: str
    kind: str
    answers: Sequence[ShownAnswer]
    passages: Sequence[Passage]


@dataclass(frozen=True, slots=True)
class Failures:
    """The answers that one cause made wrong: how many, and one of them."""

    cause: str
    count: int
    example: ShownQuestion


@dataclass(frozen=True, slots=True)
class ShownDecision:
    """What the rule said of the model, why, and the differences that it rests on."""

    told: str
    promoted: bool
    table: Table | None


@dataclass(frozen=True, slots=True)
class StageCost:
    """What a stage of a name has cost in all its calls; None where all of them were cached.

    Attributes:
        seconds: of wall time.
        peak_bytes: of memory.
    """

    stage: str
    calls: int
    cached: int
    seconds: float
    peak_bytes: int | None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """All that the page of a run shows; what a run has not measured is empty, and left out of the page.

    Attributes:
        repeats: the run whose results this one would have given again; it has a page of its own.
        headline: what came of it in a sentence or two.
        tiles: name -> number in words, the first things to see.
        labels: metric -> what it is called, in the order of the table.
        compared: the two rungs that the examples show, the tuned one last.
        judge: what a model behind a server says of the answers.
        sweep: a row a value, of a run that is a sweep.
        examples_note: how the examples were drawn.
        command: what does it again.
        digests: name of a result -> kind and digest.
        links: name -> path relative to the page.
        missing: lines about what cannot be shown, and why.
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
        """How a metric is called."""
        return self.labels.get(metric, metric.replace("_", " "))

    def ladder(self) -> Table:
        """The ladder as a table."""
        metrics = [metric for metric in self.metrics() if any(rung.scores.get(metric) for rung in self.rungs)]
        rows = [["", "questions", *map(self.label, metrics)]]
        rows += [
            [rung.name, str(rung.questions), *(str(rung.scores.get(metric) or "-") for metric in metrics)]
            for rung in self.rungs
        ]
        note = "percent, with 95% intervals; - where nothing counts"
        return Table("The ladder", rows, f"{note}. {UNAIDED_NOTE}" if "quotes_unaided" in metrics else note)

    def metrics(self) -> list[str]:
        """Keys of the rungs' scores, in the order of their labels, those without one last."""
        given = {metric: None for rung in self.rungs for metric in rung.scores}
        return [*(key for key in self.labels if key in given), *(key for key in given if key not in self.labels)]

    def comparisons(self, metric: str) -> list[RungDifference]:
        """The paired comparisons of one metric."""
        return [paired for paired in self.paired if paired.metric == metric]

    def leading(self) -> list[RungDifference]:
        """The comparisons that a reader asks for first: of the tuned rung with each other one, in the first metric."""
        first = self.comparisons(next(iter(self.compared_metrics()), ""))
        return [paired for paired in first if self.compared[1] in (paired.rung, paired.against)]

    def compared_metrics(self) -> list[str]:
        """The metrics that rungs were compared in, in the order of the file."""
        return list({paired.metric: None for paired in self.paired})


def comparison_rows(paired: Sequence[RungDifference]) -> Table:
    """Paired comparisons as a table."""
    rows = [["rung", "against", "points", "", "p", "questions"]]
    for each in paired:
        p = "-" if each.p is None else "< 0.001" if each.p < 0.001 else f"{each.p:.3f}"
        rows.append([each.rung, each.against, f"{_sign(each)}{each.difference}", each.told, p, f"{each.questions:,}"])
    return Table("", rows, words=2)


def _sign(paired: RungDifference) -> str:
    return "+" if round(paired.difference.value, 1) > 0 else ""


def told_seconds(seconds: float) -> str:
    """A time for people: `0.4 s`, `3 min 05 s`, `1 h 02 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def told_bytes(size: int) -> str:
    """A size for people, in steps of 1,000."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.95 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
