"""Equations of Office files (OMML) as one line of text: (a+b)/(2c), x^2, √(x), ∑_(i=1)^n i."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from data.documents.readers.scripts import script

MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
#: The elements that hold an equation.
EQUATIONS = (f"{MATH}oMath", f"{MATH}oMathPara")
_ACCENTS = {"̂": "hat", "̃": "tilde", "̅": "bar", "⃗": "vec", "̇": "dot", "̈": "ddot"}


def equation_text(element: Any) -> str:
    """The equation below an element of `EQUATIONS`, on one line."""
    return " ".join(_all(element).split())


def _all(element: Any) -> str:
    return "".join(_one(child) for child in element) if element is not None else ""


def _one(element: Any) -> str:
    if not isinstance(element.tag, str):
        return ""  # a comment
    kind = element.tag.removeprefix(MATH)
    if kind == element.tag:  # of another namespace: a run's properties, a line break
        return "".join(node.text or "" for node in element.iter() if str(node.tag).endswith("}t"))
    if kind == "t":
        return element.text or ""
    if kind.endswith("Pr"):
        return ""
    if (write := _WRITERS.get(kind)) is not None:
        return write(element)
    return _all(element) + (" " if kind == "oMath" else "")


def _part(element: Any, name: str) -> str:
    return _all(element.find(f"{MATH}{name}"))


def _property(element: Any, path: str, default: str) -> str:
    found = element.find("/".join(f"{MATH}{name}" for name in path.split("/")))
    return default if found is None else found.get(f"{MATH}val", default)


def _grouped(text: str) -> str:
    text = text.strip()
    return text if len(text) == 1 or text.isdigit() or text.isalpha() else f"({text})"


def _raised(base: str, text: str, raised: bool) -> str:
    moved = script(text.strip(), raised, "")
    return moved if moved[:1] not in "^_" or not text.strip() else f"{'^' if raised else '_'}{_grouped(text)}"


def _fraction(element: Any) -> str:
    return f"{_grouped(_part(element, 'num'))}/{_grouped(_part(element, 'den'))}"


def _superscript(element: Any) -> str:
    base = _part(element, "e")
    return base + _raised(base, _part(element, "sup"), True)


def _subscript(element: Any) -> str:
    base = _part(element, "e")
    return base + _raised(base, _part(element, "sub"), False)


def _both(element: Any) -> str:
    base = _part(element, "e")
    return base + _raised(base, _part(element, "sub"), False) + _raised(base, _part(element, "sup"), True)


def _before(element: Any) -> str:
    return _raised("", _part(element, "sub"), False) + _raised("", _part(element, "sup"), True) + _part(element, "e")


def _root(element: Any) -> str:
    degree = _part(element, "deg").strip()
    return f"{_raised('', degree, True) if degree else ''}√({_part(element, 'e')})"


def _large(element: Any) -> str:
    sign = _property(element, "naryPr/chr", "∫")
    below, above = _part(element, "sub").strip(), _part(element, "sup").strip()
    limits = (f"_{_grouped(below)}" if below else "") + (f"^{_grouped(above)}" if above else "")
    return f"{sign}{limits} {_part(element, 'e')}"


def _brackets(element: Any) -> str:
    between = _property(element, "dPr/sepChr", "|")
    inner = between.join(_all(part) for part in element.findall(f"{MATH}e"))
    return _property(element, "dPr/begChr", "(") + inner + _property(element, "dPr/endChr", ")")


def _function(element: Any) -> str:
    return f"{_part(element, 'fName')} {_part(element, 'e')}"


def _matrix(element: Any) -> str:
    rows = [", ".join(_all(cell) for cell in row.findall(f"{MATH}e")) for row in element.findall(f"{MATH}mr")]
    return f"[{'; '.join(rows)}]"


def _lines(element: Any) -> str:
    return "; ".join(_all(line) for line in element.findall(f"{MATH}e"))


def _accent(element: Any) -> str:
    sign = _property(element, "accPr/chr", "̂")
    return f"{_ACCENTS.get(sign, '')}({_part(element, 'e')})" if sign in _ACCENTS else _part(element, "e") + sign


def _bar(element: Any) -> str:
    return f"bar({_part(element, 'e')})"


def _limit(element: Any) -> str:
    mark = "^" if element.tag.endswith("limUpp") else "_"
    return f"{_part(element, 'e')}{mark}{_grouped(_part(element, 'lim'))} "


_WRITERS: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "f": _fraction,
        "sSup": _superscript,
        "sSub": _subscript,
        "sSubSup": _both,
        "sPre": _before,
        "rad": _root,
        "nary": _large,
        "d": _brackets,
        "func": _function,
        "m": _matrix,
        "eqArr": _lines,
        "acc": _accent,
        "bar": _bar,
        "limLow": _limit,
        "limUpp": _limit,
    }
)
