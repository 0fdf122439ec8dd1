"""The critic's filters: each a function from a question to what is wrong with it, or None.

Those over `RawQuestion` look at the wording. Those over `Question` are made for a list of questions, since they embed
all of them at once or compare them with one another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from data.critic.self_contained import outside_reference
from data.critic.settings import SAME_AS_DOCUMENT, CriticSettings
from data.documents.chunks import Chunk
from data.documents.documents import Document
from data.questions.grounding import Embed
from data.questions.questions import Question, RawQuestion
from data.text.support import answer_recall, split_words, strange_numbers

# What is wrong: a fixed phrase, so that it can be counted, and what exactly.
Fault = tuple[str, str] | None

# Of near-duplicates the one with the surest quote is kept; of these the first.
_SUREST = {"given": 0, "sentence": 1, "nearest": 2}
_BLOCK = 1024  # rows of cosines held at once


def length_fault(raw: RawQuestion, settings: CriticSettings) -> Fault:
    """Too short or too long; an answer that is missing altogether is for grounding to tell."""
    for what, text, (fewest, most) in (
        ("question", raw.question.strip(), settings.question_length),
        ("answer", raw.answer.strip(), settings.answer_length),
    ):
        if text and not fewest <= len(text) <= most:
            return f"length of the {what}", f"{len(text)} characters; {fewest} to {most} are allowed"
    return None


def reference_fault(raw: RawQuestion) -> Fault:
    """Points outside itself."""
    words = outside_reference(raw.question)
    return ("not self-contained", f"{words!r} points outside the question") if words else None


def language_filter(documents: Sequence[Document], settings: CriticSettings) -> Callable[[Question], Fault]:
    """Surely in another language than those allowed."""
    from data.text.languages import language_of

    texts = {document.id: document.text for document in documents}
    told: dict[str, str] = {}  # document id -> language

    def fault(question: Question) -> Fault:
        allowed = set(settings.languages)
        language, probability = language_of(question.question)
        if probability < settings.language_confidence or language in allowed:
            return None
        if SAME_AS_DOCUMENT in allowed:
            name = question.document_id
            if name not in told:
                told[name] = language_of(texts[name])[0]
            if language == told[name]:
                return None
            allowed.add(told[name])
        wanted = " or ".join(sorted(allowed - {SAME_AS_DOCUMENT}))
        return "another language", f"{language} ({probability:.2f} sure) instead of {wanted}"

    return fault


def support_filter(
    questions: Sequence[Question], settings: CriticSettings, embed: Embed
) -> Callable[[Question], Fault]:
    """The quotes do not support the answer: too few of its words stand there, and they do not mean the same either."""
    quoted = [question for question in questions if question.quotes]
    recalls = {question.id: answer_recall(question.answer, " ".join(question.quotes)) for question in quoted}
    least = settings.answer_recall
    doubtful = [question for question in quoted if least is None or recalls[question.id] < least]
    cosines: dict[str, float] = {}
    if settings.answer_cosine is not None and doubtful:
        answers = embed([question.answer for question in doubtful])
        quotes = embed([" ".join(question.quotes) for question in doubtful])
        cosines = {q.id: float(a @ b) for q, a, b in zip(doubtful, answers, quotes, strict=True)}
    faults: dict[str, Fault] = {}
    for question in doubtful:
        if settings.answer_cosine is None or cosines[question.id] < settings.answer_cosine:
            seen = f"{recalls[question.id]:.0%} of the words of {question.answer!r} stand in the quotes"
            cosine = f", cosine {cosines[question.id]:.2f}" if question.id in cosines else ""
            faults[question.id] = ("answer not supported", seen + cosine)
    return lambda question: faults.get(question.id)


def number_filter(chunks: Sequence[Chunk]) -> Callable[[Question], Fault]:
    """A number of the answer stands nowhere in the oracle chunks, their headings included."""
    by_id = {chunk.id: chunk for chunk in chunks}

    def fault(question: Question) -> Fault:
        if not question.quotes:
            return None
        evidence = "\n".join(by_id[oracle_id].search_text for oracle_id in question.oracle_ids)
        strange = strange_numbers(question.answer, evidence)
        return ("number not in the oracle", f"{', '.join(strange)} in {question.answer!r}") if strange else None

    return fault


def repetition_filter(
    questions: Sequence[Question], at_least: float, embed: Embed, judged: Collection[str]
) -> Callable[[Question], Fault]:
    """Nearly repeats a better question, of whatever document.

    To an embedder "When was it founded?" and "Who founded it?" are near, and so are two years: questions that differ in
    a number, or are answered in other words, are not the same. That the documents do not answer a question is no other
    answer: of two such questions one is wrong, and the answered one is kept.

    Args:
        judged: wordings of those that may be rejected; the others come first.
    """
    vectors = embed([question.question for question in questions])
    numbers = [[w for w in split_words(question.question) if w[0].isdecimal()] for question in questions]
    answers = [set(split_words(question.answer)) if question.quotes else set() for question in questions]
    near: dict[int, list[int]] = {}
    for first in range(0, len(questions), _BLOCK):
        cosines = vectors[first : first + _BLOCK] @ vectors.T
        for row, column in np.argwhere(cosines >= at_least).tolist():
            place = first + row
            if place != column and numbers[place] == numbers[column] and _alike(answers[place], answers[column]):
                near.setdefault(place, []).append(column)

    def worse(place: int) -> tuple[bool, bool, int, int]:
        question = questions[place]
        return question.question in judged, not question.quotes, _SUREST[question.quote_source], place

    faults: dict[str, Fault] = {}
    kept: set[int] = set()
    for place in sorted(range(len(questions)), key=worse):
        better = [other for other in near.get(place, ()) if other in kept]
        if better and worse(place)[0]:
            faults[questions[place].id] = ("near-duplicate question", f"of {questions[better[0]].question!r}")
        else:
            kept.add(place)
    return lambda question: faults.get(question.id)


def _alike(words: set[str], others: set[str]) -> bool:
    """More than half of the words of the shorter answer stand in the other, or one has none."""
    return not words or not others or 2 * len(words & others) > min(len(words), len(others))
