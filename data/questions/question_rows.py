"""One row of a question file as a question, in the forms that are common.

question and answer   {"question", "answer", "quote"?, "document"?, "reason"?}
several right answers {"question", "answers": ["...", ...]}
Alpaca                {"instruction", "input"?, "output"}
chat, one turn        {"messages": [{"role", "content"}, ...]}; also ShareGPT's {"conversations": [{"from", "value"}]}
SQuAD, flat           {"context", "question", "answers": {"text": [...], "answer_start": [...]}, "title"?}
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from data.prompting.prompts import ABSTENTION
from data.questions.questions import RawQuestion
from data.text.sentences import sentence_spans
from data.text.support import split_words
from user_error import UserError

#: Names that mean something in a row; other names are kept beside the question.
FIELDS = (
    "question",
    "answer",
    "answers",
    "quote",
    "document",
    "reason",
    "instruction",
    "input",
    "output",
    "messages",
    "conversations",
    "title",
    "context",
    "is_impossible",
)
_TEXTS = ("question", "answer", "quote", "document", "reason")
# What others call a question and its answer, to suggest `questions.fields`.
_LIKE_QUESTION = ("prompt", "query", "user", "problem", "q", "input", "ask", "text")
_LIKE_ANSWER = ("completion", "response", "output", "assistant", "target", "chosen", "solution", "a", "label", "gold")
_ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "model": "assistant"}


class Number(str):
    """A JSON number as it is written: an answer of 3.50 stays "3.50"."""


class Gold(NamedTuple):
    """A right answer, and where it begins in its context, if that is known."""

    text: str
    start: int | None = None


def read_row(row: Any, where: str, source: str) -> RawQuestion:
    """The question of a row.

    Args:
        where: the location for messages.
        source: the location for reports.

    Raises:
        UserError: something is missing or of another kind; names the location, the key and what is allowed.
    """
    if not isinstance(row, dict):
        raise UserError(f"{where} must be an object with the keys {', '.join(_TEXTS)}")
    if "messages" in row or "conversations" in row:
        return _chat(row, where, source)
    if is_squad_row(row):
        return _squad(row, where, source)
    if "instruction" in row and "question" not in row:
        instruction, more = text_of(row, "instruction", where), optional_text(row, "input", where)
        question = f"{instruction}\n{more}" if more else instruction
        return _question(
            row, question, golds_of(row, ("output",), where), ("instruction", "input", "output"), where, source
        )
    if "question" not in row and not any(key in row for key in ("answer", "answers")):
        raise UserError(f"{where}: {_no_question(row)}")
    question = text_of(row, "question", where)
    used = ("question", "answer", "answers")
    return _question(row, question, golds_of(row, ("answer", "answers"), where), used, where, source)


def is_squad_row(row: Any) -> bool:
    """Whether a row has a context and answers in SQuAD's form."""
    if not isinstance(row, dict) or not isinstance(row.get("context"), str) or "question" not in row:
        return False
    answers = row.get("answers")
    if isinstance(answers, list):
        return bool(row.get("is_impossible")) or (
            bool(answers) and all(isinstance(item, dict) and "text" in item for item in answers)
        )
    return isinstance(answers, dict) and "text" in answers


def _squad(row: dict[str, Any], where: str, source: str) -> RawQuestion:
    golds = [] if row.get("is_impossible") is True else golds_of(row, ("answers",), where, may_be_empty=True)
    raw = squad_question(text_of(row, "question", where), golds, row["context"], row.get("plausible_answers"))
    document = optional_text(row, "document", where) or optional_text(row, "title", where)
    used = ("question", "answers", "context", "title", "document", "is_impossible", "plausible_answers")
    return replace(raw, document=document, source=source, extra=extra_of(row, used, where))


def squad_question(question: str, golds: Sequence[Gold], context: str, plausible: Any = None) -> RawQuestion:
    """A question over a paragraph: its answers, the most frequent first, quoted from the paragraph.

    Without an answer it is unanswerable. Its quote then ties it to the paragraph: the sentence of a plausible answer
    (SQuAD 2.0), or else the one that shares most words with the question. A plausible answer is never an answer.
    """
    if golds:
        counts = Counter(gold.text for gold in golds)
        order = sorted(dict.fromkeys(gold.text for gold in golds), key=lambda text: -counts[text])
        first = next(gold for gold in golds if gold.text == order[0])
        quotes = quote_around(context, first)
        return RawQuestion(question, order[0], quotes, other_answers=tuple(order[1:]))
    near = [gold for gold in _golds(plausible) or [] if gold.text in context]
    quotes = quote_around(context, near[0]) if near else nearest_sentence(context, question)
    return RawQuestion(question, ABSTENTION, quotes)


def quote_around(context: str, gold: Gold) -> tuple[str, ...]:
    """The sentences that overlap the answer, or none if the context lacks it; tolerates a wrong offset."""
    starts = [match.start() for match in re.finditer(re.escape(gold.text), context)]
    if not starts:
        return ()
    start = starts[0] if gold.start is None else min(starts, key=lambda at: abs(at - (gold.start or 0)))
    touched = [span for span in sentence_spans(context) if span[0] < start + len(gold.text) and start < span[1]]
    return (context[touched[0][0] : touched[-1][1]],) if touched else ()


def nearest_sentence(context: str, question: str) -> tuple[str, ...]:
    """The sentence that shares most words with the question, of equals the first; none if the context is empty."""
    wanted = set(split_words(question))
    sentences = [context[start:end] for start, end in sentence_spans(context)]
    return (max(sentences, key=lambda text: len(wanted & set(split_words(text)))),) if sentences else ()


def _chat(row: dict[str, Any], where: str, source: str) -> RawQuestion:
    key = "messages" if "messages" in row else "conversations"
    turns: dict[str, list[str]] = {"user": [], "assistant": [], "system": []}
    for message in list_of(row, key, where):
        if not isinstance(message, dict):
            raise UserError(f'{where}: "{key}" must be a list of objects with role and content')
        role = str(message.get("role", message.get("from", ""))).lower()
        content = message.get("content", message.get("value"))
        if isinstance(content, list):  # parts, as multimodal chats have them
            content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
        turns.setdefault(_ROLES.get(role, role), []).append(content if isinstance(content, str) else "")
    if len(turns["user"]) != 1 or len(turns["assistant"]) != 1:
        raise UserError(
            f'{where}: "{key}" has {len(turns["user"])} turns of the user and {len(turns["assistant"])} of the '
            "assistant: give one question and its answer"
        )
    said = {"question": turns["user"][0], "answer": turns["assistant"][0]}
    question, golds = text_of(said, "question", where), golds_of(said, ("answer",), where)
    system = " ".join(turns["system"])
    rest = {"system": system, **row} if system else row
    return _question(rest, question, golds, (key,), where, source)


def _question(
    row: dict[str, Any], question: str, golds: Sequence[Gold], used: Sequence[str], where: str, source: str
) -> RawQuestion:
    texts = list(dict.fromkeys(gold.text for gold in golds))
    return RawQuestion(
        question=question,
        answer=texts[0],
        quotes=_quotes(row, where),
        document=optional_text(row, "document", where),
        reason=optional_text(row, "reason", where),
        source=source,
        other_answers=tuple(texts[1:]),
        extra=extra_of(row, (*used, "quote", "document", "reason"), where),
    )


def golds_of(row: Any, keys: Sequence[str], where: str, *, may_be_empty: bool = False) -> list[Gold]:
    """The right answers of the first of these keys that the row has, at least one unless they may be none.

    Raises:
        UserError: there is none, or it is no text, number or truth value.
    """
    key = next((key for key in keys if key in row), keys[0])
    golds = _golds(row.get(key))
    if golds is None or not (golds or may_be_empty):
        raise UserError(f'{where}: "{key}" must be a non-empty string{_instead(row)}')
    for gold in golds:
        check_encodable(gold.text, key, where)
    return golds


def _golds(value: Any) -> list[Gold] | None:
    """The answers in any of the forms that files have; None if it is none of them."""
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
        texts = texts if isinstance(texts, list) else [texts]
        starts = starts if isinstance(starts, list) and len(starts) == len(texts) else [None] * len(texts)
        value = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    items = value if isinstance(value, list) else [value]
    golds = []
    for item in items:
        text, start = (item.get("text"), item.get("answer_start")) if isinstance(item, dict) else (item, None)
        if (answer := answer_text(text)) is None:
            return None
        if answer.strip():
            golds.append(Gold(answer, start if type(start) is int else None))
        elif not isinstance(value, list):
            return None
    return golds


def answer_text(value: Any) -> str | None:
    """The text of an answer; numbers as they are written, truth values as JSON writes them; None for other values.

    `true` stays "true", since no one but the documents knows whether they say "yes", "ja" or "true".
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    return str(value) if isinstance(value, int | float) else None


def _quotes(row: dict[str, Any], where: str) -> tuple[str, ...]:
    quotes = row.get("quote") or []
    quotes = [quotes] if isinstance(quotes, str) else quotes
    if not isinstance(quotes, list) or not all(is_text(quote) for quote in quotes):
        raise UserError(f'{where}: "quote" must be a string or a list of strings')
    for quote in quotes:
        check_encodable(quote, "quote", where)
    return tuple(quotes)


def extra_of(row: Mapping[str, Any], used: Sequence[str], where: str) -> dict[str, Any]:
    """The keys of a row that are not used, as plain JSON.

    Raises:
        UserError: a text cannot be written as UTF-8.
    """
    extra = {key: _plain(value) for key, value in row.items() if key not in used}
    try:
        json.dumps(extra, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UserError(f"{where} holds an unpaired surrogate: correct its \\u escape") from None
    return extra


def _plain(value: Any) -> Any:
    """The value with its numbers as numbers again."""
    if isinstance(value, Number):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _no_question(row: Mapping[str, Any]) -> str:
    """What a row without a question has instead, and how to name it."""
    question = next((key for key in _LIKE_QUESTION if key in row), None)
    answer = next((key for key in _LIKE_ANSWER if key in row and key != question), None)
    names = f"{question or 'NAME'}=question,{answer or 'NAME'}=answer"
    return (
        f"no question and answer among the keys {_some(row)}: say which are meant, for example with "
        f"--set questions.fields={names}"
    )


def _instead(row: Mapping[str, Any]) -> str:
    """A hint at a key that may be the answer."""
    other = next((key for key in _LIKE_ANSWER if key in row and key != "output"), None)
    return f" (is {other!r} meant? --set questions.fields={other}=answer)" if other else ""


def _some(row: Mapping[str, Any]) -> str:
    names = [repr(str(name)[:40]) for name in list(row)[:12]]
    return ", ".join(names) + (f" and {len(row) - 12} more" if len(row) > 12 else "") if names else "(none)"


def list_of(item: Any, key: str, where: str) -> list[Any]:
    """The list at a key.

    Raises:
        UserError: there is none.
    """
    value = item.get(key) if isinstance(item, dict) else None
    if not isinstance(value, list):
        raise UserError(f'{where}: "{key}" must be a list')
    return value


def is_text(value: Any) -> bool:
    """Whether a value is a string with something in it."""
    return isinstance(value, str) and not isinstance(value, Number) and bool(value.strip())


def text_of(item: Any, key: str, where: str) -> str:
    """The text at a key.

    Raises:
        UserError: it is missing, empty or not a string.
    """
    value = item.get(key) if isinstance(item, dict) else None
    if not is_text(value):
        raise UserError(f'{where}: "{key}" must be a non-empty string')
    assert isinstance(value, str)
    check_encodable(value, key, where)
    return value


def optional_text(item: dict[str, Any], key: str, where: str) -> str | None:
    """The text at a key, or None if it is missing, null or empty."""
    value = item.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return text_of(item, key, where)


def check_encodable(value: str, key: str, where: str) -> None:
    """Checks that a text can be written as UTF-8.

    Raises:
        UserError: it cannot.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserError(f'{where}: "{key}" holds an unpaired surrogate: correct its \\u escape') from None
