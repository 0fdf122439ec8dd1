"""Spreadsheets: XLSX by openpyxl and ODS. Each row is a document, by its text column or as lines of "head: value"."""

from __future__ import annotations

import datetime
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from data.documents.documents import DocumentSettings
from data.documents.readers.archives import checked_archive
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart
from data.documents.readers.open_documents import archived_xml, length_of, local_name
from data.documents.readers.records import RECORDS
from data.documents.readers.rows import reads_records, row_documents

Rows = list[tuple[int, list[str]]]  # (number in the sheet, cells)

_HIDDEN = "hidden sheets"
_FORMULAS = "formulas without values"
_MOST_REPEATED = 1_000  # cells or rows that one element of ODS may stand for


def read_xlsx(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """The values of all visible sheets; a formula whose value was not saved is counted."""
    import openpyxl

    archive = checked_archive(raw, settings.max_unpacked_bytes).getvalue()
    shown, written = (
        openpyxl.load_workbook(io.BytesIO(archive), read_only=True, data_only=data_only) for data_only in (True, False)
    )
    left_out: Counter[str] = Counter()
    sheets: list[tuple[str, Rows]] = []
    for values, formulas in zip(shown.worksheets, written.worksheets, strict=True):
        # The size that a sheet declares may be a million empty rows.
        values.reset_dimensions()
        formulas.reset_dimensions()
        rows = list(_xlsx_rows(values, formulas, left_out))
        if values.sheet_state != "visible":
            left_out[_HIDDEN] += sum(len(cell) for _, cells in rows for cell in cells)
        else:
            sheets.append((values.title, rows))
    yield from _workbook(sheets, settings, left_out)


def read_ods(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """The same for OpenDocument."""
    content = archived_xml(raw, settings, "content.xml")
    sheets = [
        (_attribute(table, "name") or "", list(_ods_rows(table)))
        for table in content.iter()
        if local_name(table) == "table" and local_name(table.getparent()) == "spreadsheet"
    ]
    yield from _workbook(sheets, settings, Counter())


def _workbook(
    sheets: Sequence[tuple[str, Rows]], settings: DocumentSettings, left_out: Counter[str]
) -> Iterator[Extracted | UnreadPart]:
    filled = [(name, rows) for name, rows in sheets if any(any(cells) for _, cells in rows)]
    items = [item for name, rows in filled for item in _sheet(name, rows, settings, len(filled) > 1)]
    if not any(isinstance(item, Extracted) for item in items) and not items:
        raise Unreadable("no visible sheet has a filled cell: write its text or remove it")
    first = True
    for item in items:
        if first and isinstance(item, Extracted):
            remarks = (RECORDS,) if any(isinstance(each, Extracted) and "\n" in each.text for each in items) else ()
            item, first = replace(item, left_out=dict(left_out), remarks=remarks), False
        yield item


def _sheet(name: str, rows: Rows, settings: DocumentSettings, titled: bool) -> Iterator[Extracted | UnreadPart]:
    """The documents of a sheet: the lines above its table together, then each row."""
    rows = [(number, cells) for number, cells in rows if any(cells)]
    start = next((place for place, (_, cells) in enumerate(rows) if sum(map(bool, cells)) > 1), len(rows))
    above, table = rows[:start], rows[start:]
    title = name if titled else None
    if above:
        text = "\n".join(cell for _, cells in above for cell in cells if cell)
        yield Extracted(text, title, part=f"{name}!{above[0][0]}")
    if not table:
        return
    width = max(len(cells) for _, cells in table)
    head, *body = [(number, [*cells, *[""] * (width - len(cells))]) for number, cells in table]
    records = reads_records(head[1], settings)
    if not records and settings.text_column not in head[1]:
        reason = f"no column {settings.text_column!r} in its first row: set documents.text_column"
        yield UnreadPart(f"{name}!{head[0]}", reason)
        return
    if not body:
        yield Extracted("\n".join(filter(None, head[1])), title, part=f"{name}!{head[0]}")
    for number, cells in body:
        for item in row_documents(head[1], cells, settings, f"{name}!{number}", records):
            yield replace(item, title=title) if isinstance(item, Extracted) and not item.title else item


def _xlsx_rows(values: Any, formulas: Any, left_out: Counter[str]) -> Iterator[tuple[int, list[str]]]:
    for number, (row, written) in enumerate(zip(values.iter_rows(), formulas.iter_rows(), strict=True), start=1):
        for cell, formula in zip(row, written, strict=False):
            if cell.value is None and formula.value is not None and formula.data_type == "f":
                left_out[_FORMULAS] += len(str(getattr(formula.value, "text", formula.value)))
        if cells := _trimmed(_shown(cell) for cell in row):
            yield number, cells


def _shown(cell: Any) -> str:
    """A value as the sheet shows it, but for numbers, which are exact; percentages are shown as such."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, int | float):
        percent = str(cell.number_format or "").rstrip('"').endswith("%")
        number = f"{value * 100 if percent else value:.15g}"
        return f"{number}%" if percent else number if "e" not in number else str(value)
    return str(value)


def _ods_rows(table: Any) -> Iterator[tuple[int, list[str]]]:
    number = 0
    for row in table.iter():
        if local_name(row) != "table-row":
            continue
        cells: list[str] = []
        for cell in row:
            if local_name(cell) in ("table-cell", "covered-table-cell"):
                lines = [_cell_line(line) for line in cell if local_name(line) == "p"]
                cells += [" ".join(filter(None, lines))] * min(
                    _repeated(cell, "number-columns-repeated"), _MOST_REPEATED
                )
        cells = _trimmed(cells)
        repeated = _repeated(row, "number-rows-repeated")
        for copy in range(min(repeated, _MOST_REPEATED) if cells else 0):
            yield number + copy + 1, cells
        number += repeated


def _cell_line(line: Any) -> str:
    return " ".join("".join(line.itertext()).split()) if length_of(line) else ""


def _trimmed(cells: Iterable[str]) -> list[str]:
    """The cells without empty ones at the end."""
    found = [" ".join(cell.split()) for cell in cells]
    while found and not found[-1]:
        found.pop()
    return found


def _repeated(element: Any, attribute: str) -> int:
    value = _attribute(element, attribute) or "1"
    return int(value) if value.isdecimal() and len(value) < 9 else 1


def _attribute(element: Any, name: str) -> str | None:
    return next((str(value) for key, value in element.attrib.items() if key.rpartition("}")[2] == name), None)
