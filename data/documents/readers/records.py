"""Records as text: rows of cells, and objects of JSON, as a line of "head: value" for each field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from data.documents.readers.extracted import Unreadable

#: The remark about a file whose rows are read so.
RECORDS = 'there is no text column, so each row is read as lines of "head: value"; documents.text_column names another'


def record_text(cells: Iterable[tuple[str, str]]) -> str:
    """A line for each cell that is not empty: "head: value", or the value alone below an empty head."""
    lines = []
    for head, cell in cells:
        value, name = " ".join(cell.split()), " ".join(head.split())
        if value:
            lines.append(f"{name}: {value}" if name else value)
    return "\n".join(lines)


def json_text(value: Any, most: int) -> str:
    """The fields of a value of JSON, one a line; names of nested ones are joined by dots, items of lists set apart.

    Raises:
        Unreadable: the text is longer than `most` characters.
    """
    lines: list[str] = []
    length = 0
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:  # not by recursion: a file may be nested as deep as its parser allows
        name, item = waiting.pop()
        line = None
        if isinstance(item, Mapping):
            waiting += reversed([(f"{name}.{key}" if name else str(key), each) for key, each in item.items()])
        elif isinstance(item, list) and any(isinstance(each, Mapping | list) for each in item):
            for each in reversed(item):
                waiting += [(name, each), ("", _GAP)] if isinstance(each, Mapping | list) else [(name, each)]
        elif isinstance(item, list) and not name:
            waiting += reversed([("", each) for each in item])
        elif item is _GAP:
            line = "" if lines and lines[-1] else None
        else:
            words = [_scalar(each) for each in (item if isinstance(item, list) else [item])]
            shown = ", ".join(word for word in words if word)
            line = (f"{name}: {shown}" if name else shown) if shown else None
        if line is not None:
            lines.append(line)
            length += len(line) + 1
        if length > most:
            raise Unreadable(f"its fields are longer than documents.max_document_characters={most:,}: raise it")
    return "\n".join(lines).strip("\n")


_GAP = object()


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(str(value).split()) if isinstance(value, str | int | Decimal | float) else ""
