"""DOCX files made by a real library, and archives that are broken or meant to do harm."""

import io
import zipfile

import docx
import pptx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from data.documents.documents import DocumentSettings
from data.documents.readers.archives import checked_archive
from data.documents.readers.extracted import Unreadable
from data.documents.readers.office import read_docx
from testing.readings import one
from testing.small_files import rezipped
from testing.small_office import saved

DEFAULT = DocumentSettings()


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
    presentation.slides.add_slide(presentation.slide_layouts[1]).shapes.title.text = "The mill"
    return saved(presentation)


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
