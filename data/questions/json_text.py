"""JSON and JSON lines as people write them: numbers as they stand, each broken line named."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.documents.documents import decode_utf8
from data.questions.question_rows import Number
from user_error import UserError


def parse_json(text: str, where: str) -> Any:
    """The value of a JSON text; numbers with a point as `Number`, NaN and infinities (which pandas writes) as null.

    Raises:
        UserError: it is not JSON; names the location, and line and column in it.
    """
    try:
        return json.loads(text, parse_float=Number, parse_constant=lambda _: None)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if error.lineno > 1 else ""
        raise UserError(f"{where} is not JSON ({error.msg} at {line}column {error.colno}): correct it") from None
    except (ValueError, RecursionError):
        raise UserError(f"{where} is nested too deeply or holds a number that is too long: correct it") from None


def lines_of_file(path: Path) -> Iterator[tuple[int, str | UserError]]:
    """Number and text of each line that is not empty, or the reason why its bytes are no text.

    Raises:
        UserError: the file cannot be read, or is binary.
    """
    try:
        for number, line in enumerate(text_of_file(path).split("\n"), start=1):
            if line.strip():
                yield number, line
        return
    except UserError:
        raw = _bytes(path)
        if not raw or b"\0" in raw:
            raise
    for number, part in enumerate(raw.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        try:
            text = part.decode("utf-8")
        except UnicodeDecodeError as error:
            where, byte = f"{path} line {number}", f"{part[error.start]:#04x} at column {error.start + 1}"
            yield number, UserError(f"{where} is not UTF-8 text (byte {byte}): save it as UTF-8")
        else:
            if text.strip():
                yield number, text


def text_of_file(path: Path) -> str:
    """The text of a UTF-8 file, or of one in UTF-16 that says so.

    Raises:
        UserError: as `decode_utf8`.
    """
    return _utf16(path) or decode_utf8(path)


def _utf16(path: Path) -> str | None:
    raw = _bytes(path)
    if not raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    try:
        return raw.decode("utf-16")
    except UnicodeDecodeError:
        return None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
