"""Why an answer is not right, as one of a few causes that tell a person where to look: retriever or model."""

from __future__ import annotations

from collections.abc import Sequence

from data.documents.chunks import Chunk
from data.prompting.prompts import Parsed
from data.questions.questions import Question
from data.scoring.evaluated import Cause
from data.scoring.scores import contains_answer, exact_match, holds_words, stands_in


def failure_cause(question: Question, parsed: Parsed, shown: Sequence[Chunk]) -> Cause | None:
    """The first of these that fits; None for an answer that matches exactly (or abstains where it is to).

    should have abstained  the documents do not answer, and the model does
    badly formatted        the expected words are in the answer, among others
    not retrieved          documents were shown, and no oracle among them
    abstained wrongly      it says that the documents do not hold what an oracle that was shown holds
    distractor believed    a quote, or without one the answer, stands in a distractor and in no oracle that was shown
    wrong                  a quote, or without one the answer, comes from an oracle; or nothing was shown
    retrieved and ignored  an oracle was shown, and the answer comes from none of the documents

    Args:
        shown: the chunks of the prompt; none for a closed-book one.
    """
    if not question.quotes:
        return None if parsed.abstained else "should have abstained"
    if exact_match(parsed.answer, question.answer):
        return None
    if contains_answer(parsed.answer, question.answer):
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
    """Whether a quote stands in one of the chunks or, where there is none at all, the answer's words do."""
    if parsed.quotes:
        return any(stands_in(quote, chunks) for quote in parsed.quotes)
    return any(holds_words(chunk.text, parsed.answer) for chunk in chunks)
