"""The cause of a wrong answer, which says whether to look at the retriever or at the model."""

from __future__ import annotations

from collections.abc import Sequence

from data.documents.chunks import Chunk
from data.prompting.prompts import Parsed
from data.questions.questions import Question
from data.scoring.evaluated import Cause
from data.scoring.scores import best, contains_answer, exact_match, holds_words, stands_in


def failure_cause(question: Question, parsed: Parsed, shown: Sequence[Chunk]) -> Cause | None:
    """The first cause that applies; None for an exact match or a due abstention.

    should have abstained  the documents do not hold the answer; the model answers
    badly formatted        the answer contains the words of an expected one, among others
    not retrieved          chunks were shown, none of them an oracle
    abstained wrongly      the model abstains, though an oracle was shown or it was asked closed-book
    distractor believed    a quote (or, without quotes, the answer) is in a distractor shown and in no oracle shown
    wrong                  a quote (or, without quotes, the answer) is in an oracle shown; or nothing was shown
    retrieved and ignored  an oracle was shown, and the answer comes from no chunk

    Args:
        shown: the chunks of the prompt; empty for closed-book.
    """
    if not question.answerable:
        return None if parsed.abstained else "should have abstained"
    if best(exact_match, parsed, question):
        return None
    if best(contains_answer, parsed, question):
        return "badly formatted"
    oracles = [chunk for chunk in shown if chunk.id in question.oracle_ids]
    distractors = [chunk for chunk in shown if chunk.id not in question.oracle_ids]
    if shown and not oracles:
        return "not retrieved"
    if parsed.abstained:
        return "abstained wrongly"
    if not shown or _comes_from(parsed, oracles):
        return "wrong"
    return "distractor believed" if _comes_from(parsed, distractors) else "retrieved and ignored"


def _comes_from(parsed: Parsed, chunks: Sequence[Chunk]) -> bool:
    """Whether a quote or, without quotes, the answer is in one of the chunks."""
    if parsed.quotes:
        return any(stands_in(quote, chunks) for quote in parsed.quotes)
    return any(holds_words(chunk.text, parsed.answer) for chunk in chunks)
