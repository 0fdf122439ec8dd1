"""Lines that stand for themselves: the "key: value" lines of records, and the entries of logs.

An API card, a form, a settings file or an exported row holds one field a line; a log holds one entry a line, which may
go on over further lines. A part from the middle of a record does not say what its fields are about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

RecordKind = Literal["fields", "log"]

_MOST_KEY = 48  # characters
_MOST_WORDS = 6  # of a key
_SEPARATOR = re.compile(r"[:=：]")
_QUOTES = "\"'`*_"
_PUNCTUATION = re.compile(r"[.?!;,]\s|[\"<>{}]")  # in no key
_LIST_MARK = re.compile(r"[ \t]*[-*+•][ \t]+")
_FRONT_MATTER = "---"
_ENTRY = re.compile(
    r"[ \t]*[\[(<]?(?:"
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}\b|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}[,T ]|\d{1,2}:\d{2}:\d{2}\b"
    r"|(?:[A-Z][a-z]{2},? ){1,2} ?\d{1,2} \d{2}:\d{2}|\d{1,3}(?:\.\d{1,3}){3} \S{1,40} \S{1,40} \["
    r"|(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL)\b)"
)
_NAMING = frozenset(
    ("name", "title", "id", "identifier", "titel", "nom", "titre", "nombre", "título", "titolo", "nome", "naam", "navn")
)


@dataclass(frozen=True, slots=True)
class Record:
    """Consecutive lines about one thing: those from `start` to `end`, offsets in characters.

    Attributes:
        key: of its first field, lower-cased; empty for an entry of a log.
    """

    start: int
    end: int
    key: str = ""


def field_key(line: str) -> str:
    """The key of a "key: value", "key = value" or "key：value" line, lower-cased and without quotation marks; or "".

    The value may be empty, as above nested lines. A key begins with a letter, has at most six words and no punctuation
    of sentences.
    """
    mark = _LIST_MARK.match(line)
    head = line[mark.end() : mark.end() + _MOST_KEY] if mark else line.lstrip()[:_MOST_KEY]
    at = _SEPARATOR.search(head)
    if at is None:
        return ""
    key = head[: at.start()].strip(_QUOTES + " \t")
    if not key[:1].isalpha() or len(key.split()) > _MOST_WORDS or _PUNCTUATION.search(key):
        return ""
    after = head[at.end() : at.end() + 1]
    ends_key = {":": not after or after.isspace() or after in _QUOTES, "=": after not in ("=", ">"), "：": True}[at[0]]
    return key.casefold() if ends_key else ""


def names_something(key: str) -> bool:
    """Whether a field with this key names what the record is about: a name, a title or an identifier."""
    return not _NAMING.isdisjoint(re.split(r"[\W_]+", key))


def starts_entry(line: str) -> bool:
    """Whether a line begins an entry of a log: with a date, a time, a level, or an address and a date."""
    return _ENTRY.match(line) is not None


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
    if starts_entry(lines[0]):
        return "log" if any(map(starts_entry, lines[1:])) else None
    if not field_key(lines[0]):
        return None
    indent = _indent(lines[0])
    outer = [line for line in lines if _indent(line) <= indent]
    fields = sum(1 for line in outer if field_key(line))
    return "fields" if fields >= 2 and 2 * fields >= len(outer) else None


def records_of(paragraph: str, kind: RecordKind) -> list[Record]:
    """The records of a paragraph, in order: each begins with the key of the first one, or is an entry of a log."""
    starts: list[int] = []
    first, indent, offset = "", 0, 0
    for line in paragraph.split("\n"):
        key = field_key(line) if kind == "fields" else ""
        if kind == "log":
            begins = starts_entry(line)
        elif not first:
            first, indent = key, _indent(line)
            begins = bool(key)
        else:
            begins = key == first and _indent(line) == indent
        if begins:
            starts.append(offset)
        offset += len(line) + 1
    starts = [0, *starts[1:]]
    ends = [*(start - 1 for start in starts[1:]), len(paragraph)]
    return [Record(start, end, first) for start, end in zip(starts, ends, strict=True)]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
