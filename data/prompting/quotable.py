"""What a quote may be: the sentences of a chunk's text, as grounding chooses them and as the grammar holds them.

A quote is one or more consecutive sentences of one run. This is the only definition of both, so that every quote that
is trained can be written under the grammar, and every quote that the grammar allows is of the kind that was trained.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from data.prompting.prompts import between_markers
from data.text.blocks import lines_of, units_of
from data.text.lines import LIST_MARK
from data.text.sentences import sentence_spans, trim_span

Span = tuple[int, int]

_LONG_ROW = 400  # characters: a longer row of a table is quoted by its cells
_FENCE = re.compile(r"^[ \t]*(?:`{3,}|~{3,})[ \t]*([^`\n]*)$", re.MULTILINE)
_MARK = re.compile(rf"{LIST_MARK.pattern}|[ \t]*>[ \t]+(?=\S)|[ \t]*#{{1,6}}[ \t]+")
_UNDERLINED = re.compile(r"\n[ \t]*(?:={3,}|-{3,})[ \t]*$")
_BAR = re.compile(r"(?<!\\)\|")
_WORD = re.compile(r"[^\W_]")
_PROSE_END = re.compile(r"[.:!?。：！？][\"'”’»)*_]*\s*\Z")


def quotable_runs(text: str) -> list[list[Span]]:
    """The sentences of a chunk's text that a quote may hold, as offsets, in runs that no quote goes beyond.

    A sentence is

    - a sentence of prose, or of a line of a record, a log or columns (`sentence_spans`);
    - a line of a fenced listing;
    - a list item, or a sentence of one, without the mark of the list;
    - a heading without its marks;
    - a row of a table; of a row longer than 400 characters each cell, and each sentence of a cell as long as that.

    What holds no letter or digit (a rule, the line below the head of a table) is no sentence; it may stand between two
    sentences of a quote. A marker of the output format is never quoted: it separates two runs, and may cut a sentence
    in two. Else a document could end the quote and write the answer.

    Only the text itself counts, not where it was cut from: a line of which a chunk holds a part is quoted by that part.
    """
    sentences = [span for span in _sentences(text) if _WORD.search(text, *span)]
    free = between_markers(text)
    if len(free) == 1:
        return [sentences] if sentences else []
    runs = []
    for first, last in free:
        pieces = [trim_span(text, max(start, first), min(end, last)) for start, end in sentences]
        run = [(start, end) for start, end in pieces if start < end and _WORD.search(text, start, end)]
        if run:
            runs.append(run)
    return runs


def _sentences(text: str) -> Iterator[Span]:
    done = _end_of_listing(text)
    yield from _lines(text, 0, done)
    for unit in units_of(text[done:]):
        start, end = done + unit.start, done + unit.end
        if unit.kind == "lines":
            yield from _lines(text, start, end)
        else:
            for first, last in sentence_spans(text[start:end]):
                yield from _without_marks(text, start + first, start + last)


def _end_of_listing(text: str) -> int:
    """Where a listing ends that began before this text; 0 if the text does not begin inside one.

    It does if a fence has no partner, names no language, and follows something that does not introduce a listing.
    """
    fences = list(_FENCE.finditer(text))
    if len(fences) % 2 == 0 or fences[0][1].strip():
        return 0
    above = text[: fences[0].start()]
    return 0 if not above.strip() or _PROSE_END.search(above[-200:]) else fences[0].end()


def _lines(text: str, start: int, end: int) -> Iterator[Span]:
    """The lines of a listing without its fences, and the rows of a table."""
    for offset, line in lines_of(text[start:end]):
        first, last = trim_span(text, start + offset, start + offset + len(line))
        if first < last and not _FENCE.match(text, first, last):
            yield from _cells(text, first, last)


def _cells(text: str, start: int, end: int) -> Iterator[Span]:
    """The span, or the cells of a long row, or the sentences of a long cell."""
    bars = list(_BAR.finditer(text, start, end)) if end - start > _LONG_ROW else []
    if not bars:
        yield start, end
        return
    borders = [start, *(border for bar in bars for border in bar.span()), end]
    for first, last in zip(borders[::2], borders[1::2], strict=True):
        first, last = trim_span(text, first, last)
        if last - first > _LONG_ROW:
            yield from ((first + begin, first + stop) for begin, stop in sentence_spans(text[first:last]))
        elif first < last:
            yield first, last


def _without_marks(text: str, start: int, end: int) -> Iterator[Span]:
    """The span without the marks of a list, a quotation or a heading at the beginning of its line."""
    if start == 0 or text[start - 1] == "\n" or not text[text.rfind("\n", 0, start) + 1 : start].strip():
        while mark := _MARK.match(text, start, end):
            start = mark.end()
    if underline := _UNDERLINED.search(text, start, end):
        end = underline.start()
    start, end = trim_span(text, start, end)
    if start < end:
        yield from _cells(text, start, end)
