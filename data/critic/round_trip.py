"""The round trip: a question is asked again over its oracle, and kept when a model gives the same answer.

What nobody can answer from the chunk that is said to prove it would teach a model to make things up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from data.documents.chunks import Chunk
from data.prompting.prompts import Prompt, parse_output, retrieval_prompt
from data.questions.questions import Question, Rejected
from data.scoring.scores import token_f1
from data.text.support import split_words


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One question asked again, for a person to look at.

    Attributes:
        token_f1: of the output's answer against the expected one, 0 to 1.
    """

    question_id: str
    question: str
    expected: str
    output: str
    token_f1: float


def oracle_prompt(question: Question, oracles: Sequence[Chunk]) -> Prompt:
    """The question over the chunks that prove its answer and no others, as an untuned model is asked."""
    return retrieval_prompt(oracles, question.question)


def agreement(question: Question, output: str) -> RoundTrip:
    """How far an output gives the question's answer; by pairs of characters where no spaces stand between words."""
    given, expected = (" ".join(split_words(text)) for text in (parse_output(output).answer, question.answer))
    return RoundTrip(question.id, question.question, question.answer, output, token_f1(given, expected))


def disagreement(trip: RoundTrip, at_least: float, source: str) -> Rejected | None:
    """The question as rejected, when the answer came back as another one."""
    if trip.token_f1 >= at_least:
        return None
    detail = f"asked over its oracle the answer was {trip.output.strip()[:200]!r} instead of {trip.expected!r}"
    return Rejected(trip.question, "another answer on the round trip", detail, source)
