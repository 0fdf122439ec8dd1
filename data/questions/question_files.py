"""Question files: JSON lines, Alpaca JSON and SQuAD JSON, read into `RawQuestion`s.

questions.jsonl   {"question", "answer", "quote"?, "document"?, "reason"?}; "quote" is a string or a list of them
alpaca.json       [{"instruction", "input"?, "output"}]
squad.json        {"data": [{"title", "paragraphs": [{"context", "qas": [...]}]}]}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.documents.documents import Document, decode_utf8, make_document
from data.questions.questions import RawQuestion
from data.text.sentences import sentence_spans
from user_error import UserError

_JSONL_KEYS = ("question", "answer", "quote", "document", "reason")
_ALPACA_KEYS = ("instruction", "input", "output")


def read_questions(path: Path) -> list[RawQuestion]:
    """Reads a question file; `.jsonl` is JSON lines, `.json` is Alpaca's list or SQuAD's object.

    Raises:
        UserError: the file is unreadable, broken, of another format or empty; names the file and the line or item.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        questions = list(_read_jsonl(path))
    elif path.suffix == ".json":
        content = _parse_json(decode_utf8(path), str(path))
        if isinstance(content, list):
            questions = [_alpaca_question(item, path, number) for number, item in enumerate(content, start=1)]
        else:
            questions = list(_squad_questions(content, path))
    else:
        raise UserError(f"Unsupported question file: {path}. Supported: .jsonl (JSON lines), .json (Alpaca or SQuAD)")
    if not questions:
        raise UserError(f"{path} holds no questions: give at least one")
    return questions


def squad_documents(path: Path) -> list[Document]:
    """The texts of a SQuAD file: one document for each title, its paragraphs joined by blank lines.

    Raises:
        UserError: the file is unreadable or not a SQuAD file; names the file and the item.
    """
    path = Path(path)
    paragraphs: dict[str, list[str]] = {}
    for title, paragraph, where in _squad_paragraphs(_parse_json(decode_utf8(path), str(path)), path):
        paragraphs.setdefault(title, []).append(_text(paragraph, "context", where))
    if not paragraphs:
        raise UserError(f"{path} holds no paragraphs: give a SQuAD file with texts")
    return [make_document(f"{title}.txt", "\n\n".join(texts), title) for title, texts in paragraphs.items()]


def _read_jsonl(path: Path) -> Iterator[RawQuestion]:
    for number, line in enumerate(decode_utf8(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        item = _parse_json(line, where)
        _check_object(item, _JSONL_KEYS, where)
        quotes = item.get("quote") or []
        quotes = [quotes] if isinstance(quotes, str) else quotes
        if not isinstance(quotes, list) or not all(isinstance(quote, str) and quote.strip() for quote in quotes):
            raise UserError(f'{where}: "quote" must be a string or a list of strings')
        for quote in quotes:
            _check_encodable(quote, "quote", where)
        yield RawQuestion(
            question=_text(item, "question", where),
            answer=_text(item, "answer", where),
            quotes=tuple(quotes),
            document=_optional_text(item, "document", where),
            reason=_optional_text(item, "reason", where),
            source=_source(where, path),
        )


def _alpaca_question(item: Any, path: Path, number: int) -> RawQuestion:
    where = f"{path} item {number}"
    _check_object(item, _ALPACA_KEYS, where)
    instruction, extra = _text(item, "instruction", where), _optional_text(item, "input", where)
    question = f"{instruction}\n{extra}" if extra else instruction
    return RawQuestion(question=question, answer=_text(item, "output", where), source=_source(where, path))


def _squad_questions(content: Any, path: Path) -> Iterator[RawQuestion]:
    for title, paragraph, where in _squad_paragraphs(content, path):
        context = _text(paragraph, "context", where)
        for item in _list(paragraph, "qas", where):
            answers = _list(item, "answers", where)
            answer = _text(answers[0], "text", where) if answers else ""  # none: SQuAD 2.0's impossible questions
            yield RawQuestion(
                question=_text(item, "question", where),
                answer=answer,
                quotes=_quote_around(context, answer, answers[0].get("answer_start")) if answers else (),
                document=title,
                source=_source(where, path),
            )


def _squad_paragraphs(content: Any, path: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(title, paragraph, location for messages) of each paragraph of a SQuAD file."""
    if not isinstance(content, dict) or "data" not in content:
        allowed = "a list of objects with instruction, input, output (Alpaca) or an object with data (SQuAD)"
        raise UserError(f"{path} is neither Alpaca nor SQuAD JSON: it must be {allowed}")
    for number, part in enumerate(_list(content, "data", str(path)), start=1):
        where = f"{path} data item {number}"
        title = _text(part, "title", where)
        for index, paragraph in enumerate(_list(part, "paragraphs", where), start=1):
            if not isinstance(paragraph, dict):
                raise UserError(f"{where} paragraph {index} must be an object")
            yield title, paragraph, f"{where} paragraph {index}"


def _quote_around(context: str, answer: str, answer_start: Any) -> tuple[str, ...]:
    """The sentences that overlap the answer, or none if the context lacks it; tolerates a wrong offset."""
    starts = [start for start in range(len(context)) if context.startswith(answer, start)]
    if not starts:
        return ()
    start = min(starts, key=lambda s: abs(s - answer_start)) if isinstance(answer_start, int) else starts[0]
    touched = [span for span in sentence_spans(context) if span[0] < start + len(answer) and start < span[1]]
    return (context[touched[0][0] : touched[-1][1]],) if touched else ()


def _source(where: str, path: Path) -> str:
    """The location without the directory, so that reports do not depend on where the file is."""
    return where.replace(str(path), path.name, 1)


def _parse_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if error.lineno > 1 else ""
        raise UserError(f"{where} is not JSON ({error.msg} at {line}column {error.colno}): correct it") from None
    except (ValueError, RecursionError):
        raise UserError(f"{where} is nested too deeply or holds a number that is too long: correct it") from None


def _check_object(item: Any, allowed: tuple[str, ...], where: str) -> None:
    if not isinstance(item, dict):
        raise UserError(f"{where} must be an object with the keys {', '.join(allowed)}")
    if unknown := [key for key in item if key not in allowed]:
        raise UserError(f"{where} has the unknown key {unknown[0]!r}: allowed are {', '.join(allowed)}")


def _list(item: Any, key: str, where: str) -> list[Any]:
    value = item.get(key) if isinstance(item, dict) else None
    if not isinstance(value, list):
        raise UserError(f'{where}: "{key}" must be a list')
    return value


def _text(item: Any, key: str, where: str) -> str:
    value = item.get(key) if isinstance(item, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise UserError(f'{where}: "{key}" must be a non-empty string')
    _check_encodable(value, key, where)
    return value


def _optional_text(item: dict[str, Any], key: str, where: str) -> str | None:
    value = item.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return _text(item, key, where)


def _check_encodable(value: str, key: str, where: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserError(f'{where}: "{key}" holds an unpaired surrogate: correct its \\u escape') from None
