"""Question files, read into `RawQuestion`s: JSON lines or a JSON list of rows, Parquet, a `datasets` folder, SQuAD.

The forms of a row are those of question_rows.py; SQuAD's are in squad.py. Keys that mean nothing here are kept beside
the question. A line that cannot be read is left out and named, unless `strict`.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from data.documents.documents import Document
from data.documents.readers.rows import is_dataset
from data.questions.json_text import lines_of_file, parse_json, text_of_file
from data.questions.question_rows import FIELDS, is_squad_row, read_row
from data.questions.questions import RawQuestion, Rejected
from data.questions.squad import Parts, documents_of, flat_question, is_nested, nested_questions
from user_error import UserError

UNREADABLE = "unreadable line"
_JSON_LINES = (".jsonl", ".ndjson")
_KINDS = ".jsonl (JSON lines), .json (a list of rows, Alpaca or SQuAD), .parquet, or a folder of the library datasets"
_SHOWN = 5  # bad lines in a message; the artifact lists all
_ALWAYS_THERE = ("id", "_id")  # not worth a word


class QuestionFileSettings(BaseModel):
    """How the file of questions is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: Mapping[str, str] = Field(
        default={},
        description="Other names of the fields of a question, as NAME=FIELD pairs: prompt=question,completion=answer. "
        f"Fields: {', '.join(FIELDS[:6])}.",
    )
    strict: bool = Field(default=False, description="Fail if a line of the file cannot be read.")

    @field_validator("fields", mode="before")
    @classmethod
    def _fields_from_pairs(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [pair for pair in value.split(",") if pair.strip()]
        if isinstance(value, list | tuple):
            pairs = [str(pair).partition("=") for pair in value]
            if not all(name.strip() and field.strip() for name, _, field in pairs):
                raise UserError("write pairs of NAME=FIELD, such as prompt=question,completion=answer")
            value = {name.strip(): field.strip() for name, _, field in pairs}
        return value

    @field_validator("fields")
    @classmethod
    def _fields_are_known(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name, field in value.items():
            if field not in FIELDS:
                turned = f" (is {field}={name} meant?)" if name in FIELDS else ""
                allowed = ", ".join(FIELDS)
                raise UserError(
                    f"{field!r} is no field of a question{turned}: write NAME=FIELD, FIELD one of {allowed}"
                )
        if doubled := [field for field, number in Counter(value.values()).items() if number > 1]:
            raise UserError(f"{doubled[0]!r} is given several names: give one")
        return value


@dataclass(frozen=True, slots=True)
class QuestionFile:
    """What a question file holds.

    Attributes:
        unreadable: lines that cannot be read, each with its location and reason.
        kept_keys: keys that mean nothing here -> number of questions that have them beside them.
    """

    questions: tuple[RawQuestion, ...]
    unreadable: tuple[Rejected, ...]
    kept_keys: Mapping[str, int]

    def remarks(self) -> list[str]:
        """What a person should know about the keys that are kept, in sentences."""
        keys = {key: number for key, number in self.kept_keys.items() if key not in _ALWAYS_THERE}
        if not keys:
            return []
        said = ", ".join(f"{key} ({number})" for key, number in keys.items())
        near = {key: difflib.get_close_matches(key.lower(), FIELDS, 1, cutoff=0.86) for key in keys}
        return [
            f"keys that are kept beside the questions and not used: {said}",
            *(
                f"is the key {key!r} meant as {close[0]!r}? set questions.fields={key}={close[0]}"
                for key, close in near.items()
                if close
            ),
        ]


def read_question_file(path: Path, settings: QuestionFileSettings | None = None) -> QuestionFile:
    """Reads a question file.

    Raises:
        UserError: the file cannot be read, is of another kind, or has no question that can be read; or with `strict` a
            line cannot be read. Names the file, the first lines and their reasons.
    """
    settings = settings or QuestionFileSettings()
    path = Path(path)
    questions: list[RawQuestion] = []
    errors: list[tuple[UserError, str]] = []
    for item, where in _items(path, settings):
        if isinstance(item, UserError):
            errors.append((item, where))
        else:
            questions.append(item)
    if errors and (settings.strict or not questions):
        more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        what = "; ".join(str(error) for error, _ in errors[:_SHOWN])
        hint = ". Correct them, or unset questions.strict to leave them out" if questions and len(errors) > 1 else ""
        raise UserError(f"{what}{more}{hint}")
    if not questions:
        raise UserError(f"{path} holds no questions: give at least one")
    unreadable = [
        Rejected("", UNREADABLE, str(error).removeprefix(where).lstrip(": "), where.replace(str(path), path.name, 1))
        for error, where in errors
    ]
    kept = Counter(key for raw in questions for key in raw.extra)
    return QuestionFile(tuple(questions), tuple(unreadable), dict(kept.most_common()))


def read_questions(path: Path) -> list[RawQuestion]:
    """The questions of a file whose lines can all be read.

    Raises:
        UserError: as `read_question_file` with `strict`.
    """
    return list(read_question_file(path, QuestionFileSettings(strict=True)).questions)


def is_squad(path: Path, text_column: str = "text") -> bool:
    """Whether a file or folder holds texts in SQuAD's form: nested, or flat rows without the column of texts.

    Raises:
        UserError: a `.json` file cannot be read or is not JSON.
    """
    if path.is_file() and path.suffix.lower() == ".json":
        content = _json(path)
        return is_nested(content) or (isinstance(content, list) and bool(content) and is_squad_row(content[0]))
    if not (path.is_file() and path.suffix.lower() in (*_JSON_LINES, ".parquet")) and not is_dataset(path):
        return False
    try:
        row, _ = next(_rows(path), (None, ""))
    except UserError:
        return False
    return row is not None and is_squad_row(row) and text_column not in row


def squad_documents(path: Path) -> list[Document]:
    """The texts of a SQuAD file, as `documents_of` (squad.py).

    Raises:
        UserError: the file is unreadable or not a SQuAD file; names the file and the item.
    """
    path = Path(path)
    if path.suffix.lower() == ".json" and not isinstance(content := _json(path), list):
        return documents_of(content, None, path)
    return documents_of(None, ((row, where) for row, where in _rows(path) if not isinstance(row, UserError)), path)


def _items(path: Path, settings: QuestionFileSettings) -> Iterator[tuple[RawQuestion | UserError, str]]:
    """Each question, or the reason why it cannot be read, with its location."""
    if path.is_file() and path.suffix.lower() == ".json" and is_nested(content := _json(path)):
        yield from nested_questions(content, path)
        return
    parts = Parts(path)
    for row, where in _rows(path):
        if isinstance(row, UserError):
            yield row, where
            continue
        source = where.replace(str(path), path.name, 1)
        try:
            row = _renamed(row, settings.fields)
            if is_squad_row(row):
                yield flat_question(row, parts, where, source), where
            else:
                yield read_row(row, where, source), where
        except UserError as error:
            yield error, where


def _renamed(row: Any, fields: Mapping[str, str]) -> Any:
    """The row with its fields under their own names; another key of such a name is kept under one of its own."""
    if not isinstance(row, dict) or not any(name in row for name in fields):
        return row
    taken = {field for name, field in fields.items() if name in row}
    rest = {f"other {key}" if key in taken else key: value for key, value in row.items() if key not in fields}
    return rest | {field: row[name] for name, field in fields.items() if name in row}


def _rows(path: Path) -> Iterator[tuple[Any, str]]:
    """Each row with its location for messages; for a line that is not JSON, the error."""
    if path.is_dir():
        yield from ((row, f"{path} row {number}") for number, row in enumerate(_dataset(path), start=1))
    elif path.suffix.lower() == ".parquet":
        yield from ((row, f"{path} row {number}") for number, row in enumerate(_parquet(path), start=1))
    elif path.suffix.lower() in _JSON_LINES:
        yield from _json_lines(path)
    elif path.suffix.lower() == ".json":
        content = _json(path)
        if isinstance(content, dict) and isinstance(content.get("data"), list):
            content = content["data"]
        if not isinstance(content, list):
            allowed = "a list of objects (question and answer, Alpaca, or rows of SQuAD) or an object with data (SQuAD)"
            raise UserError(f"{path} is neither Alpaca nor SQuAD JSON: it must be {allowed}")
        yield from ((row, f"{path} item {number}") for number, row in enumerate(content, start=1))
    else:
        raise UserError(f"Unsupported question file: {path}. Supported: {_KINDS}")


def _json_lines(path: Path) -> Iterator[tuple[Any, str]]:
    for number, line in lines_of_file(path):
        where = f"{path} line {number}"
        try:
            yield (line if isinstance(line, UserError) else parse_json(line, where)), where
        except UserError as error:
            yield error, where


def _json(path: Path) -> Any:
    """The content of a `.json` file; JSON lines with that suffix as a list."""
    text = text_of_file(path)
    try:
        return parse_json(text, str(path))
    except UserError:
        lines = [line for line in text.split("\n") if line.strip()]
        try:
            rows = [parse_json(line, "") for line in lines]
        except UserError:
            rows = []
        if len(rows) < 2 or not all(isinstance(row, dict) for row in rows):
            raise
        return rows


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=1024):
            yield from map(_json_like, batch.to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}): write it again") from None


def _dataset(path: Path) -> Iterator[dict[str, Any]]:
    import datasets

    if not is_dataset(path):
        raise UserError(f"Unsupported question file: {path}. Supported: {_KINDS}")
    try:
        data = datasets.load_from_disk(str(path))
    except Exception as error:  # of the library
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} cannot be loaded as a data set ({first}): write it again") from None
    if isinstance(data, Mapping):
        if len(data) != 1:
            raise UserError(
                f"{path} has the splits {', '.join(data)}: give the folder of one, such as {path}/{next(iter(data))}"
            )
        data = next(iter(data.values()))
    yield from map(_json_like, data)


def _json_like(row: Any) -> dict[str, Any]:
    """A row of Parquet as JSON would give it: times and decimals as text, bytes left out."""
    return {key: _value(value) for key, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    if isinstance(value, float) and value != value:
        return None
    return value if value is None or isinstance(value, str | bool | int | float) else str(value)
