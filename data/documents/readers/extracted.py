"""What readers give: texts with what was done to them, rows that cannot be read, or the reason why a file cannot be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from user_error import UserError


@dataclass(frozen=True, slots=True)
class Extracted:
    """A text found in a file.

    Attributes:
        text: Markdown, or plain text where the format has no structure.
        title: as the file names it, or None.
        pages: the offset in `text` at which each page or slide begins; empty where the format has none.
        part: which row of the file it is, from "1"; empty where the file is one document.
        counts: what was done to the text and how often, under the names of the artifact's counts.
        remarks: what a person should know of this file, a phrase each.
    """

    text: str
    title: str | None = None
    pages: tuple[int, ...] = ()
    part: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnreadPart:
    """A part of a file (a row, a page) that cannot be read, with the reason; the other parts can."""

    part: str
    reason: str


class Unreadable(UserError):
    """A file cannot be read: what is wrong with it and what to do, as a phrase."""


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table, the first as its head; short rows are filled up."""
    width = max(map(len, rows), default=0)
    filled = [
        [*(" ".join(cell.split()).replace("|", "\\|") for cell in row), *[""] * (width - len(row))] for row in rows
    ]
    lines = ["| " + " | ".join(row) + " |" for row in filled]
    return "\n".join([*lines[:1], "|" + " --- |" * width, *lines[1:]]) if width else ""
