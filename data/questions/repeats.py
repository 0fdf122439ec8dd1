"""Whether two questions ask the same: by the cosine of their embeddings, and by what an embedder does not see.

To an embedder "Who holds locker 100?" and "Who holds locker 200?" are near, and so are two names. Near questions are
different ones if they differ in a number or a code, or if their answers differ and each has words that the other lacks.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from data.prompting.prompts import is_abstention
from data.questions.questions import Question, same_wording
from data.text.support import split_words

_PRODUCTS = 1 << 24  # products held at once
# "X-200", "v1.2b": letters and digits in one piece.
_CODE = re.compile(r"\w+(?:[-./]\w+)*")


class Asked(NamedTuple):
    """What tells questions apart.

    Attributes:
        words: of the question.
        marks: its numbers and codes, each as often as it stands there.
        answers: the words of each right answer; none if the answer is unknown or an abstention.
    """

    words: frozenset[str]
    marks: Counter[str]
    answers: tuple[frozenset[str], ...]


def asked(question: str, answers: Sequence[str] = ()) -> Asked:
    """A question as `differ` compares it."""
    words = split_words(question)
    marks = Counter(word for word in words if word[0].isdecimal())
    folded = unicodedata.normalize("NFKC", question).casefold()
    for match in _CODE.finditer(folded):
        code = re.sub(r"\W", "", match[0])
        if any(c.isdecimal() for c in code) and any(c.isalpha() for c in code):
            marks[code] += 1
    # Numerals that are letters, as in Chinese.
    marks.update(str(unicodedata.numeric(c)) for c in folded if c.isnumeric() and not c.isdecimal())
    right = tuple(frozenset(split_words(answer)) for answer in answers if not is_abstention(answer))
    return Asked(frozenset(words), marks, right)


def differ(one: Asked, other: Asked) -> bool:
    """Whether two questions of near wording are different ones.

    An unknown answer, or an abstention, is no other answer: of an answered and an unanswerable question that are near,
    one is wrong.
    """
    own, others = one.marks - other.marks, other.marks - one.marks
    if own and others:
        return True
    own_words = one.words - other.words and other.words - one.words
    return bool(own or others or own_words) and answers_differ(one, other)


def answers_differ(one: Asked, other: Asked) -> bool:
    """Whether no right answer of one question has most words of one of the other's; False if one has none."""
    if not one.answers or not other.answers:
        return False
    return not any(_alike(mine, theirs) for mine in one.answers for theirs in other.answers)


def _alike(words: frozenset[str], others: frozenset[str]) -> bool:
    """Whether two answers share more than half of the words of the shorter, or one has none."""
    return not words or not others or 2 * len(words & others) > min(len(words), len(others))


def repeated_question(
    questions: Sequence[tuple[str, Sequence[str]]],
    vectors: np.ndarray,
    held_out: Sequence[Question],
    held_out_vectors: np.ndarray,
    cosine: float,
) -> list[int | None]:
    """For each question the index of a held-out one that it repeats, or None.

    It repeats one that has the same wording, or at least this cosine to it and does not differ from it (`differ`).

    Args:
        questions: each with its right answers; none if they are unknown.
        vectors, held_out_vectors: of both, normalized, float32 [N, D] and [H, D].
    """
    wordings: dict[str, int] = {}
    for index, question in enumerate(held_out):
        wordings.setdefault(same_wording(question.question), index)
    found: list[int | None] = [wordings.get(same_wording(text)) for text, _ in questions]
    seen: dict[int, Asked] = {}
    for row, column in _near_pairs(vectors, held_out_vectors, cosine):
        if found[row] is None:
            if column not in seen:
                seen[column] = asked(held_out[column].question, held_out[column].answers)
            if not differ(asked(*questions[row]), seen[column]):
                found[row] = column
    return found


def repeats_a_question(
    questions: Sequence[tuple[str, Sequence[str]]],
    vectors: np.ndarray,
    held_out: Sequence[Question],
    held_out_vectors: np.ndarray,
    cosine: float,
) -> list[bool]:
    """Whether each question repeats a held-out one; arguments as in `repeated_question`."""
    found = repeated_question(questions, vectors, held_out, held_out_vectors, cosine)
    return [index is not None for index in found]


def _near_pairs(vectors: np.ndarray, others: np.ndarray, cosine: float) -> Iterator[tuple[int, int]]:
    """(row, column) of all pairs with at least this cosine, by row, the nearest of a row first."""
    step = max(_PRODUCTS // max(len(others), 1), 1)
    for start in range(0, len(vectors) if len(others) else 0, step):
        products = vectors[start : start + step] @ others.T
        for row in np.flatnonzero(products.max(axis=1) >= cosine).tolist():
            near = np.flatnonzero(products[row] >= cosine)
            for column in near[np.argsort(-products[row][near], kind="stable")].tolist():
                yield start + row, column
