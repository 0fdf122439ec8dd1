"""What readers return: texts with counts of changes, parts that cannot be read, or the reason for a whole file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from user_error import UserError


@dataclass(frozen=True, slots=True)
class Extracted:
    """A text read from a file.

    Attributes:
        text: Markdown, or plain text where the format has no structure.
        title: the file's own title, or None.
        pages: the offset in `text` at which each page or slide begins; empty if the format has none.
        part: the row of the file, from "1"; empty if the file is one document.
        counts: changes to the text, by the names of the artifact's counts.
        remarks: phrases for people about this file: guesses, and what was left out.
        left_out: what was left out on purpose ("menus and footers", "comments") -> number of its characters.
    """

    text: str
    title: str | None = None
    pages: tuple[int, ...] = ()
    part: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnreadPart:
    """A part of a file (a row, a page) that cannot be read, with the reason; other parts are read."""

    part: str
    reason: str


class Unreadable(UserError):
    """A file cannot be read; the message is a phrase that says what is wrong and what to do."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table, the first as its header; short rows are padded."""
    width = max(map(len, rows), default=0)
    filled = [
        [*(" ".join(cell.split()).replace("|", "\\|") for cell in row), *[""] * (width - len(row))] for row in rows
    ]
    lines = ["| " + " | ".join(row) + " |" for row in filled]
    return "\n".join([*lines[:1], "|" + " --- |" * width, *lines[1:]]) if width else ""
