"""Superscripts and subscripts in plain text, which has no place for them: 10⁶, H₂O, x^(ab)."""

from __future__ import annotations

import re

RAISED = str.maketrans("0123456789+-−=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱ")
LOWERED = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")
_ORDINAL = re.compile(r"(?:st|nd|rd|th|er|re|ère|e|ème|nde|os?|as?|ª|º)", re.IGNORECASE)


def script(text: str, raised: bool, base: str) -> str:
    """A text as superscript or subscript: by Unicode's characters where there are all, else as ^a or _a.

    Ordinals (1st, 2nd, 3º) and marks such as ™ or * stay as they are.

    Args:
        base: the text before it.
    """
    if not text.strip():
        return text
    moved = text.translate(RAISED if raised else LOWERED)
    if all(new != old for new, old in zip(moved, text, strict=True)):
        return moved
    if not any(letter.isalnum() for letter in text) or text in ("TM", "SM"):
        return text
    if raised and base.rstrip()[-1:].isdigit() and _ORDINAL.fullmatch(text):
        return text
    return f"{'^' if raised else '_'}{text if len(text) == 1 else f'({text})'}"
