"""Tells lines that stand on their own (records, logs, columns, listings) from the lines of wrapped prose.

A line break inside a paragraph says nothing by itself: prose is wrapped, and a record has a field on each line. What
tells them apart is the shape of the neighbouring lines, never a single one of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: The mark of a list item, with the white space before and after it.
LIST_MARK = re.compile(r"[ \t]*(?:[-*+•◦▪‣●○]|\d{1,3}[.)])[ \t]+(?=\S)")

_WORD = re.compile(r"[^\W_]")
# "domain: Turning", "Opening hours: 8 to 17", '"force": 12,', "**Fee:** 4 crowns", "磨坊：河边"; at most four words.
_KEY = re.compile(
    r"[\"'`*_]{0,3}[^\W\d_][^\s:：=,;\"'`]{0,30}(?: [^\s:：=,;\"'`]{1,20}){0,3}[\"'`*_]{0,3}"
    r"(?: ?[:：](?=\s|[\"'`*_]|$)|：|:(?![:/\d])(?=\S)| ?=(?![=>]))"
)
_STAMP = re.compile(
    r"[\[(<]?(?:\d{4}[-/.]\d\d?[-/.]\d\d?\b|\d{1,2}[./]\d{1,2}[./]\d{2,4}\b|\d{1,2}:\d\d(?::\d\d)?\b"
    r"|\d{1,3}(?:\.\d{1,3}){3} |(?:TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL)\b"
    r"|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) {1,2}\d{1,2} \d\d:\d\d)"
)
_COLUMNS = re.compile(r"\S\t+\S|[^\s.!?:] {3,}\S|[^\s.] ?\.{4,}+ ?[^\s.]")
_SEPARATORS = (re.compile(r";"), re.compile(r"\|"), re.compile(r",(?=\S)"))
_CODE_END = re.compile(r"[;{}()\[\],\\]\s*$")
_CALL = re.compile(r"\w\(|[;{}\]\\]\s*$")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’»)]*(?:\s|$)|[。！？]")
_OPEN_END = re.compile(r"[,;:–—-]\s*$")
_NARROW = 60  # characters: prose is seldom wrapped at less, lines of a list are seldom longer
_WRAPPED = 40  # characters: a line that was wrapped is at least this long


def starts_of_lines(lines: Sequence[str]) -> list[bool]:
    """For each line of a paragraph, whether it begins a sentence of its own; False where it continues the line before.

    Lines begin on their own if

    - they are list items;
    - half of the lines, and at least two, are of the form "key: value" or "key = value" (a record, a form, a file of
      settings, a transcript); a line without a key continues a value if it is indented deeper than the line with the
      key, or begins in lower case below a long line;
    - half of the lines, and at least two, begin with a date, a time, an address or a log level;
    - four of five lines have columns (a tab, three spaces, dot leaders), or all have equally many ";", "|" or "," that
      no space follows;
    - three of five lines, and at least three, end as code does: in brackets, ";", "," or a backslash;
    - all lines are short and of uneven length, none but the last ends a sentence, and few begin in lower case: names,
      titles, values.

    All other lines continue the line before, since prose is wrapped.

    Args:
        lines: consecutive lines of which none is blank.
    """
    if len(lines) < 2:
        return [True] * len(lines)
    marks = [LIST_MARK.match(line) for line in lines]
    items = [mark is not None for mark in marks]
    texts = [line[mark.end() if mark else 0 :].strip() for line, mark in zip(lines, marks, strict=True)]
    keys = [_KEY.match(text) is not None for text in texts]
    words = sum(_WORD.search(text) is not None for text in texts)
    if max(2, words / 2) <= sum(keys):
        starts = _record_starts(lines, texts, keys)
    else:
        starts = [_stand_alone(texts, items, words)] * len(lines)
    return [True, *(start or item for start, item in zip(starts[1:], items[1:], strict=True))]


def _record_starts(lines: Sequence[str], texts: Sequence[str], keys: Sequence[bool]) -> list[bool]:
    starts = []
    indent, open_value = 0, False  # of the last line with a key: its indentation, and whether its value is below it
    for number, (line, text) in enumerate(zip(lines, texts, strict=True)):
        own = len(line) - len(line.lstrip())
        continues = False
        if keys[number]:
            indent, open_value = own, text.endswith((":", "：", "=", "{", "[", "("))
        elif number and not open_value and not _CALL.search(text):
            lower = text[:1].islower() and len(texts[number - 1]) >= _WRAPPED
            continues = lower or (own > indent and _WORD.search(text) is not None)
        starts.append(not continues)
    return starts


def _stand_alone(texts: Sequence[str], items: Sequence[bool], words: int) -> bool:
    """Whether lines without keys are lines of their own."""
    if words < 2:
        return False
    if max(2, words / 2) <= sum(_STAMP.match(text) is not None for text in texts):
        return True
    if max(2, words * 4 / 5) <= sum(_COLUMNS.search(text) is not None for text in texts):
        return True
    for separator in _SEPARATORS:
        counts = [len(separator.findall(text)) for text in texts if _WORD.search(text)]
        if min(counts) >= 2 and min(counts) == max(counts):
            return True
    if max(3, words * 3 / 5) <= sum(_CODE_END.search(text) is not None for text in texts):
        return True
    return not any(items) and len(texts) > 2 and _are_short(texts)


def _are_short(texts: Sequence[str]) -> bool:
    lengths = [len(text) for text in texts]
    longest = max(lengths)
    return (
        longest < _NARROW
        and min(lengths[:-1]) < 0.75 * longest
        and not any(_SENTENCE_END.search(text) for text in texts[:-1])
        and sum(text[:1].islower() for text in texts) * 5 <= len(texts)
        and sum(_OPEN_END.search(text) is not None for text in texts) * 3 <= len(texts)
    )


def key_of(line: str) -> str:
    """The key of a line of the form "key: value", "key = value" or "key：value", in lower case and without marks; ""
    for other lines. The value may be empty, as above nested lines."""
    mark = LIST_MARK.match(line)
    text = line[mark.end() if mark else 0 :].lstrip()
    key = _KEY.match(text)
    return key[0].rstrip("\"'`*_ :：=").lstrip("\"'`*_").rstrip("\"'`*_").casefold() if key else ""


def is_stamped(line: str) -> bool:
    """Whether a line begins with a date, a time, an address or a level, as an entry of a log does."""
    return _STAMP.match(line.lstrip()) is not None
