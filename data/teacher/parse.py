"""Reads a teacher's answer as questions; tolerates prose or fences around the JSON, trailing commas and a cut end.

    text --find_items--> dicts --read_answer--> RawQuestion | Rejected

Grounding checks later whether a quote is verbatim and which chunk holds it (grounding.py). The library json-repair does
not serve here: it completes what is cut off (`"answer": "ry` becomes the answer "ry"), and of objects on several lines
it returns the last.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from data.prompting.prompts import ABSTENTION, fold_space, is_abstention
from data.questions.questions import RawQuestion, Rejected, Unusable
from data.teacher.plan import TeacherCall
from data.teacher.settings import Kind

MAX_CHARACTERS = 100_000  # longest answer that is read, far more than fifty questions need

_OBJECT = re.compile(r'\{\s*"')
# A comma before a closing bracket; the first branch consumes complete strings, so that none inside them matches.
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


def read_answer(call: TeacherCall, text: str) -> tuple[list[RawQuestion], list[Rejected]]:
    """The questions of one answer, and its unusable parts with the reasons."""
    questions: list[RawQuestion] = []
    rejected: list[Rejected] = []
    source = f"teacher about {call.chunks[0].id}"
    if not text.strip():
        return [], [Rejected("", "empty answer", "", source)]
    if len(text) > MAX_CHARACTERS:
        return [], [Rejected("", "answer too long", f"{len(text)} characters", source)]
    items = find_items(text)
    if not items:
        return [], [Rejected("", "no question in the answer", repr(text[:200]), source)]
    for index, item in enumerate(items):
        wanted: Kind | None = call.kinds[index] if index < len(call.kinds) else None
        label = f"{source}, {wanted or 'not asked for'}, question {index + 1}"
        try:
            questions.append(_question(item, wanted, call, label))
        except Unusable as why:
            rejected.append(Rejected(_shown(item.get("question")), why.reason, why.detail, label))
    missing = len(call.kinds) - len(items)
    if missing > 0:
        rejected.append(Rejected("", "fewer questions than asked for", f"{missing} fewer", source))
    return questions, rejected


def find_items(text: str, key: str = "question") -> list[dict[str, Any]]:
    """Every complete JSON object in the text that has this key, in order."""
    items = list(_items(text, key))
    # Only if it yields more: in a text with unbalanced quotation marks, the comma may belong to a string.
    without_commas = list(_items(_TRAILING_COMMA.sub(lambda match: match[1] or "", text), key))
    return without_commas if len(without_commas) > len(items) else items


def _items(text: str, key: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder(strict=False)  # allows line breaks inside strings
    match = _OBJECT.search(text)
    while match:
        try:
            value, end = decoder.raw_decode(text, match.start())
        except (json.JSONDecodeError, RecursionError):
            end = match.end()  # items inside a broken object may be complete
        else:
            yield from _within(value, key)
        match = _OBJECT.search(text, end)


def _within(value: Any, key: str) -> Iterator[dict[str, Any]]:
    """The objects with the key in a value, at any depth: servers that ignore the schema wrap them in other objects."""
    if isinstance(value, dict):
        if key in value:
            yield value
            return
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _within(inner, key)


def _question(item: dict[str, Any], wanted: Kind | None, call: TeacherCall, source: str) -> RawQuestion:
    if wanted is None:
        raise Unusable("more questions than asked for")
    question = _text(item, "question")
    if not question:
        raise Unusable("no question", _shown(item.get("question")))
    if isinstance(item.get("answer"), list | dict):
        raise Unusable("the answer is no text", _shown(item["answer"]))
    answer = _text(item, "answer")
    abstains = not answer or is_abstention(answer)
    unanswerable = item.get("kind", wanted) == "unanswerable"
    if abstains and (unanswerable or wanted == "unanswerable"):
        # The chunk's text as quote ties the question to this chunk, which does not answer it.
        return RawQuestion(
            question,
            ABSTENTION,
            quotes=(call.chunks[0].text,),
            document=call.chunks[0].document_path,
            reason=_text(item, "reason") or None,
            source=source,
            written=True,
        )
    if abstains:
        raise Unusable("no answer", _shown(item.get("answer")))
    if unanswerable:
        raise Unusable("an answer to an unanswerable question", answer)
    quotes = item.get("quotes", item.get("quote"))
    quotes = [quotes] if isinstance(quotes, str) else quotes
    if not isinstance(quotes, list) or not all(isinstance(quote, str) and _encodable(quote) for quote in quotes):
        raise Unusable("quotes are no list of texts", _shown(quotes))
    quotes = [quote for quote in quotes if quote.strip()]
    if not quotes:
        raise Unusable("no quote")
    return RawQuestion(
        question,
        answer,
        quotes=tuple(dict.fromkeys(quotes)),
        document=call.chunks[0].document_path,
        reason=_text(item, "reason") or None,
        source=source,
        written=True,
    )


def _text(item: dict[str, Any], key: str) -> str:
    """The string at a key on one line; numbers as their digits, any other value as an empty string."""
    value = item.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return fold_space(value) if isinstance(value, str) and _encodable(value) else ""


def _encodable(text: str) -> bool:
    """Whether it has no unpaired surrogate, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    """A value of any type as a short string that UTF-8 can encode."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:200].encode("utf-8", "replace").decode("utf-8")
