"""The rarer suffixes of a format: sheets with macros, and OpenDocument's sheets and slides."""

import io
import zipfile
from collections.abc import Iterator

from testing.small_files import rezipped
from testing.true_files import TrueFile
from testing.true_others import opendocument
from testing.true_slides import LABELS
from testing.true_texts import Paragraphs

_SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
_MACROS = "application/vnd.ms-{}.macroEnabled.main+xml"


def variant_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """Files of the rarer suffixes."""
    import openpyxl

    (text,) = paragraphs.take()
    book = openpyxl.Workbook()
    book.active.append(["Port", "Note"])
    book.active.append(["Ostrand", text])
    file = io.BytesIO()
    book.save(file)
    yield TrueFile(
        "variant.xlsm",
        _renamed(file.getvalue(), _SHEET, _MACROS.format("excel.sheet")),
        ("Port", "Note", "Ostrand", text),
        ("Sheet", "Port", "Note", "Port:", "Note:", ":"),
    )
    a, b = paragraphs.take(2)
    yield TrueFile("variant.text", f"{a}\n\n{b}\n".encode(), (a, b))
    a, b = paragraphs.take(2)
    yield TrueFile("variant.asciidoc", f"= Title\n\n{a}\n\n// gone: code 7741\n{b}\n".encode(), ("Title", a, b), ("=",))
    yield from _open_documents(paragraphs)


def _open_documents(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    (text,) = paragraphs.take()
    cell = '<table:table-cell office:value-type="string"><text:p>{}</text:p></table:table-cell>'
    number = '<table:table-cell office:value-type="float" office:value="{0}"><text:p>{0}</text:p></table:table-cell>'
    empty = '<table:table-cell table:number-columns-repeated="1000"/>'
    rows = "".join(
        f"<table:table-row>{row}{empty}</table:table-row>"
        for row in (
            cell.format("Port") + cell.format("Tonnes"),
            cell.format("Ostrand") + number.format("412"),
            cell.format(text) + number.format("95.5"),
        )
    )
    sheet = f'<office:spreadsheet><table:table table:name="Landings">{rows}</table:table></office:spreadsheet>'
    yield TrueFile(
        "variant.ods",
        opendocument("spreadsheet", sheet),
        ("Port", "Tonnes", "Ostrand", "412", text, "95.5"),
        ("Landings", "Port", "Tonnes", "Port:", "Tonnes:", ":"),
        "a thousand empty cells behind each row",
    )
    (text,) = paragraphs.take()
    box = "<draw:frame><draw:text-box><text:p>{}</text:p></draw:text-box></draw:frame>"
    notes = f"<presentation:notes>{box.format('Speak slowly of the mill.')}</presentation:notes>"
    page = f'<draw:page draw:name="page1">{box.format("A slide")}{box.format(text)}{notes}</draw:page>'
    yield TrueFile(
        "variant.odp",
        opendocument("presentation", f"<office:presentation>{page}</office:presentation>"),
        ("A slide", text, "Speak slowly of the mill."),
        (*LABELS, "page1"),
        "slides of OpenDocument with notes",
    )


def _renamed(archive: bytes, old: str, kind: str) -> bytes:
    """The file with another type of its main part."""
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        types = source.read("[Content_Types].xml")
    assert old.encode() in types
    return rezipped(archive, {"[Content_Types].xml": types.replace(old.encode(), kind.encode())})
