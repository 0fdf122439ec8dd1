"""A teacher's answer as questions, whatever it looks like: prose or fences around the JSON, commas too many, a cut end.

    text --find_items--> dicts --read_answer--> RawQuestion | Rejected

Whether a quote is verbatim, and which chunk holds it, is found later, for teachers as for people (grounding.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from data.prompting.prompts import ABSTENTION, fold_space, is_abstention
from data.questions.questions import RawQuestion, Rejected
from data.teacher.plan import TeacherCall
from data.teacher.settings import Kind

MAX_CHARACTERS = 100_000  # of an answer: far more than fifty questions take, and quick to search whatever it holds

_OBJECT = re.compile(r'\{\s*"')
# A comma before a closing bracket; the first branch takes whole texts, so that none inside them is touched.
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


def read_answer(call: TeacherCall, text: str) -> tuple[list[RawQuestion], list[Rejected]]:
    """The questions of one answer, and what cannot be used of it with the reason."""
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
    for place, item in enumerate(items):
        wanted: Kind | None = call.kinds[place] if place < len(call.kinds) else None
        label = f"{source}, {wanted or 'not asked for'}, question {place + 1}"
        try:
            questions.append(_question(item, wanted, call, label))
        except _Unusable as why:
            rejected.append(Rejected(_shown(item.get("question")), why.reason, why.detail, label))
    missing = len(call.kinds) - len(items)
    if missing > 0:
        rejected.append(Rejected("", "fewer questions than asked for", f"{missing} fewer", source))
    return questions, rejected


def find_items(text: str, key: str = "question") -> list[dict[str, Any]]:
    """Every JSON object in the text that has this key, in order; those that are cut off are left out."""
    found = list(_items(text, key))
    # Only where it finds more: in a text whose quotes do not pair, a comma may be one of its words.
    mended = list(_items(_TRAILING_COMMA.sub(lambda match: match[1] or "", text), key))
    return mended if len(mended) > len(found) else found


class _Unusable(Exception):
    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def _items(text: str, key: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder(strict=False)  # a line break inside a text is forgiven
    match = _OBJECT.search(text)
    while match:
        try:
            value, end = decoder.raw_decode(text, match.start())
        except (json.JSONDecodeError, RecursionError):
            end = match.end()  # the items inside of what is broken may be whole
        else:
            yield from _within(value, key)
        match = _OBJECT.search(text, end)


def _within(value: Any, key: str) -> Iterator[dict[str, Any]]:
    """The objects with the key in a value; a server that ignores the schema wraps them in names of its own."""
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
        raise _Unusable("more questions than asked for")
    question = _text(item, "question")
    if not question:
        raise _Unusable("no question", _shown(item.get("question")))
    if isinstance(item.get("answer"), list | dict):
        raise _Unusable("the answer is no text", _shown(item["answer"]))
    answer = _text(item, "answer")
    abstains = not answer or is_abstention(answer)
    unanswerable = item.get("kind", wanted) == "unanswerable"
    if abstains and (unanswerable or wanted == "unanswerable"):
        # The chunk as its quote ties the question to the chunk that does not answer it.
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
        raise _Unusable("no answer", _shown(item.get("answer")))
    if unanswerable:
        raise _Unusable("an answer to an unanswerable question", answer)
    quotes = item.get("quotes", item.get("quote"))
    quotes = [quotes] if isinstance(quotes, str) else quotes
    if not isinstance(quotes, list) or not all(isinstance(quote, str) and _encodable(quote) for quote in quotes):
        raise _Unusable("quotes are no list of texts", _shown(quotes))
    quotes = [quote for quote in quotes if quote.strip()]
    if not quotes:
        raise _Unusable("no quote")
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
    """The text of a key on one line; a number counts as its digits, anything else as nothing."""
    value = item.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return fold_space(value) if isinstance(value, str) and _encodable(value) else ""


def _encodable(text: str) -> bool:
    """Whether it holds no half of a surrogate pair, which no file can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    """A value of any type, short and fit for a file."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text[:200].encode("utf-8", "replace").decode("utf-8")
