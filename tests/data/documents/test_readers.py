"""Readers of every format, over files made by real libraries: what is read, in which form, and what is left out."""

import io
import zipfile

import docx
import pptx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from data.documents.documents import DocumentSettings
from data.documents.readers.archives import checked_archive
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart
from data.documents.readers.office import read_docx, read_pptx
from data.documents.readers.pdf import _drop_repeated, read_pdf
from testing.small_files import pdf, rezipped

DEFAULT = DocumentSettings()


def one(items) -> Extracted:
    (item,) = items
    assert isinstance(item, Extracted)
    return item


def saved(document) -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


# PDF

LINES = (
    "The mill by the river grinds the grain of nineteen farms, and has done so",
    "since the spring of 1931. Members pay by the sack; whoever is not a mem-",
    "ber pays half as much again. The well-known wheel was built by the found-",
    "ers, and it is well-known all over the valley for its quiet and its speed.",
    "It rests in March.",
    "The second paragraph begins here and goes on about the boats of the miller",
)


def test_pdf_pages_without_headers_footers_and_broken_words():
    names = ("Ardel", "Brine", "Corvo", "Dunmar")
    pages = [
        [
            "Mill handbook",
            *(line.replace("mill", name) for line in LINES),
            f"Closing words of {name}.",
            f"Page {n} of 4",
        ]
        for n, name in enumerate(names, start=1)
    ]
    item = one(read_pdf(pdf(pages), DEFAULT))
    assert "Mill handbook" not in item.text and "Page 2" not in item.text
    assert item.counts == {"repeated_lines_dropped": 8, "broken_words_joined": 8}
    assert "whoever is not a member pays" in item.text.replace("\n", " ")
    assert "by the founders, and it is well-known" in item.text.replace("\n", " ")
    assert len(item.pages) == 4
    for name, start, end in zip(names, item.pages, [*item.pages[1:], len(item.text)], strict=True):
        assert item.text[start:].startswith(f"The {name} by the river")
        assert f"words of {name}." in item.text[start:end]
    assert "It rests in March.\n\nThe second paragraph" in item.text


def test_a_compound_keeps_its_hyphen_where_the_document_writes_it():
    item = one(read_pdf(pdf([["A well-known wheel, and a well-", "known miller, and a so-", "called boat."]]), DEFAULT))
    assert item.text == "A well-known wheel, and a well-known miller, and a socalled boat."


def test_a_page_that_is_one_line_stays():
    item = one(read_pdf(pdf([["Fact 1"], ["Fact 2"], ["Fact 3"]]), DEFAULT))
    assert item.text.split() == ["Fact", "1", "Fact", "2", "Fact", "3"]
    assert [item.text[start:].split("\n")[0] for start in item.pages] == ["Fact 1", "Fact 2", "Fact 3"]


def test_a_pdf_page_that_cannot_be_read_is_a_fault_and_counted(monkeypatch: pytest.MonkeyPatch):
    from pypdf import PageObject

    extract = PageObject.extract_text

    def breaks(page: PageObject, *args: object) -> str:
        text = extract(page, *args)
        if "Broken" in text:
            raise KeyError("font")
        return text

    monkeypatch.setattr(PageObject, "extract_text", breaks)
    fault, item = read_pdf(pdf([["Text."], ["Broken."], ["More."]]), DEFAULT)
    assert fault == UnreadPart("page 2", "cannot be read ('font')")
    assert item.counts == {"pages_without_text": 1} and "More." in item.text


def test_scanned_pages_are_counted_and_a_scanned_file_is_refused():
    item = one(read_pdf(pdf([["Text."], [], ["More."]]), DEFAULT))
    assert item.counts == {"pages_without_text": 1}
    with pytest.raises(Unreadable, match=r"no text on its 2 pages .* \(OCR\) first"):
        list(read_pdf(pdf([[], []]), DEFAULT))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (pdf([["Secret."]], password="open sesame"), "encrypted: remove the password"),
        (b"%PDF-1.7\nnothing", "damaged PDF"),
        (pdf([["Text."]])[:300], "damaged PDF"),
        (b"", "damaged PDF"),
    ],
)
def test_pdf_that_cannot_be_read(raw, reason):
    with pytest.raises(Unreadable, match=reason) as caught:
        list(read_pdf(raw, DEFAULT))
    assert "\n" not in str(caught.value)


def test_a_pdf_that_only_its_owner_may_change_is_read():
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf([["Open to all."]]))))
    writer.encrypt("", "owner")
    file = io.BytesIO()
    writer.write(file)
    assert one(read_pdf(file.getvalue(), DEFAULT)).text == "Open to all."


def test_pdf_stops_at_the_longest_document():
    settings = DocumentSettings(max_document_characters=100)
    with pytest.raises(Unreadable, match="max_document_characters=100 at page 2"):
        list(read_pdf(pdf([["x" * 70], ["y" * 70]]), settings))


def test_rows_of_numbers_at_the_edges_of_pages_are_no_headers():
    pages = [
        [f"Handbook {n + 1}", f"20{n:02} {3 * n} {n * n + 5}", f"So {'abcdef'[n]}.", f"Page {n + 1} of 6"]
        for n in range(6)
    ]
    assert _drop_repeated(pages) == 12
    assert pages == [[f"20{n:02} {3 * n} {n * n + 5}", f"So {'abcdef'[n]}."] for n in range(6)]


# DOCX and PPTX


def word() -> bytes:
    document = docx.Document()
    document.core_properties.title = "Handbook"
    document.sections[0].header.paragraphs[0].text = "running head"
    document.add_heading("The mill", 0)
    document.add_paragraph("It grinds the grain\tof nineteen farms.")
    document.add_heading("Prices", 2)
    document.add_paragraph("by the sack", style="List Bullet")
    document.add_paragraph("by the hour", style="List Number")
    table = document.add_table(2, 2)
    for cell, text in zip(
        (cell for row in table.rows for cell in row.cells), ["Grain", "Price", "Rye", "3|4"], strict=True
    ):
        cell.text = text
    inserted = parse_xml(f"<w:p {nsdecls('w')}><w:ins><w:r><w:t>Inserted.</w:t></w:r></w:ins></w:p>")
    inserted.append(parse_xml(f"<w:del {nsdecls('w')}><w:r><w:delText>Deleted.</w:delText></w:r></w:del>"))
    control = parse_xml(
        f"<w:sdt {nsdecls('w')}><w:sdtContent><w:p><w:r><w:t>Controlled.</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    )
    document.element.body.insert(-1, inserted)
    document.element.body.insert(-1, control)
    return saved(document)


def test_docx_is_markdown_in_the_order_of_the_body():
    item = one(read_docx(word(), DEFAULT))
    assert item.title is None  # the first heading of the text is better
    assert item.text == (
        "# The mill\n\nIt grinds the grain\tof nineteen farms.\n\n## Prices\n\n- by the sack\n1. by the hour\n\n"
        "| Grain | Price |\n| --- | --- |\n| Rye | 3\\|4 |\n\nInserted.\n\nControlled."
    )


def test_docx_without_headings_has_the_title_of_its_properties():
    document = docx.Document()
    document.core_properties.title = " Handbook "
    document.add_paragraph("It grinds.")
    assert one(read_docx(saved(document), DEFAULT)).title == "Handbook"


def deck() -> bytes:
    presentation = pptx.Presentation()
    for title, lines, notes in (("The mill", ["one line"], "Speak slowly."), ("Prices", ["first", "second"], "")):
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text_frame.text = "\n".join(lines)
        if notes:
            slide.notes_slide.notes_text_frame.text = notes
    table = slide.shapes.add_table(1, 2, 0, 0, 100, 100).table
    table.cell(0, 0).text, table.cell(0, 1).text = "Rye", "3"
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(0, 0, 9, 9).text_frame.text = "grouped"
    return saved(presentation)


def test_pptx_has_a_heading_for_each_slide_and_notes_by_setting():
    item = one(read_pptx(deck(), DEFAULT))
    first = "## The mill\n\none line\n\nNotes: Speak slowly."
    assert item.text == f"{first}\n\n## Prices\n\n- first\n- second\n\n| Rye | 3 |\n| --- | --- |\n\ngrouped"
    assert item.pages == (0, len(first) + 2)
    assert "Speak" not in one(read_pptx(deck(), DocumentSettings(slide_notes=False))).text


BOMB = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><x>&c;</x>'


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "damaged, or not an Office file"),
        (word()[:5000], "damaged, or not an Office file"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "encrypted, or an old Office format"),
        (rezipped(word(), {"word/document.xml": BOMB}), r"word/document\.xml declares XML entities"),
        (rezipped(word(), {"word/document.xml": BOMB.decode().encode("utf-16")}), "declares XML entities"),
        (rezipped(word(), {"word/document.xml": b"<broken"}), "damaged DOCX"),
        (rezipped(word(), {"word/media/bomb.bin": bytes(3_000_000)}), "unpacks to 3,.*max_unpacked_bytes=2,000,000"),
        (deck(), "damaged DOCX .*presentation"),
    ],
)
def test_docx_that_cannot_be_read(raw, reason):
    with pytest.raises(Unreadable, match=reason):
        list(read_docx(raw, DocumentSettings(max_unpacked_bytes=2_000_000)))


def test_an_archive_that_lies_about_its_sizes_is_stopped_while_unpacking():
    honest = rezipped(word(), {"word/media/bomb.bin": bytes(3_000_000)})
    size, lie = (3_000_000).to_bytes(4, "little"), (3_000).to_bytes(4, "little")
    assert honest.count(size) >= 1
    with pytest.raises(Unreadable, match=r"damaged, or not an Office file|unpacks to"):
        list(read_docx(honest.replace(size, lie), DocumentSettings(max_unpacked_bytes=1_000_000)))


def test_nothing_is_unpacked_onto_the_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    traversal = rezipped(word(), {"../../escaped.xml": b"<x/>"})
    assert one(read_docx(traversal, DEFAULT)).text
    assert list(tmp_path.iterdir()) == []
    assert not zipfile.is_zipfile(io.BytesIO(b"no"))


def test_an_archive_of_an_unbounded_kind_is_not_opened():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("word/document.xml", "<w/>")
    with pytest.raises(Unreadable, match="compression method that no Office program uses"):
        checked_archive(content.getvalue(), 1_000_000)
