"""Styles and numbering of a DOCX file: which paragraphs are headings or list items, and which text is hidden."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_HEADING = re.compile(r"heading\s*(\d)", re.IGNORECASE)
_BODY_LEVEL = 9  # an outline level that is none
_LEVELS = 9


@dataclass(frozen=True, slots=True)
class _Style:
    name: str
    base: str | None
    element: Any


def value(element: Any, path: str) -> str | None:
    """The `w:val` of a descendant by its path ("pPr/pStyle"); None if it is not there."""
    found = element.find("/".join(f"{WORD}{name}" for name in path.split("/"))) if element is not None else None
    return None if found is None else found.get(f"{WORD}val")


def _switch(element: Any, path: str) -> bool | None:
    """Whether a property is on; None if it is not there."""
    found = element.find("/".join(f"{WORD}{name}" for name in path.split("/"))) if element is not None else None
    return None if found is None else found.get(f"{WORD}val", "1") not in ("0", "false", "off")


class Styles:
    """The styles of a document.

    Args:
        root: the root of its styles; None if it has none.
    """

    def __init__(self, root: Any) -> None:
        self._styles: dict[str, _Style] = {}
        self._default: dict[str, str] = {}
        self._hidden: dict[str, bool] = {}
        for style in root.iterchildren(f"{WORD}style") if root is not None else ():
            name = style.get(f"{WORD}styleId", "")
            self._styles[name] = _Style(value(style, "name") or name, value(style, "basedOn"), style)
            if style.get(f"{WORD}default") in ("1", "true"):
                self._default[style.get(f"{WORD}type", "")] = name

    def chain(self, name: str | None) -> list[_Style]:
        """A style and those that it is based on."""
        chain: list[_Style] = []
        seen: set[str] = set()
        while name is not None and name in self._styles and name not in seen:
            seen.add(name)
            chain.append(self._styles[name])
            name = chain[-1].base
        return chain

    def of(self, paragraph: Any) -> list[_Style]:
        """The styles of a paragraph, its own first."""
        return self.chain(value(paragraph, "pPr/pStyle") or self._default.get("paragraph"))

    def heading_level(self, paragraph: Any) -> int:
        """1 to 6 for a heading, by the paragraph's outline level or its style's; 0 for other paragraphs."""
        levels = [value(paragraph, "pPr/outlineLvl")]
        for style in self.of(paragraph):
            levels.append(value(style.element, "pPr/outlineLvl"))
            if (found := _HEADING.fullmatch(style.name)) is not None:
                levels.append(str(int(found[1]) - 1))
            elif style.name == "Title":
                levels.append("0")
        level = next((int(level) for level in levels if level is not None and level.isdigit()), _BODY_LEVEL)
        if level >= _BODY_LEVEL and (named := _HEADING.fullmatch(value(paragraph, "pPr/pStyle") or "")):
            level = int(named[1]) - 1  # a style that the file does not define
        return min(level + 1, 6) if level < _BODY_LEVEL else 0

    def is_hidden(self, run: Any) -> bool:
        """Whether a run is hidden text, by itself or by its style."""
        own = _switch(run, "rPr/vanish")
        if own is not None:
            return own
        name = value(run, "rPr/rStyle")
        return name is not None and self._style_is_hidden(name)

    def hides_all(self, paragraph: Any) -> bool:
        """Whether the style of a paragraph hides its text."""
        name = value(paragraph, "pPr/pStyle") or self._default.get("paragraph")
        return name is not None and self._style_is_hidden(name)

    def _style_is_hidden(self, name: str) -> bool:
        if name not in self._hidden:
            switches = (_switch(style.element, "rPr/vanish") for style in self.chain(name))
            self._hidden[name] = next((switch for switch in switches if switch is not None), False)
        return self._hidden[name]


class Numbering:
    """The labels of list items ("1.", "b)", "2.3"), which a file does not hold but counts.

    Args:
        root: the root of its numbering definitions; None if it has none.
    """

    def __init__(self, root: Any) -> None:
        self._levels: dict[str, dict[int, Any]] = {}
        self._lists: dict[str, str] = {}
        self._starts: dict[str, dict[int, int]] = {}
        self._counts: dict[str, list[int]] = {}
        self._begun: set[str] = set()
        for abstract in root.iterchildren(f"{WORD}abstractNum") if root is not None else ():
            levels = {int(level.get(f"{WORD}ilvl", "0")): level for level in abstract.iterchildren(f"{WORD}lvl")}
            self._levels[abstract.get(f"{WORD}abstractNumId", "")] = levels
        for number in root.iterchildren(f"{WORD}num") if root is not None else ():
            name = number.get(f"{WORD}numId", "")
            self._lists[name] = value(number, "abstractNumId") or ""
            for override in number.iterchildren(f"{WORD}lvlOverride"):
                if (start := value(override, "startOverride")) is not None and start.isdigit():
                    self._starts.setdefault(name, {})[int(override.get(f"{WORD}ilvl", "0"))] = int(start)

    def next(self, name: str, level: int) -> str:
        """The label of the next item of a list; "-" for a bullet, empty if it has none."""
        abstract = self._lists.get(name, "")
        levels = self._levels.get(abstract, {})
        if level not in levels:
            return "-"
        counts = self._counts.setdefault(abstract, [0] * _LEVELS)
        if name not in self._begun:
            self._begun.add(name)
            for at, start in self._starts.get(name, {}).items():
                counts[at] = start - 1
        counts[level] = (counts[level] or self._start(levels[level]) - 1) + 1
        for deeper in range(level + 1, _LEVELS):
            counts[deeper] = 0
        kind = value(levels[level], "numFmt") or "decimal"
        if kind == "bullet":
            return "-"
        text = value(levels[level], "lvlText")
        if kind == "none" or text is None:
            return ""
        all_decimal = levels[level].find(f"{WORD}isLgl") is not None

        def shown(match: re.Match[str]) -> str:
            at = int(match[1]) - 1
            definition = levels.get(at)
            number = counts[at] or (self._start(definition) if definition is not None else 1)
            return _written(number, "decimal" if all_decimal else value(definition, "numFmt") or "decimal")

        return re.sub(r"%([1-9])", shown, text).strip()

    @staticmethod
    def _start(level: Any) -> int:
        start = value(level, "start")
        return int(start) if start is not None and start.isdigit() else 1


def _written(number: int, kind: str) -> str:
    if kind in ("upperLetter", "lowerLetter"):
        letters = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letters.upper() if kind == "upperLetter" else letters
    if kind in ("upperRoman", "lowerRoman"):
        roman = ""
        for size, sign in zip(
            (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
            ("m", "cm", "d", "cd", "c", "xc", "l", "xl", "x", "ix", "v", "iv", "i"),
            strict=True,
        ):
            roman += sign * (number // size)
            number %= size
        return roman.upper() if kind == "upperRoman" else roman
    return f"{number:02}" if kind == "decimalZero" else str(number)
