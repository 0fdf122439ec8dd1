"""Readers of JSON, notebooks, spreadsheets, OpenDocument, EPUB, e-mail, RTF and other markups."""

import datetime
import io
import json
import zipfile
from email.message import EmailMessage

import openpyxl
import pytest

from data.documents.documents import DocumentSettings, is_plain
from data.documents.readers.child import ReadingChild
from data.documents.readers.epub import read_epub
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart
from data.documents.readers.json_files import read_json, read_notebook
from data.documents.readers.mail import read_eml
from data.documents.readers.markup import read_asciidoc, read_org, read_rst, read_tex
from data.documents.readers.open_documents import read_odp, read_odt
from data.documents.readers.registry import READERS
from data.documents.readers.rows import read_csv, read_jsonl
from data.documents.readers.rtf import read_rtf
from data.documents.readers.spreadsheets import read_ods, read_xlsx

DEFAULT = DocumentSettings()


def one(items) -> Extracted:
    (item,) = items
    assert isinstance(item, Extracted)
    return item


def texts(items) -> list[tuple[str, str]]:
    return [(item.part, item.text) for item in items]


def archive(files) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return written.getvalue()


# Tables without a text column


@pytest.mark.parametrize("delimiter", ",;\t")
def test_csv_rows_without_a_text_column_are_lines(delimiter):
    raw = 'Item,Price,Note\nRye,"3","fresh,\nground"\nOats,,\n'.replace(",", delimiter).replace(f"fresh{delimiter}", "fresh,")
    first, second = read_csv(raw.encode(), DEFAULT)
    assert (first.part, first.text) == ("1", "Item: Rye\nPrice: 3\nNote: fresh, ground")
    assert (second.part, second.text) == ("2", "Item: Oats")
    assert "there is no text column" in first.remarks[0] and not second.remarks


def test_csv_records_have_titles_and_faults_as_other_rows():
    raw = b"name,price\nRye,3\nragged\nOats,4\n"
    first, fault, last = read_csv(raw, DocumentSettings(title_column="name"))
    assert (first.title, last.title, last.text) == ("Rye", "Oats", "name: Oats\nprice: 4")
    assert isinstance(fault, UnreadPart)
    with pytest.raises(Unreadable, match=r"no column 'body' \(it has 'name', 'price'\)"):
        list(read_csv(raw, DocumentSettings(text_column="body")))
    with pytest.raises(Unreadable, match=r"no column 'text'"):
        list(read_csv(b"", DEFAULT))


def test_the_delimiter_of_records_is_the_one_that_fits_the_rows():
    raw = b"Name; Ort, Land\nNora; Ostrand, Norge\nBo; Brine\n"
    assert texts(read_csv(raw, DEFAULT)) == [
        ("1", "Name: Nora\nOrt, Land: Ostrand, Norge"),
        ("2", "Name: Bo\nOrt, Land: Brine"),
    ]


# JSON


def test_json_list_of_objects_is_rows():
    assert texts(read_json(json.dumps([{"text": "A."}, {"text": "B."}]).encode(), DEFAULT)) == [("1", "A."), ("2", "B.")]
    rows = [{"name": "Rye", "price": {"small": 1.5, "tags": ["a", "b"]}, "gone": None}, {"name": "Oats", "open": True}]
    first, second = read_json(json.dumps(rows).encode(), DEFAULT)
    assert first.text == "name: Rye\nprice.small: 1.5\nprice.tags: a, b" and second.text == "name: Oats\nopen: true"
    assert "there is no text column" in first.remarks[0]


def test_other_json_is_one_document():
    value = {"mill": {"keeper": "Nora", "hours": [{"day": "Mon", "from": "10"}, {"day": "Tue"}]}, "fee": 38}
    item = one(read_json(json.dumps(value).encode(), DEFAULT))
    assert item.text == "mill.keeper: Nora\n\nmill.hours.day: Mon\nmill.hours.from: 10\n\nmill.hours.day: Tue\nfee: 38"
    assert one(read_json(b'{"text": "A.", "x": 1}', DEFAULT)).text == "A."
    assert one(read_json(b'["a", 1.10, {"b": 2}]', DEFAULT)).text == "a\n1.10\n\nb: 2"
    assert one(read_json(b'"alone"', DEFAULT)).text == "alone"
    assert texts(read_json(b'{"text": "A."}\n{"text": "B."}\n', DEFAULT)) == [("1", "A."), ("2", "B.")]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{broken", "invalid JSON .* line 1, column 2"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"9" * 5_000 + b"]", "number too long"),
        (json.dumps({"k" * 1000: {"l" * 1000: ["x" * 10, {"m": 1}] * 3_000}}).encode(), "max_document_characters"),
    ],
)
def test_json_that_cannot_be_read(raw, reason):
    with pytest.raises(Unreadable, match=reason):
        list(read_json(raw, DEFAULT))


def test_json_lines_without_any_text_are_records():
    items = list(read_jsonl(b'{"a": 1}\nbroken\n{"a": 2, "b": "x"}\n', DEFAULT))
    assert (items[0].text, items[2].text, items[2].part) == ("a: 1", "a: 2\nb: x", "3")
    assert isinstance(items[1], UnreadPart)


def notebook(*cells) -> bytes:
    return json.dumps({"cells": list(cells), "nbformat": 4}).encode()


def test_a_notebook_is_its_cells_and_text_outputs():
    code = {
        "cell_type": "code",
        "source": ["x = 1  # one\n", "print(x)"],
        "outputs": [
            {"output_type": "stream", "text": ["\x1b[31m1\x1b[0m\n"]},
            {"output_type": "execute_result", "data": {"text/plain": "42", "text/html": "<b>42</b>"}},
            {"output_type": "display_data", "data": {"text/plain": "<IPython.core.display.HTML object>",
                                                     "text/html": "<table><tr><th>A</th><td>1</td></tr></table>"}},
            {"output_type": "display_data", "data": {"image/png": "AAAA"}},
            {"output_type": "error", "ename": "ValueError", "evalue": "bad", "traceback": ["abc"]},
        ],
    }  # fmt: skip
    item = one(read_notebook(notebook({"cell_type": "markdown", "source": "# A\n\nText.<!-- no -->"}, code), DEFAULT))
    assert item.text == (
        "# A\n\nText.\n\n```\nx = 1  # one\nprint(x)\n```\n\n```\n1\n```\n\n```\n42\n```\n\n"
        "| A | 1 |\n| --- | --- |\n\n```\nValueError: bad\n```"
    )
    assert item.left_out == {"comments": 2, "tracebacks": 3}
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": "y", "outputs": [{"text": "2"}]}]}]}
    assert one(read_notebook(json.dumps(old).encode(), DEFAULT)).text == "```\ny\n```\n\n```\n2\n```"
    with pytest.raises(Unreadable, match="not a Jupyter notebook"):
        list(read_notebook(b'{"a": 1}', DEFAULT))


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
    bomb = archive({"xl/workbook.xml": b'<!DOCTYPE x [<!ENTITY a "b">]><x/>'})
    with pytest.raises(Unreadable, match="declares XML entities"):
        list(read_xlsx(bomb, DEFAULT))
    with pytest.raises(Unreadable, match="unpacks to"):
        list(read_xlsx(archive({"xl/big.bin": bytes(2_000_000)}), DocumentSettings(max_unpacked_bytes=1_000_000)))


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
    return archive({"content.xml": content, "styles.xml": margins, "meta.xml": meta})


ODT = (
    "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"
    '<text:h text:outline-level="2">The  mill</text:h>'
    '<text:p>It<text:s text:c="2"/>grinds<text:note><text:note-citation>1</text:note-citation><text:note-body>'
    "<text:p>Since 1931.</text:p></text:note-body></text:note> rye.<text:line-break/>Daily "
    "<office:annotation><text:p>ask Bo</text:p></office:annotation><text:span>and <text:a>well</text:a></text:span>"
    '<text:span text:style-name="H">hush</text:span>.</text:p>'
    '<text:list text:style-name="L"><text:list-item><text:p>one</text:p><text:list><text:list-item><text:p>deep</text:p>'
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


@pytest.mark.parametrize(("reader", "reason"), [(read_odt, "no content.xml"), (read_epub, "META-INF/container.xml")])
def test_archives_of_something_else_are_refused(reader, reason):
    with pytest.raises(Unreadable, match=reason):
        list(reader(archive({"x": b"y"}), DEFAULT))
    with pytest.raises(Unreadable, match="damaged"):
        list(reader(b"no archive", DEFAULT))
    bomb = b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>'
    with pytest.raises(Unreadable, match="declares XML entities"):
        list(reader(archive({"content.xml": bomb, "META-INF/container.xml": bomb}), DEFAULT))


# EPUB


def book(**changes) -> bytes:
    xhtml = (
        '<?xml version="1.0"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head>'
        "<body>{}</body></html>"
    )
    files = {
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="O/c.opf"/></rootfiles></container>',
        "O/c.opf": (
            '<package xmlns:dc="x"><metadata><dc:title>The Mill</dc:title></metadata><manifest>'
            '<item id="b" href="two%20b.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="n" href="nav.xhtml" media-type="application/xhtml+xml"/>'
            '<item id="i" href="i.png" media-type="image/png"/></manifest>'
            '<spine><itemref idref="n"/><itemref idref="a"/><itemref idref="b"/><itemref idref="i"/></spine></package>'
        ),
        "O/a.xhtml": xhtml.format("<h1>One</h1><p>It&nbsp;turns.<script src='x'/></p>"),
        "O/two b.xhtml": xhtml.format("<h1>Two</h1><p>It <i>rests</i>.</p>"),
        "O/nav.xhtml": xhtml.format('<nav><a href="a.xhtml">One</a></nav>'),
        **changes,
    }
    return archive({name: content for name, content in files.items() if content is not None})


def test_epub_is_its_chapters_in_order():
    item = one(read_epub(book(), DEFAULT))
    assert (item.text, item.title) == ("# One\n\nIt turns.\n\n# Two\n\nIt rests.", "The Mill")
    assert item.left_out == {"tables of contents": 3}
    missing = one(read_epub(book(**{"O/a.xhtml": None}), DEFAULT))
    assert missing.text == "# Two\n\nIt rests." and missing.remarks == ("1 chapters are named and missing",)
    locked = '<encryption><CipherReference URI="O/a.xhtml"/></encryption>'
    with pytest.raises(Unreadable, match="DRM"):
        list(read_epub(book(**{"META-INF/encryption.xml": locked}), DEFAULT))


# E-mail


def message(**headers) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"] = "Nora Vik <nora@example.org>", "mill@example.org"
    made["Subject"] = headers.get("subject", "Schlüssel")
    made.set_content("The key is at Bo’s.\n")
    return made


def test_eml_is_its_headers_and_body():
    made = message()
    made.add_alternative("<p>The key is at <b>Bo’s</b>.</p>", subtype="html")
    made.add_attachment(b"12345", maintype="application", subtype="pdf", filename="prices.pdf")
    inner = message(subject="Older")
    made.add_attachment(inner)
    item = one(read_eml(bytes(made), DEFAULT))
    head = "From: Nora Vik <nora@example.org>\nTo: mill@example.org\nSubject: {}\n\nThe key is at Bo’s."
    assert item.text == f"{head.format('Schlüssel')}\n\n{head.format('Older')}"
    assert (item.title, item.left_out) == ("Schlüssel", {"attachment prices.pdf": 5})


def test_eml_of_html_only_or_in_an_old_encoding():
    made = EmailMessage()
    made["Subject"] = "x"
    made.set_content("<h1>A</h1><p>“Rye” – 3 €</p>", subtype="html", charset="utf-8")
    assert one(read_eml(bytes(made), DEFAULT)).text == "Subject: x\n\n# A\n\n“Rye” – 3 €"
    raw = b"Subject: y\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: 8bit\n\n\x93Rye\x94 4 \x80"
    assert one(read_eml(raw, DEFAULT)).text == "Subject: y\n\n“Rye” 4 €"
    stub = message()
    stub.add_alternative("<p>" + "The real text is here. " * 20 + "</p>", subtype="html")
    assert "real text" in one(read_eml(bytes(stub), DEFAULT)).text
    with pytest.raises(Unreadable, match="not an e-mail"):
        list(read_eml(b"just text", DEFAULT))


def test_eml_within_eml_without_end_is_refused():
    made = message()
    for _ in range(25):
        outer = message()
        outer.add_attachment(made)
        made = outer
    with pytest.raises(Unreadable, match="messages within one another"):
        list(read_eml(bytes(made), DEFAULT))


# Texts


def test_rtf_is_its_text():
    raw = rb"{\rtf1\ansi\ansicpg1252 {\b The mill} costs \'80 4.\par It\'92s caf\u233? old.}"
    assert one(read_rtf(raw, DEFAULT)).text.strip() == "The mill costs € 4.\nIt’s café old."
    with pytest.raises(Unreadable, match="not RTF"):
        list(read_rtf(b"text", DEFAULT))


@pytest.mark.parametrize(
    ("reader", "text", "read", "left_out"),
    [
        (read_asciidoc, "= Mill\n\n// draft\nText // not\n\n== Fee\n----\n# x\n// y\n----\n\n////\nold\n////\nEnd",
         "# Mill\n\nText // not\n\n## Fee\n```\n# x\n// y\n```\n\nEnd", 8),
        (read_org, "* Mill\n# draft\nText\n#+begin_src sh\n# x\n#+end_src\n** Fee\n#+BEGIN_COMMENT\nold\n#+END_COMMENT\n- a",
         "# Mill\nText\n```\n# x\n```\n## Fee\n- a", 8),
        (read_rst, "====\nMill\n====\n\n.. a draft\n   goes on\n\nText\n\nFee\n---\n\n.. note:: kept\n\n.. _mark:\n\nSo::\n\n   # x\n\nEnd",
         "# Mill\n\n\nText\n\n## Fee\n\n.. note:: kept\n\n.. _mark:\n\nSo::\n\n```\n   # x\n```\n\nEnd", 15),
        (read_tex, "% draft\n\\section{Fee}\n38\\% more % why\n\\begin{verbatim}\n% x\n\\end{verbatim}\n\\begin{comment}\nold\n\\end{comment}\nEnd",
         "## Fee\n38\\% more\n\\begin{verbatim}\n```\n% x\n```\n\\end{verbatim}\nEnd", 11),
    ],
)  # fmt: skip
def test_other_markups_have_headings_listings_and_no_comments(reader, text, read, left_out):
    item = one(reader(text.encode(), DEFAULT))
    assert item.text == read
    assert item.left_out == {"comments": left_out}


def test_a_child_gives_back_what_a_reader_gives():
    files = {
        ".ipynb": notebook({"cell_type": "markdown", "source": "A.<!-- b -->"}),
        ".xlsx": workbook(),
        ".odt": opendocument("text", ODT, STYLES),
        ".epub": book(),
        ".eml": bytes(message()),
        ".rtf": rb"{\rtf1 A.}",
        ".html": b"<p>A.</p><!-- b -->",
    }
    with ReadingChild() as child:
        for suffix, raw in files.items():
            assert child.read(suffix, raw, DEFAULT, list) == list(READERS[suffix](raw, DEFAULT)), suffix


def test_every_suffix_has_a_reader_and_plain_text_is_plain():
    for suffix in ".ipynb .rst .adoc .org .tex .mdx .log .json .xlsx .epub .eml .odt .rtf".split():
        assert suffix in READERS
    assert is_plain("a.log") and is_plain("a.RTF") and not is_plain("a.rst")
