"""The kind of a question, by its first question word; scores are broken down by it."""

from __future__ import annotations

import re

from data.questions.questions import Question

UNANSWERABLE, OTHER = "unanswerable", "other"
# Longer before shorter: "how many" before "how".
_WORDS = ("how many", "how much", "how long", "how", "who", "whom", "whose", "when", "where", "why", "which", "what")
_ASKS = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.IGNORECASE)
_SAME = {"whom": "who", "whose": "who", "how much": "how many", "how long": "how many"}
_YES_OR_NO = re.compile(
    r"(is|are|was|were|do|does|did|can|could|may|must|has|have|had|will|would|should)\b", re.IGNORECASE
)
YES_OR_NO = "yes or no"


def question_kind(question: Question) -> str:
    """ "who", "what", "which", "when", "where", "why", "how", "how many", "yes or no", "unanswerable" or "other".

    "How long" and "how much" count as "how many". Questions in other languages than English are "other".
    """
    if not question.answerable:
        return UNANSWERABLE
    text = " ".join(question.question.split())
    if _YES_OR_NO.match(text):
        return YES_OR_NO
    match = _ASKS.search(text)
    if match is None:
        return OTHER
    word = match[1].lower()
    return _SAME.get(word, word)
