"""The round trip: a model answers each question over its oracle, and the question is kept if the answer is the same.

Training on a question that cannot be answered from its oracle would teach a model to invent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from data.documents.chunks import Chunk
from data.prompting.prompts import Prompt, parse_output, retrieval_prompt
from data.questions.questions import Question, Rejected
from data.scoring.scores import best, token_f1


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """The answer of a model to one question over its oracle.

    Attributes:
        token_f1: of the output's answer, the best over the expected ones, 0 to 1.
    """

    question_id: str
    question: str
    expected: str
    output: str
    token_f1: float


def oracle_prompt(question: Question, oracles: Sequence[Chunk]) -> Prompt:
    """The question over the chunks that prove its answer, without distractors, as an untuned model is asked."""
    return retrieval_prompt(oracles, question.question)


def agreement(question: Question, output: str) -> RoundTrip:
    """An output compared with the question's answers, by the most similar one."""
    agreed = best(token_f1, parse_output(output), question)
    return RoundTrip(question.id, question.question, question.answer, output, agreed)


def disagreement(trip: RoundTrip, at_least: float, source: str) -> Rejected | None:
    """The question as rejected if the answers agree less than `at_least`, else None."""
    if trip.token_f1 >= at_least:
        return None
    detail = f"over its oracle the model answered {trip.output.strip()[:200]!r} instead of {trip.expected!r}"
    return Rejected(trip.question, "another answer on the round trip", detail, source)
