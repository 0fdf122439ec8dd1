"""How parts of a web page are written: what begins a line, marks of list items, fields of forms, exponents."""

from __future__ import annotations

import re
from typing import Any

from data.documents.readers.scripts import LOWERED, RAISED

_BLOCKS = frozenset(
    re.findall(
        r"\w+",
        "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption "
        "figure footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li listing main menu nav "
        "ol optgroup option p plaintext pre search section select summary table tbody td text textarea tfoot th "
        "thead tr ul xmp",
    )
)
_DISPLAY = re.compile(r"display\s*:\s*(none|inline\b(?!-)|block|flex|grid|list-item|table)", re.IGNORECASE)
_EXPONENT = re.compile(r"[\d+\-−=()ni]+")
_FORMULA = re.compile(r"(?=.*[\d+\-−=/])[\w+\-−=/().,]+")
_NUMBERINGS = {"a": "a", "lower-alpha": "a", "lower-latin": "a", "i": "i", "lower-roman": "i"}
_UPPER_NUMBERINGS = {"A": "a", "upper-alpha": "a", "upper-latin": "a", "I": "i", "upper-roman": "i"}


def is_block(node: Any, name: str) -> bool:
    """Whether an element begins on a line of its own."""
    style = node.get("style") if name else None
    if style and (found := _DISPLAY.search(style)):
        inline = found[1].lower() == "inline"
        return name in _BLOCKS and name not in ("div", "p", "section", "figure") if inline else True
    return name in _BLOCKS or (bool(name) and node.get("role") == "heading")


def heading_level(node: Any, name: str) -> int:
    """1 to 6 for a heading, 0 for any other element."""
    if len(name) == 2 and name[0] == "h" and name[1] in "123456":
        return int(name[1])
    if node.get("role") == "heading" and name in ("div", "p", "span"):
        return min(max(number_of(node, "aria-level", 2), 1), 6)
    return 0


def field_value(node: Any) -> str:
    """What a field of a form shows."""
    kind = (node.get("type") or "text").lower()
    if kind in ("checkbox", "radio"):
        return "[x] " if node.get("checked") is not None else "[ ] "
    return "" if kind in ("hidden", "password", "file", "image", "color", "range") else f" {node.get('value') or ''} "


def raised(text: str) -> str:
    """A superscript, marked where it would join the text before it: 10⁶ is not 106; 1st and [2] stay as they are."""
    if _EXPONENT.fullmatch(text) and text not in ("n", "i"):
        return text.translate(RAISED)
    return f"^({text})" if _FORMULA.fullmatch(text) and not text.endswith(("st", "nd", "rd", "th")) else text


def number_of(node: Any, attribute: str, default: int) -> int:
    """An attribute that is an integer."""
    value = node.get(attribute) or ""
    return int(value) if re.fullmatch(r"\s*-?\d{1,9}\s*", value, re.ASCII) else default


def item_mark(number: int, numbering: str) -> str:
    """The mark of a numbered item; letters and Roman numbers follow a dash, as Markdown has none."""
    for known, change in ((_NUMBERINGS, str), (_UPPER_NUMBERINGS, str.upper)):
        if numbering in known and 0 < number < 4000:
            letters = _letters(number) if known[numbering] == "a" else _roman(number)
            return f"- {change(letters)}. "
    return f"{number}. "


def _letters(number: int) -> str:
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def _roman(number: int) -> str:
    signs = zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        ("m", "cm", "d", "cd", "c", "xc", "l", "xl", "x", "ix", "v", "iv", "i"),
        strict=True,
    )
    roman = ""
    for value, sign in signs:
        count, number = divmod(number, value)
        roman += sign * count
    return roman


def lowered(digits: str) -> str:
    """Digits as a subscript."""
    return digits.translate(LOWERED)
