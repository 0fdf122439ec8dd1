"""What an evaluation leaves for others to read: its records, file by file.

summary.json      list of rungs as data/scoring.summarize gives them, in the ladder's order; 0 to 1
answers.jsonl     an `Answered` a line, rung after rung
comparisons.json  list of `Comparison`s
breakdown.json    {"by_document" | "by_kind": {rung: {name: {"questions", "exact_match", "token_f1"}}}}; percent
points.json       of a robustness artifact: list of `StudyPoint`s
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# In the order in which a report tells them.
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


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer, for people to read. Scores are 0 to 1; fields with a default were added later.

    Attributes:
        rung: name of the rung.
        expected: the question's answer.
        output: all that the model wrote; `answer` and `quotes` are its parts.
        context_ids, context_places: the chunks that were shown, in their order, and where a person finds them.
        oracle_ids: of the chunks that prove the answer; none for an unanswerable question.
        verbatim_quotes: how many quotes stand in a chunk that was shown.
        cites_oracle: one of the quotes stands in an oracle.
        kind: of the question, by data/kinds.
        document: path of the question's document.
        answerable: the documents answer the question.
        contains_answer: 1 where the expected words stand in the answer in a row, else 0.
        abstained: the answer says that the documents do not hold it.
        oracle_retrieved: an oracle is among the chunks that were shown.
        output_tokens: length of the output, its end token included.
        overruled: how many of these tokens quoting verbatim took the place of likelier ones; None: quoting was free.
        cause: why it is not right, where it is not.
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


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two rungs on the same questions: how much higher `rung` scores than `against`, by a paired bootstrap.

    Attributes:
        difference, low, high: percent points, with a 95% interval.
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
    """A rung's score where one thing is varied.

    Attributes:
        value: of what is varied.
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
