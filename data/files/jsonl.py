"""JSON lines of flat dataclasses, the same bytes for the same data."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from user_error import UserError

T = TypeVar("T")


def write_jsonl(path: Path, items: Iterable[Any]) -> None:
    """Writes one dataclass per line: sorted keys, UTF-8, line feeds."""
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(map(_line, items))


def to_jsonl(items: Iterable[Any]) -> bytes:
    """The bytes that `write_jsonl` writes."""
    return "".join(map(_line, items)).encode()


def _line(item: Any) -> str:
    # Not asdict of the item, which copies every value.
    flat = {field.name: getattr(item, field.name) for field in fields(item)}
    return json.dumps(flat, sort_keys=True, ensure_ascii=False, default=asdict) + "\n"


def read_jsonl(path: Path, kind: type[T]) -> list[T]:
    """Reads what `write_jsonl` wrote; JSON arrays become tuples.

    Raises:
        UserError: the file is missing or a line is not a `kind`; names the file and the line.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): rebuild it") from None
    return parse_jsonl(raw, kind, str(path))


def parse_jsonl(raw: bytes, kind: type[T], path: str) -> list[T]:
    """The items of a file's content, as `read_jsonl` returns them.

    Raises:
        UserError: a line is not a `kind`; names the path and the line.
    """
    items = []
    # Not str.splitlines, which also splits at U+2028 and other characters inside texts.
    for number, line in enumerate(raw.removesuffix(b"\n").split(b"\n") if raw else [], start=1):
        try:
            read = json.loads(line)
            items.append(kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in read.items()}))
        except (ValueError, TypeError, AttributeError):
            raise UserError(f"{path} line {number} is not a {kind.__name__}: rebuild the file") from None
    return items
