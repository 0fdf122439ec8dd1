"""The same question asked twice of a document: repeated, answered in other words, or contradicted."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from data.prompting.prompts import is_abstention
from data.questions.questions import RawQuestion
from data.text.answer_words import normalize_answer

DUPLICATE = "duplicate"
CONTRADICTION = "contradicts another answer"


@dataclass(slots=True)
class Settled:
    """What becomes of questions that are asked more than once, by their index.

    Attributes:
        rejected: reason and detail of each that is not kept.
        more_answers: further right answers of one that is kept, which the others gave.
    """

    rejected: dict[int, tuple[str, str]] = field(default_factory=dict)
    more_answers: dict[int, tuple[str, ...]] = field(default_factory=dict)


def settle(questions: Sequence[tuple[Hashable, RawQuestion]]) -> Settled:
    """Keeps one question of each key: the first with an answer, or else the first.

    Another of its key with the same answer, case and punctuation aside, is a duplicate. So is one whose answer contains
    the kept one's, or is contained in it ("Reik", "Jonas Reik"): its answer is then right as well. Any other answer,
    also that the documents do not hold it, contradicts the kept one.

    Args:
        questions: each with its key: wording and document.
    """
    settled = Settled()
    kept: dict[Hashable, int] = {}
    for index in sorted(range(len(questions)), key=lambda index: is_abstention(questions[index][1].answer)):
        key, raw = questions[index]
        first = kept.setdefault(key, index)
        if first == index:
            continue
        other = questions[first][1]
        elsewhere = other.source or "another place"
        golds = (other.answer, *other.other_answers)
        mine = (raw.answer, *raw.other_answers)
        if any(_same(answer, gold) for answer in mine for gold in golds):
            settled.rejected[index] = (DUPLICATE, f"of the same document asked elsewhere ({elsewhere})")
        elif any(_within(answer, gold) for answer in mine for gold in golds):
            detail = f"of {elsewhere}, whose answer {other.answer!r} is kept, with {raw.answer!r} as right too"
            settled.rejected[index] = (DUPLICATE, detail)
        else:
            detail = f"{raw.answer!r} here, and {other.answer!r} in {elsewhere}, which is kept: correct one of them"
            settled.rejected[index] = (CONTRADICTION, detail)
            continue
        known = [*golds, *settled.more_answers.get(first, ())]
        more = tuple(answer for answer in dict.fromkeys(mine) if not any(_same(answer, gold) for gold in known))
        if more:
            settled.more_answers[first] = (*settled.more_answers.get(first, ()), *more)
    return settled


def _same(one: str, other: str) -> bool:
    return _words(one) == _words(other)


def _within(one: str, other: str) -> bool:
    """Whether one of two answers contains the other in whole words; an abstention contains none."""
    if is_abstention(one) or is_abstention(other):
        return False
    first, second = (f" {_words(answer)} " for answer in (one, other))
    return first in second or second in first


def _words(answer: str) -> str:
    """The words that are compared; an answer of signs alone is compared as it is."""
    return normalize_answer(answer) or " ".join(answer.split())
