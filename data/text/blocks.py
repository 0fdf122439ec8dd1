"""Headings and paragraphs of a Markdown or plain text, with their offsets.

Not by markdown-it-py: it finds the same headings (391 texts, front matter aside) in nine times the time, and does not
do the rest of this module: paragraphs between blank lines, front matter, headings of plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from data.text.lines import is_stamped, key_of
from data.text.records import record_kind

_HASH_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*)")
_UNDERLINE = re.compile(r"(={3,}|-{3,})[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_NO_TITLE = re.compile(r"[ \t]*(?:[-*+•>|]|\d+[.)])[ \t]|[ \t]*\|")  # a list item, a quotation or a table row
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S")
_SHORT_LINE = 80


UnitKind = Literal["prose", "item", "lines"]


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a paragraph: the text from `start` to `end`.

    Attributes:
        kind: "prose" (sentences), "item" (a list item, also sentences), or "lines" (a fenced listing or a table).
    """

    start: int
    end: int
    kind: UnitKind


@dataclass(frozen=True, slots=True)
class Block:
    """A heading or a paragraph: the text from `start` to `end`.

    Attributes:
        start, end: offsets in characters, without white space at the ends.
        level: 1 to 6 for a heading, 0 for a paragraph (a list, a table, a fenced listing are paragraphs).
        title: the heading without its marks; empty for a paragraph.
    """

    start: int
    end: int
    level: int = 0
    title: str = ""


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """Yields (offset, line without its line feed)."""
    offset = 0
    for line in text.split("\n"):
        yield offset, line
        offset += len(line) + 1


def read_blocks(text: str, plain: bool = False) -> list[Block]:
    """Headings ("# Title", or a line underlined with === or ---) and paragraphs, in order.

    Together the blocks hold every character that is not white space. A "#" in a fenced listing is not a heading; YAML
    front matter is a paragraph.

    Args:
        plain: the text is not Markdown: its title line (level 1), and single short lines above a paragraph that do not
            end like a sentence (level 2), are headings too.
    """
    blocks = _marked_blocks(text)
    return _plain_headings(text, blocks) if plain else blocks


def units_of(text: str) -> list[Unit]:
    """The list items, fenced listings, tables and runs of other lines of a paragraph, in order."""
    units: list[Unit] = []
    fence = ""
    open_kind: UnitKind | None = None  # of the unit that the next line may continue
    for offset, line in lines_of(text):
        if not line.strip():
            continue
        kind: UnitKind = "lines"
        continues = False
        if fence:
            continues = True
            if _closes(line, fence):
                fence = ""
        elif opening := _FENCE.match(line):
            fence = opening[1]
        elif line.lstrip().startswith("|"):
            continues = open_kind == "lines"
        elif _ITEM.match(line):
            kind = "item"
        else:
            kind = "item" if open_kind == "item" else "prose"
            continues = kind == open_kind
        start = units.pop().start if continues else offset + len(line) - len(line.lstrip())
        units.append(Unit(start, offset + len(line.rstrip()), kind))
        # A table right below a listing is a unit of its own.
        open_kind = None if kind == "lines" and not line.lstrip().startswith("|") else kind
    return units


def _closes(line: str, fence: str) -> bool:
    """Whether a line closes a listing that this fence opened."""
    line = line.strip()
    return line.startswith(fence) and not line.strip(fence[0])


def _marked_blocks(text: str) -> list[Block]:
    lines = list(lines_of(text))
    blocks: list[Block] = []
    paragraph: list[tuple[int, str]] = []

    def close_paragraph() -> None:
        if paragraph:
            first, last = paragraph[0], paragraph[-1]
            start = first[0] + len(first[1]) - len(first[1].lstrip())
            blocks.append(Block(start, last[0] + len(last[1].rstrip())))
            paragraph.clear()

    fence = ""
    front_matter_end = front_matter_lines([line for _, line in lines])
    for number, (offset, line) in enumerate(lines):
        if number < front_matter_end:
            if line.strip():
                paragraph.append((offset, line))
            if number == front_matter_end - 1:
                close_paragraph()
        elif fence:
            if line.strip():
                paragraph.append((offset, line))
            if _closes(line, fence):
                fence = ""
        elif opening := _FENCE.match(line):
            fence = opening[1]
            paragraph.append((offset, line))
        elif not line.strip():
            close_paragraph()
        elif heading := _HASH_HEADING.match(line):
            close_paragraph()
            start = offset + heading.start(1)
            blocks.append(Block(start, offset + len(line.rstrip()), len(heading[1]), _without_closing(heading[2])))
        elif (underline := _UNDERLINE.match(line)) and len(paragraph) == 1 and not _NO_TITLE.match(paragraph[0][1]):
            start, title = paragraph.pop()
            indent = len(title) - len(title.lstrip())
            level = 1 if underline[1][0] == "=" else 2
            blocks.append(Block(start + indent, offset + len(line.rstrip()), level, title.strip()))
        else:
            paragraph.append((offset, line))
    close_paragraph()
    return blocks


def _without_closing(title: str) -> str:
    """ "Title ##" without its closing marks. Not in the pattern, which would try them at every space of the line."""
    title = title.rstrip(" \t")
    closed = title.rstrip("#")
    return closed.rstrip(" \t") if closed != title and closed.endswith((" ", "\t")) else title


def front_matter_lines(lines: list[str]) -> int:
    """The number of lines of YAML front matter, including both --- lines."""
    if lines[0].rstrip() == "---":
        for number, line in enumerate(lines[1:], start=1):
            if line.rstrip() == "---":
                return number + 1
            if not line.strip():  # a blank line: the first --- was a rule between paragraphs
                return 0
    return 0


def _plain_headings(text: str, blocks: list[Block]) -> list[Block]:
    if blocks and not blocks[0].level:
        first = blocks[0]
        title, _, rest = text[first.start : first.end].partition("\n")
        # The first field of a record, or the first entry of a log, is not its title.
        starts_record = is_stamped(title) or record_kind(text[first.start : first.end]) is not None
        if _is_short_line(title) and (rest or len(blocks) > 1) and not starts_record:
            title_block = Block(first.start, first.start + len(title.rstrip()), 1, title.strip())
            indent = len(rest) - len(rest.lstrip())
            rest_blocks = [Block(first.end - len(rest) + indent, first.end)] if rest else []
            blocks = [title_block, *rest_blocks, *blocks[1:]]
    fields = [not block.level and bool(key_of(text[block.start : block.end])) for block in blocks]
    alone = [
        not block.level
        and _is_short_line(text[block.start : block.end])
        and (i == 0 or text.count("\n", blocks[i - 1].end, block.start) > 1)
        and not (fields[i] and any(fields[max(i - 1, 0) : i] + fields[i + 1 : i + 2]))  # a field between fields
        for i, block in enumerate(blocks)
    ]
    # Of several short lines in a row (a list, a poem) only the last can stand above a paragraph.
    return [
        replace(block, level=2, title=text[block.start : block.end])
        if alone[i] and i + 1 < len(blocks) and not alone[i + 1] and not blocks[i + 1].level
        else block
        for i, block in enumerate(blocks)
    ]


def _is_short_line(line: str) -> bool:
    line = line.strip()
    starts_well = line[:1].isupper() or line[:1].isdigit()
    return (
        starts_well
        and "\n" not in line
        and len(line) <= _SHORT_LINE
        and line[-1] not in '.!?,;:"”'
        and not (_NO_TITLE.match(line))
    )
