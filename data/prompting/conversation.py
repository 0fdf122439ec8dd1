"""Follow-up questions: which earlier turns help to rewrite one, and whether the rewritten question may be asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from data.prompting.prompts import fold_space
from data.text.support import answer_recall, strange_numbers

_MOST_TURNS = 6


class Turn(NamedTuple):
    """One message of a conversation."""

    role: str
    text: str


def latest_turns(turns: Sequence[Turn], characters: int) -> list[Turn]:
    """The last turns, at most six, oldest first, that together fit in this number of characters."""
    taken: list[Turn] = []
    for turn in reversed(turns[-_MOST_TURNS:]):
        characters -= len(turn.text)
        if characters < 0:
            break
        taken.append(turn)
    return taken[::-1]


def rewritten(question: str, turns: Sequence[Turn], text: str) -> str:
    """The question to ask: `text`, if it is the question with names from the conversation, else the question itself.

    A small model may write anything. A rewritten question holds every content word and number of the question, and
    none that is not in the conversation; one that does not is dropped.

    Args:
        turns: what the model was shown.
        text: what it wrote.
    """
    line = fold_space(text).strip('"')
    said = "\n".join([*(turn.text for turn in turns), question])
    kept = answer_recall(question, line) == 1 and not strange_numbers(question, line)
    known = answer_recall(line, said) == 1 and not strange_numbers(line, said)
    return line if line and kept and known else question
