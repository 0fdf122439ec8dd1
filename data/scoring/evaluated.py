"""Records of an evaluation's files.

summary.json      list of rungs as `summarize` (data/scoring/scores.py) returns them, in the ladder's order; 0 to 1
answers.jsonl     one `Answered` a line, rung by rung
comparisons.json  list of `Comparison`s
breakdown.json    {"by_document" | "by_kind": {rung: {name: {"questions", "exact_match", "token_f1"}}}}; percent
points.json       of a robustness artifact: list of `StudyPoint`s
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

# In the order of reports.
Cause = Literal[
    "not retrieved",
    "retrieved and ignored",
    "distractor believed",
    "badly formatted",
    "wrong",
    "should have abstained",
    "abstained wrongly",
]
Study = Literal["distractors", "oracle_position", "top_k", "oracle_fraction"]


def say_expected(expected: str, also: Iterable[str] = ()) -> str:
    """An answer and those that are right as well, in one line."""
    return "; or: ".join((expected, *also))


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer. Scores are 0 to 1; fields with a default were added later.

    Attributes:
        rung: name of the rung.
        expected: the question's answer.
        output: everything the model wrote; `answer` and `quotes` are parsed from it.
        context_ids, context_places: the chunks of the prompt in order, and their places for people.
        oracle_ids: chunks that prove the answer; empty for an unanswerable question.
        verbatim_quotes: number of quotes that are verbatim in a chunk of the prompt.
        cites_oracle: a quote is verbatim in an oracle.
        kind: of the question (data/questions/question_kinds.py).
        document: path of the question's document.
        answerable: the documents answer the question.
        contains_answer: 1 if the answer contains the words of an expected one in a row, else 0.
        abstained: the answer says that the documents do not hold it.
        oracle_retrieved: an oracle is among the chunks of the prompt.
        output_tokens: length of the output, its end token included.
        overruled: number of these tokens that constrained decoding chose over likelier ones; None if unconstrained.
        cause: why the answer is wrong; None if it is right.
        also_expected: the question's other answers.
    """

    rung: str
    question_id: str
    question: str
    expected: str
    output: str
    answer: str
    quotes: tuple[str, ...]
    context_ids: tuple[str, ...]
    context_places: tuple[str, ...]
    oracle_ids: tuple[str, ...]
    exact_match: float
    token_f1: float
    verbatim_quotes: int
    cites_oracle: bool
    kind: str = ""
    document: str = ""
    answerable: bool = True
    rouge_l: float = 0.0
    contains_answer: float = 0.0
    abstained: bool = False
    oracle_retrieved: bool = False
    output_tokens: int = 0
    overruled: int | None = None
    cause: Cause | None = None
    also_expected: tuple[str, ...] = ()

    @property
    def all_expected(self) -> str:
        """All right answers in one line, for people and judges."""
        return say_expected(self.expected, self.also_expected)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference `rung` - `against` on the same questions, by a paired bootstrap.

    Attributes:
        difference, low, high: percentage points, with a 95% interval.
        p: two-sided, of no difference.
    """

    rung: str
    against: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    questions: int


@dataclass(frozen=True, slots=True)
class StudyPoint:
    """A rung's score at one value of a study.

    Attributes:
        value: of the varied quantity.
        mean, low, high: percent, with a 95% interval.
    """

    study: Study
    value: float | str
    rung: str
    metric: str
    mean: float
    low: float
    high: float
    questions: int
