"""The lines of a PDF page from its pieces of text: rows, columns, superscripts and subscripts, by geometry.

A PDF places pieces of text anywhere and in any order. What belongs to a line is decided by baselines; columns are read
one after the other, tables row by row (`pdf_columns`).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from data.documents.readers.pdf_columns import COLUMN_GAP, find_columns
from data.documents.readers.pdf_pieces import Line, Piece
from data.documents.readers.scripts import script
from data.text.words import UNSPACED

_SAME_ROW = 0.35  # of the size: baselines that differ by less
_WORD_GAP = 0.15  # of the size
_DEPTH = 12  # columns within columns
_SCRIPT_SIZE = 0.85  # of the size of the text beside it, at most
_SCRIPT_LENGTH = 12
_INITIAL = 1.8  # of the size of the text beside it, at least
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_UNSPACED = re.compile(f"[{UNSPACED}\u3000-\u303f\uff00-\uff65]")


def lines_of_page(pieces: Sequence[Piece]) -> list[Line]:
    """The lines in reading order."""
    printed = [piece for piece in pieces if piece.text.strip()]
    return [line for line in _ordered(_with_scripts(_with_initials(printed)), _DEPTH) if line.text]


def _ordered(pieces: Sequence[Piece], depth: int) -> list[Line]:
    rows = _rows(pieces)
    split = find_columns(rows) if depth else None
    if split is None:
        lines = [_line(row) for row in rows]
        return [replace(line, begins=True) for line in lines[:1]] + lines[1:]
    before, after = ([p for row in part for p in row] for part in (rows[: split.first], rows[split.last :]))
    lines = _ordered(before, depth - 1) if before else []
    for number, (first, last) in enumerate(pairwise((split.first, *split.breaks, split.last))):
        columns = split.columns([p for row in rows[first:last] for p in row])
        if _is_right_to_left([piece for column in columns for piece in column]):
            columns.reverse()
        if split.breaks:
            cells = [_joined(_ordered(column, 0)) for column in columns if column]
            lines.append(replace(_joined(cells), begins=not number))
        else:
            lines += [line for column in columns if column for line in _ordered(column, depth - 1)]
    return lines + (_ordered(after, depth - 1) if after else [])


def _joined(lines: Sequence[Line]) -> Line:
    """The lines of a cell, or the cells of a table's row, as one."""
    text = "\n".join(line.text for line in lines)
    text = re.sub("(?<=\\w)[-\u00ad]\n(?=[^\\W\\d_])", "-", text)
    return replace(lines[0], text=" ".join(text.split()), x1=max(line.x1 for line in lines))


def _rows(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces with about the same baseline, from top to bottom, each row from left to right."""
    rows: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: (piece.y, piece.x0)):
        if rows and piece.y - rows[-1][0].y <= _SAME_ROW * min(piece.size, rows[-1][0].size):
            rows[-1].append(piece)
        else:
            rows.append([piece])
    for row in rows:
        row.sort(key=lambda piece: piece.x0)
    return rows


def _line(row: Sequence[Piece]) -> Line:
    if _is_right_to_left(row):
        row = sorted(row, key=lambda piece: -piece.x1)
    text = ""
    before: Piece | None = None
    for piece in row:
        if before is not None:
            if piece.text == before.text and abs(piece.x0 - before.x0) < _WORD_GAP * piece.size:
                continue  # printed twice, to look bold
            gap = max(piece.x0 - before.x1, before.x0 - piece.x1)
            tight = gap < _WORD_GAP * min(piece.size, before.size)
            if not tight and gap < COLUMN_GAP * piece.size:
                tight = bool(_UNSPACED.match(text[-1]) and _UNSPACED.match(piece.text))
            text += "" if tight else " "
        text += piece.text
        before = piece
    size = max(row, key=lambda piece: len(piece.text)).size
    return Line(" ".join(text.split()), min(piece.x0 for piece in row), max(piece.x1 for piece in row), row[0].y, size)


def _is_right_to_left(pieces: Sequence[Piece]) -> bool:
    found = sum(len(_RIGHT_TO_LEFT.findall(piece.text)) for piece in pieces)
    return found > 0 and found * 2 > sum(sum(map(str.isalpha, piece.text)) for piece in pieces)


def _with_initials(pieces: Sequence[Piece]) -> list[Piece]:
    """A large first letter of a paragraph, as high as two or more lines, is put before the first of them."""
    placed = list(pieces)
    for initial in pieces:
        if len(initial.text.strip()) != 1 or not initial.text.strip().isalpha():
            continue
        beside = [
            piece
            for piece in placed
            if piece.size * _INITIAL <= initial.size
            and -0.1 * initial.size < piece.x0 - initial.x1 < piece.size
            and initial.y - initial.size < piece.y < initial.y - 0.5 * piece.size
        ]
        if beside:
            first = min(beside, key=lambda piece: piece.y)
            placed[placed.index(first)] = replace(first, text=initial.text.strip() + first.text, x0=initial.x0)
            placed.remove(initial)
    return placed


def _with_scripts(pieces: Sequence[Piece]) -> list[Piece]:
    """Raised and lowered pieces beside larger ones are put on their baseline and marked: 10⁶, H₂O, x^(a b)."""
    ordered = sorted(pieces, key=lambda piece: piece.y)
    heights = [piece.y for piece in ordered]
    placed: list[Piece] = []
    for piece in ordered:
        host = None
        if len(piece.text.strip()) <= _SCRIPT_LENGTH:
            reach = 2.5 * piece.size
            near = ordered[bisect_left(heights, piece.y - reach) : bisect_right(heights, piece.y + reach)]
            host = next((other for other in near if other is not piece and _is_script(piece, other)), None)
        if host is None:
            placed.append(piece)
        else:
            text = script(piece.text.strip(), raised=piece.y < host.y, base=host.text)
            placed.append(replace(piece, text=text, y=host.y, size=host.size))
    return placed


def _is_script(piece: Piece, host: Piece) -> bool:
    """Whether `piece` is raised or lowered beside `host`: smaller, on another baseline, and without a gap."""
    rise = (host.y - piece.y) / host.size
    if not (0.12 <= rise <= 0.75 or -0.45 <= rise <= -0.06):
        return False
    if piece.size > _SCRIPT_SIZE * host.size and not (
        piece.size <= host.size and 0.2 <= abs(rise) <= 0.5 and re.fullmatch(r"\W?\d{1,4}", piece.text.strip())
    ):
        return False
    behind, before = piece.x0 - host.x1, host.x0 - piece.x1
    if host.text.endswith(" "):
        behind = max(behind, 0.2 * host.size)
    return -0.2 * host.size <= behind <= 0.18 * host.size or -0.1 * host.size <= before <= 0.1 * host.size
