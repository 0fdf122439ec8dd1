"""Cuts records and paragraphs into pieces that fit in a chunk, and joins neighbouring pieces as long as they fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from data.documents.sections import Group, Paragraph, Span
from data.text.blocks import lines_of, units_of
from data.text.lines import key_of
from data.text.sentences import sentence_spans, trim_span

CountTokens = Callable[[Sequence[str]], list[int]]

_LABEL = 160  # characters of the beginning of a line
_RULE_ROW = re.compile(r"\|?[ \t]*:?-{2,}:?[ \t]*(?:\||$)")  # below the header row of a table
_CELL = re.compile(r"(?<!\\)\|(?=[^|\n]*\S)")  # in front of a cell
# Tokens that a joint may have besides its white space. So many more than the sum, and only a joined text that may not
# fit is counted as a whole.
_GAP = 2
_CLAUSE_LENGTH = 40  # characters; short enough that parts of a long line fill the chunk that begins before it
_CLAUSE = re.compile(r"[,;、，；](?=\s)")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a group: the text from `start` to `end`.

    Attributes:
        cut: the group is a record that does not fit, so that the piece joins no other group.
        header: the header row of the table that the piece continues; None for other pieces.
        label: the beginning of the line that the piece continues (key, first cell or first words); None likewise.
    """

    start: int
    end: int
    group: Group
    cut: bool = False
    header: Span | None = None
    label: Span | None = None


class Cutter:
    """Cuts and joins spans of one text so that each has at most `max_tokens` tokens.

    Args:
        count_tokens: the number of tokens of each text.
        overlap_tokens: a span begins with complete sentences of the one before it, up to this many tokens.
    """

    def __init__(self, text: str, count_tokens: CountTokens, max_tokens: int, overlap_tokens: int) -> None:
        self.text = text
        self.count_tokens = count_tokens
        self.max_tokens = max_tokens
        self.overlap_tokens = overlap_tokens
        self._counts: dict[Span, int] = {}

    def join(self, pieces: Sequence[Piece]) -> list[tuple[Span, Piece]]:
        """Joins neighbouring pieces as long as they fit, and starts each span with the overlap.

        Returns:
            Each span with its first piece.
        """
        spans: list[tuple[Span, Piece]] = []
        first = previous = pieces[0]
        start = first.start
        most = self._count(start, first.end)  # tokens from `start` to the end of `previous`, or a few more
        for piece in pieces[1:]:
            apart = piece.group is not previous.group and (piece.cut or previous.cut)
            most += piece.start - previous.end + _GAP + self._count(piece.start, piece.end)
            if not apart and most > self.max_tokens and self._fits(start, piece.end):
                most = self._count(start, piece.end)
            if apart or most > self.max_tokens:
                spans.append(((start, previous.end), first))
                start = piece.start if apart else self._overlap_start((start, previous.end), piece)
                first, most = piece, self._count(start, piece.end)
            previous = piece
        return [*spans, ((start, previous.end), first)]

    def cut(self, group: Group) -> list[Piece]:
        """The group if it fits, else pieces of its parts that fit; headings stay with the first."""
        if self._fits(group.start, group.end):
            return [Piece(group.start, group.end, group)]
        pieces: list[Piece] = []
        for paragraph in group.paragraphs:
            if self._fits(paragraph.start, paragraph.end):
                pieces.append(Piece(paragraph.start, paragraph.end, group, group.record))
            else:
                pieces.extend(self._cut_paragraph(paragraph, group))
        return pieces

    def _cut_paragraph(self, paragraph: Paragraph, group: Group) -> Iterator[Piece]:
        """List items, listings, tables and fields that fit; else their sentences, rows or lines; else words."""
        heading: int | None = paragraph.start
        for part in self._parts(paragraph.body, paragraph.end, group):
            if heading is not None:
                part, heading = Piece(heading, part.end, group, part.cut), None
            yield from self._cut_words(part)

    def _parts(self, start: int, end: int, group: Group) -> Iterator[Piece]:
        for unit in units_of(self.text[start:end]):
            first, last = start + unit.start, start + unit.end
            if unit.kind != "prose" and self._fits(first, last):
                yield Piece(first, last, group, group.record)
            elif unit.kind == "lines":
                yield from self._rows(first, last, group)
            elif group.record:
                for line in self._fields(first, last):
                    yield from self._cut_line(line, group)
            else:
                text = self.text[first:last]
                for begin, stop in sentence_spans(text):
                    yield Piece(first + begin, first + stop, group)

    def _rows(self, start: int, end: int, group: Group) -> Iterator[Piece]:
        """The rows of a table with its header row, or the lines of a listing."""
        lines = list(self._lines(start, end))
        titled = len(lines) > 2 and self.text[start] == "|" and bool(_RULE_ROW.match(self.text[slice(*lines[1])]))
        for number, line in enumerate(lines):
            yield from self._cut_line(line, group, lines[0] if titled and number > 1 else None)

    def _cut_line(self, line: Span, group: Group, header: Span | None = None) -> Iterator[Piece]:
        """The line if it fits, else its cells, sentences or clauses."""
        start, end = line
        if self._fits(start, end):
            yield Piece(start, end, group, group.record, header)
            return
        text = self.text[start:end]
        cells = [line]
        if text.startswith("|"):
            borders = [start + match.start() for match in _CELL.finditer(text)]
            cells = list(zip(borders, [*borders[1:], end], strict=True))
        label = self._label(start, end)
        parts = (part for cell in cells for part in self._within_line(*cell))
        for first, last in parts:
            yield Piece(first, last, group, group.record, header, label if first > start else None)

    def _within_line(self, start: int, end: int) -> Iterator[Span]:
        """The span if it fits, else its sentences, and of those that do not fit the clauses."""
        start, end = trim_span(self.text, start, end)
        if self._fits(start, end):
            yield start, end
            return
        for first, last in sentence_spans(self.text[start:end]):
            first, last = start + first, start + last
            clauses = [] if self._fits(first, last) else self._clauses(first, last)
            yield from clauses or [(first, last)]

    def _clauses(self, start: int, end: int) -> list[Span]:
        """Parts that end with a comma or semicolon and have at least `_CLAUSE_LENGTH` characters."""
        cuts = [start]
        for match in _CLAUSE.finditer(self.text, start, end):
            if match.end() - cuts[-1] >= _CLAUSE_LENGTH:
                cuts.append(match.end())
        parts = (trim_span(self.text, *part) for part in zip(cuts, [*cuts[1:], end], strict=True))
        return [(first, last) for first, last in parts if first < last]

    def _fields(self, start: int, end: int) -> Iterator[Span]:
        """The fields of a record, each with the lines that go on."""
        open_field: Span | None = None
        for line in self._lines(start, end):
            if open_field is not None and not key_of(self.text[slice(*line)]):
                open_field = (open_field[0], line[1])
                continue
            if open_field is not None:
                yield open_field
            open_field = line
        if open_field is not None:
            yield open_field

    def _lines(self, start: int, end: int) -> Iterator[Span]:
        for offset, line in lines_of(self.text[start:end]):
            if line.strip():
                yield trim_span(self.text, start + offset, start + offset + len(line))

    def _label(self, start: int, end: int) -> Span | None:
        """The beginning of a line: the first cell of a row, the key of a field, or the first words."""
        line = self.text[start : min(end, start + _LABEL)].partition("\n")[0]
        if line.startswith("|") and "|" in line[1:]:
            return trim_span(self.text, start + 1, start + 1 + line[1:].index("|"))
        if key_of(line):
            separator = re.search("[:=：]", line)
            assert separator is not None
            return start, start + separator.end()
        words = line if len(line) < _LABEL else line[: max(line.rfind(" "), 0)]
        return trim_span(self.text, start, start + len(words)) if words.strip() else None

    def _cut_words(self, piece: Piece) -> Iterator[Piece]:
        """The piece if it fits, else pieces of it between words."""
        start, end, label = piece.start, piece.end, piece.label
        while not self._fits(start, end):
            cut = self._longest_prefix(start, end)
            first, last = trim_span(self.text, start, cut)
            yield Piece(first, last, piece.group, piece.cut, piece.header, label)
            while self.text[cut].isspace():
                cut += 1
            start, label = cut, piece.label or self._label(piece.start, piece.end)
        yield Piece(start, end, piece.group, piece.cut, piece.header, label)

    def _longest_prefix(self, start: int, end: int) -> int:
        """The offset of the cut: after the last word that fits, or inside a word longer than a chunk."""
        end = self._window_end(start, end)
        words = [start + match.end() for match in re.finditer(r"\S+", self.text[start:end])]
        if self._fits(start, words[0]):
            return self._last_that_fits(start, words)
        return self._last_that_fits(start, range(start + 1, words[0] + 1))

    def _last_that_fits(self, start: int, ends: Sequence[int]) -> int:
        most = self.max_tokens
        low, high = 0, len(ends) - 1  # ends[low] fits, ends[high] does not
        below, above = self._count(start, ends[low]), self._count(start, ends[high])
        assert below <= most, "one character has more tokens than a chunk"
        if above <= most:
            return ends[high]
        halve = False  # every other time, since interpolation is slow on uneven text
        while high - low > 1:
            share = 0.5 if halve else (most - below) / (above - below)
            middle = min(max(low + int((high - low) * share), low + 1), high - 1)
            count = self._count(start, ends[middle])
            if count <= most:
                low, below = middle, count
            else:
                high, above = middle, count
            halve = not halve
        return ends[low]

    def _overlap_start(self, previous: Span, piece: Piece) -> int:
        """The start of the earliest sentence of the previous chunk from which the overlap fits."""
        if self.overlap_tokens == 0:
            return piece.start
        first, last = previous
        starts = [first + start for start, _ in sentence_spans(self.text[first:last])][1:]
        counts = self.count_tokens([self.text[start:last] for start in starts]) if starts else []
        for start, count in zip(starts, counts, strict=True):
            if count <= self.overlap_tokens and self._fits(start, piece.end):
                return start
        return piece.start

    def _fits(self, start: int, end: int) -> bool:
        return self._window_end(start, end) == end and self._count(start, end) <= self.max_tokens

    def _window_end(self, start: int, end: int) -> int:
        """The end, or an earlier offset up to which there are already too many tokens.

        Without it all of a long text would be tokenized for each cut.
        """
        length = 5 * self.max_tokens  # characters; about as many as fit, for prose
        # A cut inside a word adds a few tokens.
        while length < end - start and self._count(start, start + length) <= self.max_tokens + 8:
            length *= 2
        return min(end, start + length)

    def _count(self, start: int, end: int) -> int:
        if (start, end) not in self._counts:
            self._counts[start, end] = self.count_tokens([self.text[start:end]])[0]
        return self._counts[start, end]
