"""Whether the corpus answers a question that is said to be unanswerable.

A question is written over one chunk, and its writer sees no other: "What does entry cost?" is not answered by the chunk
of the opening hours, but by that of the prices. Trained as "not in the documents" it would teach to overlook them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import numpy as np

from data.documents.chunks import Chunk
from data.prompting.quotable import quotable_runs
from data.questions.candidates import Embed, ScorePairs
from data.questions.grounding import Search
from data.questions.questions import Question, Rejected
from data.text.support import content_words, held_share, split_words

log = logging.getLogger(__name__)

_LEAST_SCORE = 0.5  # of a cross-encoder, which is a probability
_SAME_QUESTION = 0.9  # cosine
_FEWEST_WORDS = 2  # content words of a question that a sentence may answer by its words
_OF_A_NUMBER = re.compile(
    r"\b(?:how (?:many|much|long|tall|high|deep|wide|old|far|often|big|large)|when|what (?:year|date|time|number)|"
    r"costs?|price)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|"
    r"seventy|eighty|ninety|hundred|thousand|million|dozen|half|once|twice|free|noon|midnight|daily|weekly|\w+day|"
    r"january|february|march|april|may|june|july|august|september|october|november|december|spring|summer|autumn|winter"
    r")\b",
    re.IGNORECASE,
)


def reject_answered(
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    depth: int,
    embed: Embed,
    search: Search,
    score: ScorePairs | None = None,
) -> tuple[list[Question], list[Rejected]]:
    """Rejects the unanswerable questions that another chunk than their own answers.

    One does if

    - an answerable question of another chunk asks the same (a cosine of 0.9, and the same numbers);
    - a sentence of a retrieved chunk holds all words of the question that carry content, at least two, and a number
      or time where one is asked for;
    - with a cross-encoder: it scores a retrieved chunk at least 0.5, and higher than the question's own.

    Args:
        depth: how many chunks are retrieved for each question.
        score: the cross-encoder of retrieval, if there is one.

    Returns:
        The other questions, in order, and the rejected ones.
    """
    open_questions = [question for question in questions if not question.answerable]
    if not open_questions:
        return list(questions), []
    by_id = {chunk.id: chunk for chunk in chunks}
    twins = _same_questions(open_questions, [question for question in questions if question.answerable], embed)
    hits = search([question.question for question in open_questions], depth)
    reasons: dict[str, str] = {}
    for question, found in zip(open_questions, hits, strict=True):
        others = [by_id[name] for name in found if name not in question.oracle_ids]
        if (twin := twins.get(question.id)) is not None:
            reasons[question.id] = f"{by_id[twin.oracle_ids[0]].place} answers {twin.question!r}: {twin.answer!r}"
        elif (sentence := _answering_sentence(question.question, others)) is not None:
            reasons[question.id] = f"{sentence[0].place}: {sentence[1]!r}"
        elif score is not None and (chunk := _best_scored(question, others, by_id, score)) is not None:
            reasons[question.id] = f"{chunk.place}, by the re-ranker"
    log.log(
        logging.INFO if score else logging.WARNING,
        "%d unanswerable questions were checked against the whole corpus%s: %d are answered there",
        len(open_questions),
        "" if score else ", by their words alone (retrieval.reranker also compares meaning)",
        len(reasons),
    )
    rejected = [
        Rejected(one.question, "answered elsewhere in the corpus", reasons[one.id], f"question {one.id}")
        for one in open_questions
        if one.id in reasons
    ]
    return [question for question in questions if question.id not in reasons], rejected


def _same_questions(questions: Sequence[Question], answered: Sequence[Question], embed: Embed) -> dict[str, Question]:
    """Id of an unanswerable question -> an answerable one of other chunks that asks the same."""
    if not answered:
        return {}
    vectors = embed([question.question for question in [*questions, *answered]])
    cosines = vectors[: len(questions)] @ vectors[len(questions) :].T
    found: dict[str, Question] = {}
    for row, column in np.argwhere(cosines >= _SAME_QUESTION).tolist():
        one, other = questions[row], answered[column]
        if not set(one.oracle_ids) & set(other.oracle_ids) and _numbers(one) == _numbers(other):
            found.setdefault(one.id, other)
    return found


def _numbers(question: Question) -> list[str]:
    return [word for word in split_words(question.question) if word[0].isdecimal()]


def _answering_sentence(question: str, chunks: Sequence[Chunk]) -> tuple[Chunk, str] | None:
    """The first sentence that holds all content words of the question, with its chunk."""
    words = content_words(question)
    if len(words) < _FEWEST_WORDS:
        return None
    wants_number = _OF_A_NUMBER.search(question) is not None
    for chunk in chunks:
        for start, end in (span for run in quotable_runs(chunk.text) for span in run):
            sentence = chunk.text[start:end]
            if wants_number and not _NUMBER.search(sentence):
                continue
            if not sentence.rstrip().endswith("?") and held_share(words, set(split_words(sentence))) == 1:
                return chunk, sentence
    return None


def _best_scored(
    question: Question, others: Sequence[Chunk], by_id: dict[str, Chunk], score: ScorePairs
) -> Chunk | None:
    """The chunk that the cross-encoder takes for an answer, if any."""
    own = [by_id[name] for name in question.oracle_ids]
    if not others:
        return None
    scores = score([(question.question, chunk.search_text) for chunk in [*own, *others]])
    best = int(np.argmax(scores[len(own) :]))
    return others[best] if scores[len(own) + best] >= max(_LEAST_SCORE, *scores[: len(own)].tolist()) else None
