"""Where the text of a web page gathers until a block ends: the page, or an element whose text becomes one line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

SPACE = re.compile("[ \t\n\r\f\u00a0]+")
BREAK = "\0"  # of a line; lxml's text holds none
SOFT_HYPHEN = "\u00ad"


@dataclass(slots=True)
class Frame:
    """Text that gathers: `line` if it becomes one line, `raw` if its white space is kept."""

    line: bool = False
    raw: bool = False
    ruby: bool = False
    inline: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    readings: list[str] = field(default_factory=list)


def line_of(frame: Frame) -> str:
    """The text of a frame as one line; list items are separated by semicolons."""
    inline = SPACE.sub(" ", "".join(frame.inline).replace(BREAK, " ")).strip().replace(SOFT_HYPHEN, "")
    text = ""
    for block in [*frame.blocks, *([inline] if inline else [])]:
        starts_item = block.startswith(BREAK)
        block = " ".join(block.lstrip(BREAK).split("\n"))
        between = "; " if starts_item and text[-1:].isalnum() else " "
        text += (between if text else "") + block
    return text
