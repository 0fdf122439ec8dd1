"""Sentences of prose, records, lists and tables, as offsets."""

from __future__ import annotations

import re

from data.text.blocks import lines_of
from data.text.lines import starts_of_lines

_LINE_OF_ITS_OWN = re.compile(r"[ \t]*(?:#{1,6}[ \t]|\|)")  # a heading, a table row
_UNDERLINE = re.compile(r"(?:={3,}|-{3,})[ \t]*$")
# Possessive quantifiers and the lookbehind keep a line of a million dots linear.
_END = re.compile(
    r"(?<![.!?…])([.!?…]++)([\"'”’»)\]*_`]*+)(\s++)|(?<![。！？])[。！？]++[」』”’）]*|[।॥။៕។።۔]++(?:\s|$)"
)
_NEXT_WORD = re.compile(r"[\"'“‘«(\[*_`]*([\w'’]*)")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Always followed by a name.
_TITLES = _words("mr mrs ms dr prof rev gen col capt lt sgt hon messrs e.g i.e cf vs viz")
# Abbreviations only before a number: "No. 7", but "The answer is no. They left."
_BEFORE_NUMBERS = _words(
    "no nos fig figs eq sec ch vol vols p pp art ext min max tel approx ca est ed par jan feb mar apr jun jul aug sep "
    "sept oct nov dec"
)
# Inside or at the end of a sentence: it ends there if a common opening word follows, as for initials and acronyms.
_ANYWHERE = _words("etc inc ltd co corp jr sr st ave blvd rd dept bros")
_OPENING_WORDS = _words(
    "a after all an and any as at because before both but by each every for from he her his how however i if in it its "
    "many most no not on once one only our she since so some that the their then there these they this those to until "
    "we what when where which while who why with you your"
)
_LOOK_BEHIND = 64  # characters; an abbreviation is shorter
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]$")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Offsets (start, end) of the sentences, in order, without the white space between them.

    Blank lines, list items, headings and table rows always separate. A single line break separates where the lines are
    records, log lines, columns or a listing (`starts_of_lines` has the rule), and not where prose is wrapped. Within a
    line, and within wrapped prose, punctuation separates. Every character that is not white space is in exactly one
    span.
    """
    spans: list[tuple[int, int]] = []
    for start, end in _line_groups(text):
        for match in _END.finditer(text, start, end):
            if match.end() < end and _ends_sentence(text, start, end, match):
                spans.append((start, match.end(2) if match[1] else match.end()))
                start = match.end()
        spans.append((start, end))
    trimmed = [trim_span(text, start, end) for start, end in spans]
    return [(start, end) for start, end in trimmed if start < end]


def _line_groups(text: str) -> list[tuple[int, int]]:
    """Runs of lines within which only punctuation separates sentences."""
    groups: list[tuple[int, int]] = []
    paragraph: list[tuple[int, str]] = []

    def close_paragraph() -> None:
        for (offset, line), begins in zip(paragraph, starts_of_lines([line for _, line in paragraph]), strict=True):
            start = offset if begins else groups.pop()[0]
            groups.append((start, offset + len(line)))
        paragraph.clear()

    for offset, line in lines_of(text):
        alone = bool(_LINE_OF_ITS_OWN.match(line))
        if alone or not line.strip():
            close_paragraph()
        if alone:
            groups.append((offset, offset + len(line)))
        elif line.strip():
            paragraph.append((offset, line))
            if _UNDERLINE.match(line):
                close_paragraph()
    close_paragraph()
    return groups


def _ends_sentence(text: str, start: int, end: int, match: re.Match[str]) -> bool:
    if not match[1]:
        return True
    following = _NEXT_WORD.match(text, match.end(), end)
    assert following is not None
    word = following[1]
    if word[:1].islower() or (match[1].startswith("....") and word[:1].isdigit()):  # dots that lead to a page number
        return False
    if match[1] != "." or match[2]:
        return True
    behind = text[max(start, match.start() - _LOOK_BEHIND) : match.start()]
    before = re.split(r"[\s(\[\"'“‘«*_]", behind)[-1]
    stem = before.casefold()
    numbers_item = match.start() - start < _LOOK_BEHIND and not behind.removesuffix(before).strip()
    if stem in _TITLES or (before.isdigit() and numbers_item):
        return False
    if stem in _BEFORE_NUMBERS and word[:1].isdigit():
        return False
    if stem in _ANYWHERE or _INITIALS.match(before):
        another_initial = len(word) == 1 and text[following.end() : following.end() + 1] == "."
        return word.casefold() in _OPENING_WORDS and not another_initial
    return True


def trim_span(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends; if there is nothing else, its start is not before its end."""
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())
