"""Spreadsheets and OpenDocument."""

import datetime
import io

import openpyxl
import pytest

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Unreadable, UnreadPart
from data.documents.readers.open_documents import read_odp, read_odt
from data.documents.readers.spreadsheets import read_ods, read_xlsx
from testing.readings import one, texts
from testing.small_files import zipped

DEFAULT = DocumentSettings()


# Spreadsheets


def workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Prices"
    for row in (
        ["Price list 2026"],
        [],
        ["Grain", "Price", "Share", "Since", None],
        ["Rye", 3.5, 0.19, datetime.datetime(2026, 3, 1), None],
        ["Oats", 4, None, datetime.time(9, 30), "fresh"],
        [None, "=B4*2"],
    ):
        sheet.append(row)
    sheet["C4"].number_format = "0%"
    hidden = book.create_sheet("Draft")
    hidden.append(["secret", "x"])
    hidden.sheet_state = "hidden"
    written = io.BytesIO()
    book.save(written)
    return written.getvalue()


def test_xlsx_rows_are_documents():
    items = list(read_xlsx(workbook(), DEFAULT))
    assert texts(items) == [
        ("Prices!1", "Price list 2026"),
        ("Prices!4", "Grain: Rye\nPrice: 3.5\nShare: 19%\nSince: 2026-03-01"),
        ("Prices!5", "Grain: Oats\nPrice: 4\nSince: 09:30:00\nfresh"),
    ]
    assert items[0].left_out == {"hidden sheets": 7, "formulas without values": 5}
    assert "there is no text column" in items[0].remarks[0]


def test_xlsx_with_a_text_column_and_two_sheets():
    book = openpyxl.Workbook()
    for sheet in (book.active, book.create_sheet("More")):
        sheet.append(["id", "text"])
        sheet.append([1, f"From {sheet.title}."])
    written = io.BytesIO()
    book.save(written)
    items = list(read_xlsx(written.getvalue(), DEFAULT))
    assert texts(items) == [("Sheet!2", "From Sheet."), ("More!2", "From More.")]
    assert [item.title for item in items] == ["Sheet", "More"] and not items[0].remarks
    (fault, _) = read_xlsx(written.getvalue(), DocumentSettings(text_column="body"))
    assert isinstance(fault, UnreadPart) and "no column 'body'" in fault.reason


def test_an_xlsx_that_is_empty_or_a_bomb_is_refused():
    written = io.BytesIO()
    openpyxl.Workbook().save(written)
    with pytest.raises(Unreadable, match="no visible sheet has a filled cell"):
        list(read_xlsx(written.getvalue(), DEFAULT))
    bomb = zipped({"xl/workbook.xml": b'<!DOCTYPE x [<!ENTITY a "b">]><x/>'})
    with pytest.raises(Unreadable, match="declares XML entities"):
        list(read_xlsx(bomb, DEFAULT))
    with pytest.raises(Unreadable, match="unpacks to"):
        list(read_xlsx(zipped({"xl/big.bin": bytes(2_000_000)}), DocumentSettings(max_unpacked_bytes=1_000_000)))


# OpenDocument

NAMES = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0" '
    'xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0" '
    'xmlns:presentation="urn:oasis:names:tc:opendocument:xmlns:presentation:1.0" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/"'
)


def opendocument(kind: str, body: str, styles: str = "") -> bytes:
    content = (
        f"<office:document-content {NAMES}><office:automatic-styles>{styles}</office:automatic-styles>"
        f"<office:body><office:{kind}>{body}</office:{kind}></office:body></office:document-content>"
    )
    margins = f"<office:x {NAMES}><style:header><text:p>running head</text:p></style:header></office:x>"
    meta = f"<office:x {NAMES}><dc:title> Handbook </dc:title></office:x>"
    return zipped({"content.xml": content, "styles.xml": margins, "meta.xml": meta})


ODT = (
    "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"
    '<text:h text:outline-level="2">The  mill</text:h>'
    '<text:p>It<text:s text:c="2"/>grinds<text:note><text:note-citation>1</text:note-citation><text:note-body>'
    "<text:p>Since 1931.</text:p></text:note-body></text:note> rye.<text:line-break/>Daily "
    "<office:annotation><text:p>ask Bo</text:p></office:annotation><text:span>and <text:a>well</text:a></text:span>"
    '<text:span text:style-name="H">hush</text:span>.</text:p>'
    '<text:list text:style-name="L"><text:list-item><text:p>one</text:p><text:list><text:list-item>'
    "<text:p>deep</text:p>"
    "</text:list-item></text:list></text:list-item><text:list-item><text:p>two</text:p></text:list-item></text:list>"
    "<table:table><table:table-row><table:table-cell><text:p>Rye</text:p></table:table-cell><table:table-cell>"
    "<text:p>3</text:p><text:p>4</text:p></table:table-cell></table:table-row></table:table>"
    "<text:section><text:p><draw:frame><draw:text-box><text:p>Boxed.</text:p></draw:text-box></draw:frame></text:p>"
    "</text:section>"
)
STYLES = (
    '<text:list-style style:name="L"><text:list-level-style-number text:level="1"/></text:list-style>'
    '<style:style style:name="H"><style:text-properties text:display="none"/></style:style>'
)


def test_odt_is_markdown():
    item = one(read_odt(opendocument("text", ODT, STYLES), DEFAULT))
    assert item.text == (
        "## The mill\n\nIt  grinds[^1] rye.\nDaily and well.\n\n[^1]: Since 1931.\n\n1. one\n  - deep\n2. two\n\n"
        "| Rye | 3; 4 |\n| --- | --- |\n\nBoxed."
    )
    assert item.title == "Handbook"
    assert item.left_out == {"deleted text": 4, "comments": 6, "hidden text": 4, "page headers and footers": 12}


def test_ods_rows_are_documents():
    row = "<table:table-row{}>{}</table:table-row>"
    cell = "<table:table-cell{}><text:p>{}</text:p></table:table-cell>"
    empty = '<table:table-cell table:number-columns-repeated="16000"/>'
    body = (
        '<table:table table:name="A">'
        + row.format("", cell.format("", "Grain") + cell.format("", "Price") + empty)
        + row.format(' table:number-rows-repeated="3"', empty)
        + row.format("", cell.format(' table:number-columns-repeated="2"', "7"))
        + row.format(' table:number-rows-repeated="1000000"', empty)
        + "</table:table>"
    )
    assert texts(read_ods(opendocument("spreadsheet", body), DEFAULT)) == [("A!5", "Grain: 7\nPrice: 7")]


def test_odp_has_a_heading_for_each_slide():
    box = "<draw:frame{}><draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame>"
    notes = f"<presentation:notes>{box.format('', 'Speak slowly.')}</presentation:notes>"
    title = box.format(' presentation:class="title"', "The mill")
    body = (
        f"<draw:page>{box.format('', 'First.')}{title}{notes}</draw:page>"
        f"<draw:page>{box.format('', 'Second.')}</draw:page>"
    )
    item = one(read_odp(opendocument("presentation", body), DEFAULT))
    assert item.text == "## The mill\n\nFirst.\n\nNotes: Speak slowly.\n\n## Slide 2\n\nSecond."
    assert item.pages == (0, item.text.index("## Slide 2"))
    quiet = one(read_odp(opendocument("presentation", body), DocumentSettings(slide_notes=False)))
    assert "Speak" not in quiet.text and quiet.left_out == {"notes": 13}
