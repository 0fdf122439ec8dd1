"""The critic's filters: functions that return the reason to reject a question, or None.

Those over `RawQuestion` look at the wording. Those over `Question` are built for a list of questions, since they embed
all of them at once or compare them with one another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from data.critic.self_contained import outside_reference
from data.critic.settings import SAME_AS_DOCUMENT, CriticSettings
from data.documents.chunks import Chunk
from data.documents.documents import Document
from data.questions.candidates import Embed
from data.questions.questions import Question, RawQuestion
from data.questions.repeats import answers_differ, asked, differ
from data.text.support import answer_recall, strange_numbers

# A fixed phrase, so that reasons can be counted, and the details.
Reason = tuple[str, str] | None

# Of near-duplicates the one with the most reliable quote is kept; of several such, the first.
_LEAST_RELIABLE = {"given": 0, "verbatim": 1, "supported": 2, "none": 3}
_BLOCK = 1024  # rows of cosines in memory at once


def length_reason(raw: RawQuestion, settings: CriticSettings) -> Reason:
    """Rejects questions and answers that are too short or too long; grounding rejects missing answers."""
    for what, text, (fewest, most) in (
        ("question", raw.question.strip(), settings.question_length),
        ("answer", raw.answer.strip(), settings.answer_length),
    ):
        if text and not fewest <= len(text) <= most:
            return f"length of the {what}", f"{len(text)} characters; allowed: {fewest} to {most}"
    return None


def reference_reason(raw: RawQuestion) -> Reason:
    """Rejects questions that refer to something outside themselves."""
    words = outside_reference(raw.question)
    return ("not self-contained", f"{words!r} refers to something outside the question") if words else None


def language_filter(documents: Sequence[Document], settings: CriticSettings) -> Callable[[Question], Reason]:
    """Rejects questions that are in another language than those allowed, with enough confidence."""
    from data.text.languages import language_of

    texts = {document.id: document.text for document in documents}
    languages: dict[str, str] = {}  # by document id

    def reason(question: Question) -> Reason:
        allowed = set(settings.languages)
        language, probability = language_of(question.question)
        if probability < settings.language_confidence or language in allowed:
            return None
        if SAME_AS_DOCUMENT in allowed:
            name = question.document_id
            if name not in languages:
                languages[name] = language_of(texts[name])[0]
            if language == languages[name]:
                return None
            allowed.add(languages[name])
        wanted = " or ".join(sorted(allowed - {SAME_AS_DOCUMENT}))
        return "another language", f"{language} (probability {probability:.2f}) instead of {wanted}"

    return reason


def support_filter(
    questions: Sequence[Question], settings: CriticSettings, embed: Embed
) -> Callable[[Question], Reason]:
    """Rejects answers that their quotes do not support: too few shared words, and too low a cosine."""
    quoted = [question for question in questions if question.quotes]
    recalls = {question.id: answer_recall(question.answer, " ".join(question.quotes)) for question in quoted}
    least = settings.answer_recall
    doubtful = [question for question in quoted if least is None or recalls[question.id] < least]
    cosines: dict[str, float] = {}
    if settings.answer_cosine is not None and doubtful:
        answers = embed([question.answer for question in doubtful])
        quotes = embed([" ".join(question.quotes) for question in doubtful])
        cosines = {q.id: float(a @ b) for q, a, b in zip(doubtful, answers, quotes, strict=True)}
    reasons: dict[str, Reason] = {}
    for question in doubtful:
        if settings.answer_cosine is None or cosines[question.id] < settings.answer_cosine:
            seen = f"the quotes hold {recalls[question.id]:.0%} of the words of {question.answer!r}"
            cosine = f", cosine {cosines[question.id]:.2f}" if question.id in cosines else ""
            reasons[question.id] = ("answer not supported", seen + cosine)
    return lambda question: reasons.get(question.id)


def number_filter(chunks: Sequence[Chunk]) -> Callable[[Question], Reason]:
    """Rejects answers with a number that is not in the oracle chunks, headings included."""
    by_id = {chunk.id: chunk for chunk in chunks}

    def reason(question: Question) -> Reason:
        if not question.answerable:
            return None
        evidence = "\n".join(by_id[oracle_id].search_text for oracle_id in question.oracle_ids)
        strange = strange_numbers(question.answer, evidence)
        return ("number not in the oracle", f"{', '.join(strange)} in {question.answer!r}") if strange else None

    return reason


def repetition_filter(
    questions: Sequence[Question], at_least: float, embed: Embed, checked: Collection[str]
) -> Callable[[Question], Reason]:
    """Rejects questions that nearly repeat a better one, of any document.

    To an embedder "When was it founded?" and "Who founded it?" are near, and so are two years: questions that differ in
    a number, or have other words in their answers, are not the same. An abstention does not count as another answer: of
    an answered and an unanswerable question that repeat each other one is wrong, and the answered one is kept.

    Args:
        checked: wordings of the questions that may be rejected; the others are preferred.
    """
    vectors = embed([question.question for question in questions])
    compared = [asked(question.question, question.answers) for question in questions]
    near: dict[int, list[int]] = {}
    for first in range(0, len(questions), _BLOCK):
        cosines = vectors[first : first + _BLOCK] @ vectors.T
        for row, column in np.argwhere(cosines >= at_least).tolist():
            one, other = compared[first + row], compared[column]
            if first + row != column and not differ(one, other) and not answers_differ(one, other):
                near.setdefault(first + row, []).append(column)

    def badness(index: int) -> tuple[bool, bool, int, int]:
        question = questions[index]
        return question.question in checked, not question.answerable, _LEAST_RELIABLE[question.quote_source], index

    reasons: dict[str, Reason] = {}
    kept: set[int] = set()
    for index in sorted(range(len(questions)), key=badness):
        better = [other for other in near.get(index, ()) if other in kept]
        if better and badness(index)[0]:
            reasons[questions[index].id] = ("near-duplicate question", f"of {questions[better[0]].question!r}")
        else:
            kept.add(index)
    return lambda question: reasons.get(question.id)
