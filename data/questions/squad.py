"""SQuAD files: questions over paragraphs, and the paragraphs as documents.

nested   {"data": [{"title"?, "paragraphs": [{"context", "qas": [...]}]}]}, as the SQuAD, XQuAD and MLQA sites give it
flat     a row for each question ({"context", "question", "answers", "title"?}), as Hugging Face gives it: a JSON list,
         JSON lines, Parquet, or a folder of the library `datasets`

A part without a title is named by file and number ("squad.json#3.txt"); of flat rows each context is then a part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.documents.documents import Document, make_document
from data.questions.document_names import DocumentNames
from data.questions.question_rows import (
    extra_of,
    golds_of,
    is_squad_row,
    list_of,
    optional_text,
    read_row,
    squad_question,
    text_of,
)
from data.questions.questions import RawQuestion
from user_error import UserError

_PART = re.compile(r"#\d+\.txt$")
_READ = ("question", "answers", "is_impossible", "plausible_answers")


class Parts:
    """Names of the parts without a title: by number, equal contexts alike."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._numbers: dict[str, int] = {}

    def name(self, key: str) -> str:
        """The name of the part with this key (its context, or its place in the file)."""
        return f"{self._name}#{self._numbers.setdefault(key, len(self._numbers) + 1)}.txt"


def is_nested(content: Any) -> bool:
    """Whether a JSON value is a nested SQuAD file: an object whose data are parts with paragraphs."""
    data = content.get("data") if isinstance(content, dict) else None
    return isinstance(data, list) and all(not isinstance(part, dict) or "question" not in part for part in data)


def nested_questions(content: Any, path: Path) -> Iterator[tuple[RawQuestion | UserError, str]]:
    """The questions of a nested file, or errors of those that cannot be read, each with its location.

    Raises:
        UserError: a part or a paragraph is broken.
    """
    for title, paragraph, where in _paragraphs(content, path):
        context = text_of(paragraph, "context", where)
        for item in list_of(paragraph, "qas", where):
            try:
                impossible = isinstance(item, dict) and item.get("is_impossible") is True
                golds = [] if impossible else golds_of(item, ("answers",), where, may_be_empty=True)
                raw = squad_question(text_of(item, "question", where), golds, context, item.get("plausible_answers"))
                source = where.replace(str(path), path.name, 1)
                yield replace(raw, document=title, source=source, extra=extra_of(item, _READ, where)), where
            except UserError as error:
                yield error, where


def flat_question(row: dict[str, Any], parts: Parts, where: str, source: str) -> RawQuestion:
    """The question of a flat row, which names its part.

    Raises:
        UserError: as `read_row`.
    """
    raw = read_row(row, where, source)
    return raw if raw.document else replace(raw, document=parts.name(row["context"]))


def documents_of(content: Any, rows: Iterator[tuple[Any, str]] | None, path: Path) -> list[Document]:
    """The texts of a file: one document for each title or part, its paragraphs joined by blank lines, each once.

    Args:
        content: of a nested file.
        rows: of a flat file, with their locations; None for a nested one.

    Raises:
        UserError: the file is broken or holds no paragraph; names the item.
    """
    paragraphs: dict[str, dict[str, None]] = {}
    titles: dict[str, str] = {}
    parts = Parts(path)
    if rows is None:
        for name, paragraph, where in _paragraphs(content, path):
            paragraphs.setdefault(name, {})[text_of(paragraph, "context", where)] = None
    else:
        for row, where in rows:
            if not is_squad_row(row):
                raise UserError(f"{where} must have context, question and answers, as the rows before it")
            context = text_of(row, "context", where)
            name = optional_text(row, "document", where) or optional_text(row, "title", where) or parts.name(context)
            paragraphs.setdefault(name, {})[context] = None
    if not paragraphs:
        raise UserError(f"{path} holds no paragraphs: give a SQuAD file with texts")
    for name in paragraphs:
        titles[name] = name.removesuffix(".txt") if _PART.search(name) else name
    return [
        make_document(name if _PART.search(name) else f"{name}.txt", "\n\n".join(texts), titles[name])
        for name, texts in paragraphs.items()
    ]


def named_or_quoted(questions: Sequence[RawQuestion], documents: Sequence[Document]) -> list[RawQuestion]:
    """The questions, without the names of parts of a file that is not the corpus: their quotes then say where they are.

    A part without a title has no name that documents from elsewhere could have.
    """
    names = DocumentNames(documents)
    return [
        replace(raw, document=None)
        if raw.document and raw.quotes and _PART.search(raw.document) and not names.find(raw.document)
        else raw
        for raw in questions
    ]


def _paragraphs(content: Any, path: Path) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(name of its part, paragraph, location for messages) of each paragraph of a nested file."""
    if not isinstance(content, dict) or "data" not in content:
        allowed = "a list of objects (question and answer, Alpaca, or rows of SQuAD) or an object with data (SQuAD)"
        raise UserError(f"{path} is neither Alpaca nor SQuAD JSON: it must be {allowed}")
    parts = Parts(path)
    for number, part in enumerate(list_of(content, "data", str(path)), start=1):
        where = f"{path} data item {number}"
        title = (optional_text(part, "title", where) if isinstance(part, dict) else None) or parts.name(str(number))
        for index, paragraph in enumerate(list_of(part, "paragraphs", where), start=1):
            if not isinstance(paragraph, dict):
                raise UserError(f"{where} paragraph {index} must be an object")
            yield title, paragraph, f"{where} paragraph {index}"
