"""Rows with their true text: CSV, TSV, JSON lines, JSON, Parquet and XLSX, with and without a text column."""

import csv
import datetime
import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence

from testing.small_files import rezipped
from testing.true_files import TrueFile
from testing.true_texts import FOREIGN, Paragraphs

_HEAD = ("berth", "length", "owner", "remark")
_BERTHS = (
    ("A1", "8.20", "Ines Okafor", "pays in spring"),
    ("A2", "12.00", "Jón Æðarson", 'has a dog, "Skipper"'),
    ("B7", "6.45", "M. Lefèvre", "leaves on 30 September"),
    ("C3", "9.10", "Ågot Øvrebø", ""),
)


def row_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """Files of rows."""
    a, b, c = paragraphs.take(3)
    yield TrueFile("texts.csv", _csv([("id", "text"), ("1", a), ("2", f"{b}\n\n{c}")]), (a, b, c), ("id", "1", "2"))
    a, b = FOREIGN["german"]
    yield TrueFile(
        "texte.csv",
        _csv([("nr", "text"), ("1", a), ("2", b)], ";").decode().encode("cp1252"),
        (a, b),
        ("nr", "1", "2"),
        "semicolons, cp1252",
    )
    cells = (*_HEAD, *(cell for row in _BERTHS for cell in row if cell))
    heads = tuple(part for head in _HEAD for part in (head, f"{head}:"))
    yield TrueFile(
        "berths.csv", _csv([_HEAD, *_BERTHS]), cells, (*heads, ":"), "no text column, a quote, an empty cell"
    )
    yield TrueFile("berths.tsv", _csv([_HEAD, *_BERTHS], "\t"), cells, (*heads, ":"), "no text column, tabs")
    yield TrueFile(
        "havn.csv",
        ("﻿" + _csv([_HEAD, *_BERTHS], ";").decode()).encode(),
        cells,
        (*heads, ":"),
        "no text column, semicolons, a byte order mark",
    )
    yield TrueFile(
        "excel.tsv",
        _csv([_HEAD, *_BERTHS], "\t").decode().encode("utf-16"),
        cells,
        (*heads, ":"),
        "what Excel saves as Unicode text",
    )
    yield TrueFile(
        "excel.csv",
        ("sep=;\r\n" + _csv([_HEAD, *_BERTHS], ";").decode()).encode("cp1252"),
        cells,
        (*heads, ":"),
        "a line that tells Excel the separator, cp1252",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "uneven.csv",
        f'name,note,\n"Ines",{_csv([[a]]).decode().strip()},\n"Tom\nSandhu","{b}"\n'.encode(),
        ("name", "note", "Ines", a, "Tom Sandhu", b),
        ("name:", "note:", "name", "note", ":"),
        "rows of uneven length, a line break in a cell",
    )
    a, b = paragraphs.take(2)
    lines = [{"text": a, "url": "https://example.org"}, {"text": b, "url": None}]
    yield TrueFile("texts.jsonl", "\n".join(map(json.dumps, lines)).encode(), (a, b), ("https://example.org", "url"))
    a, b = FOREIGN["korean"][0], FOREIGN["hindi"][0]
    yield TrueFile(
        "texts.ndjson", "\n".join(json.dumps({"text": t}, ensure_ascii=False) for t in (a, b)).encode(), (a, b)
    )
    a, b = paragraphs.take(2)
    facts = {
        "name": "Kestrel Quay",
        "berths": 24,
        "open": True,
        "rules": [a, {"who": "visitors", "what": b}],
        "note": "tabs\tand “quotes” stay",
    }
    keys = ("name", "berths", "open", "rules", "who", "what", "note", ":", ".", ",", "{", "}", "[", "]", '"', "\\")
    yield TrueFile(
        "quay.json",
        json.dumps(facts, indent=2).encode(),
        ("Kestrel Quay", "24", "true", a, "visitors", b, "tabs and “quotes” stay"),
        (*keys, *(f"{key}:" for key in keys[:7]), *(f'"{key}":' for key in keys[:7])),
        "nested objects, escaped letters",
    )
    a, b = paragraphs.take(2)
    listed = [{"title": "One", "text": a}, {"title": "Two", "text": b}]
    yield TrueFile(
        "list.json",
        json.dumps(listed).encode(),
        (a, b),
        (*keys, "One", "Two", "title", "text", "title:", "text:", '"title":', '"text":', '"title"', '"text"'),
        "a list of objects with texts",
    )
    a, b = paragraphs.take(2)
    yield TrueFile("texts.parquet", _parquet([a, b]), (a, b), ("id", "0", "1"))
    yield _workbook(paragraphs)
    yield _sums(paragraphs)


def _csv(rows: Sequence[Sequence[str]], delimiter: str = ",") -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows(rows)
    return file.getvalue().encode()


def _parquet(texts: Sequence[str]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pa.table({"id": list(range(len(texts))), "text": list(texts)}), file)
    return file.getvalue()


def _workbook(paragraphs: Paragraphs) -> TrueFile:
    """Two sheets: a table with a merged title, a date and a number, and a text; a hidden sheet is not seen."""
    import openpyxl

    a, b = paragraphs.take(2)
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Berths 2026"
    sheet.append(["Berth", "Length", "Paid on"])
    sheet.append(["A1", 8.2, datetime.date(2026, 3, 9)])
    sheet.append(["B7", 12, "not yet"])
    other = book.create_sheet("Rules")
    other["A1"], other["A2"], other["B4"] = "Rule", a, b
    secret = book.create_sheet("Codes")
    secret["A1"] = "the door code is 7741"
    secret.sheet_state = "hidden"
    file = io.BytesIO()
    book.save(file)
    return TrueFile(
        "berths.xlsx",
        file.getvalue(),
        ("Berth", "Length", "Paid on", "A1", "B7", "8.2", "12", "2026-03-09", "not yet", "Rule", a, b),
        (
            "Berths 2026",
            "Rules",
            "Berth:",
            "Length",
            "Length:",
            "Paid on",
            "Paid on:",
            "Rule:",
            "00:00:00",
            "B:",
            ":",
            "Berth",
            "Rule",
            "column B",
            "B",
        ),
        "two sheets, a date, a hidden sheet",
    )


def _sums(paragraphs: Paragraphs) -> TrueFile:
    """A sheet with a title above its table, a sum, a share and a text that is not to become a number."""
    import openpyxl

    a = paragraphs.take()[0]
    book = openpyxl.Workbook()
    sheet = book.active
    sheet["B2"] = "Landings of the quay"
    sheet.merge_cells("B2:D2")
    for row, line in enumerate(
        (("Port", "Tonnes", "Phone"), ("Ostrand", 412, "0049 471"), ("Maidens", 95.5, None)), start=4
    ):
        for column, value in enumerate(line, start=2):
            sheet.cell(row, column).value = value
    sheet["B7"], sheet["C7"] = "Sum", "=SUM(C5:C6)"
    sheet["B9"] = a
    sheet["C9"] = True
    file = io.BytesIO()
    book.save(file)
    raw = rezipped(file.getvalue(), {})
    # A spreadsheet program keeps the value beside the formula.
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        written = archive.read("xl/worksheets/sheet1.xml")
    valued = re.sub(rb"(<f>SUM\(C5:C6\)</f>)<v ?/?>(</v>)?", rb"\1<v>507.5</v>", written)
    assert valued != written
    heads = ("Port", "Tonnes", "Phone", "Landings of the quay")
    return TrueFile(
        "sums.xlsx",
        rezipped(raw, {"xl/worksheets/sheet1.xml": valued}),
        (*heads, "Ostrand", "412", "0049 471", "Maidens", "95.5", "Sum", "507.5", a, "TRUE"),
        ("Sheet", "Sheet1", ":", *heads, "B", "C", "D", "column B", "column C"),
        "a title above the table, a formula with its value, a truth value",
    )
