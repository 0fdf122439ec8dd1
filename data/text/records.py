"""Records: the groups of "key: value" lines in a paragraph, and the entries of a log.

An API card, a form, a settings file or an exported row holds one field a line; a log holds one entry a line, which may
go on over further lines. A part from the middle of a record does not say what its fields are about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from data.text.lines import is_stamped, key_of

RecordKind = Literal["fields", "log"]

_FRONT_MATTER = "---"
_NAMING = frozenset(
    ("name", "title", "id", "identifier", "titel", "nom", "titre", "nombre", "título", "titolo", "nome", "naam", "navn")
)


@dataclass(frozen=True, slots=True)
class Record:
    """Consecutive lines about one thing: those from `start` to `end`, offsets in characters.

    Attributes:
        key: of its first field; empty for an entry of a log.
    """

    start: int
    end: int
    key: str = ""


def names_something(key: str) -> bool:
    """Whether a field with this key names what the record is about: a name, a title or an identifier."""
    return not _NAMING.isdisjoint(re.split(r"[\W_]+", key))


def record_kind(paragraph: str) -> RecordKind | None:
    """What a paragraph consists of.

    Returns:
        "fields": two fields or more, on at least half of the lines, indented ones aside; "log": two entries or more,
        the first line being one; None: something else.
    """
    lines = [line for line in paragraph.split("\n") if line.strip()]
    if lines and lines[0].rstrip() == _FRONT_MATTER:
        lines = [line for line in lines if line.rstrip() != _FRONT_MATTER]
    if len(lines) < 2:
        return None
    if is_stamped(lines[0]):
        return "log" if any(map(is_stamped, lines[1:])) else None
    if not key_of(lines[0]):
        return None
    indent = _indent(lines[0])
    outer = [line for line in lines if _indent(line) <= indent]
    fields = sum(1 for line in outer if key_of(line))
    return "fields" if fields >= 2 and 2 * fields >= len(outer) else None


def records_of(paragraph: str, kind: RecordKind) -> list[Record]:
    """The records of a paragraph, in order: each begins with the key of the first one, or is an entry of a log."""
    starts: list[int] = []
    first, indent, offset = "", 0, 0
    for line in paragraph.split("\n"):
        if kind == "log":
            begins = is_stamped(line)
        elif first:
            begins = _indent(line) == indent and key_of(line) == first
        else:
            first, indent = key_of(line), _indent(line)
            begins = bool(first)
        if begins:
            starts.append(offset)
        offset += len(line) + 1
    starts = [0, *starts[1:]]
    ends = [*(start - 1 for start in starts[1:]), len(paragraph)]
    return [Record(start, end, first) for start, end in zip(starts, ends, strict=True)]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
