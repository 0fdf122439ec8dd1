"""Columns of a PDF page: where prose stands side by side, and tables whose cells have several lines.

Between columns is a gap that no piece of text crosses over several rows. With prose on both sides (long lines, mostly
full, each going on in the next) they are columns, read one after the other. So are texts of several words of which one
is drawn after the other, as boxes on slides. If the texts on both sides begin again at the same heights, with different
numbers of lines, they are the cells of a table, whose rows are read one after the other. All else is read line by line:
the cells of a table with one line each, labels and values.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from data.documents.readers.pdf_pieces import Piece

COLUMN_GAP = 0.8  # of the size

_LEAST_ROWS = 3  # of a column
_PROSE_CHARACTERS = 12  # in half of the lines of a column of prose
_FULL = 0.7  # of the column's width
_CANDIDATES = 24  # gaps between columns that are tried
_CELL_GAP = 1.2  # times the distance of lines: what is below begins a cell
_HALF_FULL = 0.5  # of the width of a column of cells
_BOX_WORDS = 3  # in half of the lines of a box
_CELLS_SHARED = 0.7  # of the beginnings of cells are at the same heights in all columns
_SENTENCE_END = re.compile(r"[.!?…:;。！？][\"'”’»)\]]*$")

Row = Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Columns:
    """The rows from `first` to before `last`, with gaps at `xs`; `breaks` is where the rows of a table begin."""

    first: int
    last: int
    xs: tuple[float, ...]
    breaks: tuple[int, ...] = ()

    def columns(self, pieces: Row) -> list[list[Piece]]:
        """The pieces of each column, from left to right."""
        columns: list[list[Piece]] = [[] for _ in range(len(self.xs) + 1)]
        for piece in pieces:
            columns[sum(piece.x1 > x for x in self.xs)].append(piece)
        return columns


def find_columns(rows: Sequence[Row]) -> Columns | None:
    """The tallest region of columns or of a table; None if there is none."""
    best: Columns | None = None
    gaps = _gaps(rows)
    for x in gaps:
        start = 0
        for end in range(len(rows) + 1):
            if end < len(rows) and not _crosses(rows[end], x):
                continue
            found = _two_columns(rows, start, end, x) if end - start >= _LEAST_ROWS else None
            if found and (best is None or found.last - found.first > best.last - best.first):
                best = found
            start = end + 1
    if best is None or not best.breaks:
        return best
    inside = rows[best.first : best.last]
    xs = {x for x in gaps if not any(_crosses(row, x) for row in inside)}
    return Columns(best.first, best.last, tuple(sorted(xs)), best.breaks)


def _crosses(row: Row, x: float) -> bool:
    return any(piece.x0 < x < piece.x1 for piece in row)


def _gaps(rows: Sequence[Row]) -> list[float]:
    """Where a gap between columns may be: left of what begins at the same x in several rows."""
    left = min((row[0].x0 for row in rows), default=0.0)
    starts: Counter[int] = Counter()
    for row in rows:
        for before, piece in zip([None, *row], row, strict=False):
            apart = before is None or piece.x0 - before.x1 >= COLUMN_GAP * min(piece.size, before.size)
            if apart and piece.x0 > left + 2 * piece.size:
                starts[round(piece.x0)] += 1
    near = {x: sum(starts[x + step] for step in (-1, 0, 1)) for x in starts}
    often = sorted((x for x, count in near.items() if count >= _LEAST_ROWS), key=lambda x: (-near[x], x))
    chosen: list[int] = []
    for x in often:
        if all(abs(x - other) > 2 for other in chosen):
            chosen.append(x)
    return [x - 2.1 for x in chosen[:_CANDIDATES]]


def _two_columns(rows: Sequence[Row], start: int, end: int, x: float) -> Columns | None:
    """The rows from `start` to `end` if they are two columns, without those beside which the other column has ended."""
    sides = [[number for number in range(start, end) if _side(rows[number], x, right)] for right in (False, True)]
    if min(map(len, sides)) < _LEAST_ROWS:
        return None
    for numbers, others in (sides, sides[::-1]):
        _trim(rows, numbers, others)
    first, last = min(side[0] for side in sides), max(side[-1] for side in sides)
    shared = min(side[-1] for side in sides) - max(side[0] for side in sides)
    if shared < (last - first) / 3 or shared < _LEAST_ROWS - 1:
        return None
    left, right = ([_side(rows[number], x, is_right) for number in side] for is_right, side in enumerate(sides))
    if breaks := _rows_of_table(rows, sides, (left, right)):
        return Columns(first, last + 1, (x,), breaks)
    if (_is_prose(left) and _is_prose(right)) or _are_boxes(left, right):
        return Columns(first, last + 1, (x,))
    return None


def _side(row: Row, x: float, right: int) -> list[Piece]:
    return [piece for piece in row if (piece.x1 > x) == right]


def _steps(rows: Sequence[Row], numbers: Sequence[int]) -> list[float]:
    return [rows[b][0].y - rows[a][0].y for a, b in pairwise(numbers)]


def _trim(rows: Sequence[Row], numbers: list[int], others: Sequence[int]) -> None:
    """Takes off rows above and below the other column that stand apart: headings, footers, text over all columns."""
    usual = median(_steps(rows, numbers))
    for at, step, outside in ((0, 1, others[0]), (-1, -1, others[-1])):
        while len(numbers) > _LEAST_ROWS and (numbers[at] - outside) * step < 0:
            if abs(rows[numbers[at]][0].y - rows[numbers[at + step]][0].y) <= 1.4 * usual:
                break
            numbers.pop(at)


def _rows_of_table(
    rows: Sequence[Row], sides: Sequence[Sequence[int]], lines: Sequence[Sequence[Row]]
) -> tuple[int, ...]:
    """The rows at which cells begin on both sides; none if it is no table with cells of several lines."""
    steps = sorted(step for side in sides for step in _steps(rows, side) if step > 0)
    leading = steps[len(steps) // 5]
    begins = [
        {b for (_, b), step in zip(pairwise(side), _steps(rows, side), strict=True) if step > _CELL_GAP * leading}
        for side in sides
    ]
    shared = begins[0] & begins[1]
    if len(shared) < 2 or len(shared) < _CELLS_SHARED * max(map(len, begins)):
        return ()
    # Groups of rows with one line each have as many lines on both sides; cells have not.
    bands = [[sum(first <= number < last for number in side) for side in sides] for first, last in _bands(shared)]
    uneven = sum(left != right for left, right in bands)
    if uneven * 3 < sum(max(band) > 1 for band in bands) or not uneven:
        return ()
    # A line that goes on below is rather full.
    shares: list[float] = []
    for side, texts in zip(sides, lines, strict=True):
        left, right = min(line[0].x0 for line in texts), max(_end(line) for line in texts)
        follows = zip(texts, side[1:], strict=False)
        shares += [(_end(line) - left) / (right - left) for line, below in follows if below not in shared]
    full = sum(share >= _HALF_FULL for share in shares)
    return tuple(sorted(shared)) if full >= _CELLS_SHARED * len(shares) else ()


def _bands(starts: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(first row, row after the last) of what begins at these rows; the last one has no end."""
    ordered = sorted(starts)
    return pairwise([*ordered, ordered[-1] + 10**9])


def _end(line: Row) -> float:
    return max(piece.x1 for piece in line)


def _are_boxes(left: Sequence[Row], right: Sequence[Row]) -> bool:
    """Whether the lines on each side, of several words, are drawn before all of the other: two boxes of a slide."""
    if max(piece.order for line in left for piece in line) > min(piece.order for line in right for piece in line):
        return False
    words = [median(sum(len(piece.text.split()) for piece in line) for line in side) for side in (left, right)]
    return min(words) >= _BOX_WORDS


def _is_prose(lines: Sequence[Row]) -> bool:
    """Whether the lines of a column are prose rather than cells: long, mostly full, and one goes on in the next."""
    texts = [" ".join(piece.text.strip() for piece in line) for line in lines]
    if median(map(len, texts)) < _PROSE_CHARACTERS:
        return False
    ends = [(line[0].x0, _end(line)) for line in lines]
    width = max(x1 for _, x1 in ends) - min(x0 for x0, _ in ends)
    full = sum(x1 - x0 >= _FULL * width for x0, x1 in ends) / len(lines)
    pairs = list(pairwise(texts))
    flows = sum(
        not _SENTENCE_END.search(text) and not after[:1].isupper() and not after[:1].isdigit() for text, after in pairs
    )
    return full >= 0.5 and flows >= 0.3 * len(pairs)
