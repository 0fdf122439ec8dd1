"""A table of a web page as Markdown, with its spans."""

from __future__ import annotations

from dataclasses import dataclass, field

from data.documents.readers.extracted import markdown_table


@dataclass(slots=True)
class Table:
    """The cells of a table that is read as one: (text, columns, rows) each, by row."""

    rows: list[list[tuple[str, int, int]]] = field(default_factory=list)
    last_rows: list[list[tuple[str, int, int]]] = field(default_factory=list)  # a foot may stand before the body
    in_foot: bool = False


def table_text(rows: list[list[tuple[str, int, int]]]) -> str:
    """A Markdown table; cells that span others are followed by empty ones."""
    if not any(text for row in rows for text, _, _ in row):
        return ""
    cells = sum(map(len, rows))
    most = 20 * cells + 1_000  # cells in all, whatever the attributes say
    widest = max(sum(columns for _, columns, _ in row) for row in rows)
    spanned = sum(columns * min(height, len(rows)) for row in rows for _, columns, height in row)
    if widest * len(rows) <= most and spanned <= most:
        return markdown_table(_grid(rows))
    head, *rest = [markdown_table([[text for text, _, _ in row]]).split("\n") for row in rows if row]
    return "\n".join([*head, *(lines[0] for lines in rest)])


def _grid(rows: list[list[tuple[str, int, int]]]) -> list[list[str]]:
    """The rows with an empty cell wherever a cell spans another place; without empty rows."""
    grid: list[list[str]] = []
    spans: dict[int, int] = {}  # column -> rows that a cell above still covers
    for row in rows:
        line: list[str] = []
        below: dict[int, int] = {}
        for text, columns, height in row:
            while len(line) in spans:
                below[len(line)] = spans.pop(len(line)) - 1
                line.append("")
            below.update((column, height - 1) for column in range(len(line), len(line) + columns))
            line += [text, *[""] * (columns - 1)]
        below.update((column, height - 1) for column, height in spans.items() if column >= len(line))
        spans = {column: height for column, height in below.items() if height > 0}
        if any(line):
            grid.append(line)
    return grid
