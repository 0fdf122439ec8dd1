"""DOCX by python-docx and PPTX by python-pptx, as Markdown: headings, lists and tables in the order of the document."""

from __future__ import annotations

import re
from collections.abc import Iterator

from data.documents.documents import DocumentSettings
from data.documents.readers.archives import checked_archive
from data.documents.readers.extracted import Extracted, Unreadable, first_line


def read_docx(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """The body as Markdown; page headers and footers, comments, hidden and deleted text are left out and counted."""
    import docx

    from data.documents.readers.word import WordDocument

    archive = checked_archive(raw, settings.max_unpacked_bytes)
    try:
        document = docx.Document(archive)
        reader = WordDocument(document)
        text = "\n\n".join(reader.blocks())
        title = document.core_properties.title
        left_out, remarks = reader.left_out(), tuple(reader.remarks())
    except _broken() as error:
        raise _damaged(error, "DOCX") from None
    # Often left over from a template, so a heading in the text is preferred.
    title = None if re.search(r"^#+ ", text, re.MULTILINE) else title.strip() or None
    yield Extracted(text, title, left_out=left_out, remarks=remarks)


def read_pptx(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """A heading for each slide with its texts, tables and, by setting, the speaker's notes below; slides are pages."""
    import pptx

    from data.documents.readers.slides import Slides

    archive = checked_archive(raw, settings.max_unpacked_bytes)
    text, starts = "", []
    try:
        reader = Slides(pptx.Presentation(archive), settings.slide_notes)
        for slide in reader.texts():
            text += "\n\n" if text and slide else ""
            starts.append(len(text))
            text += slide
    except _broken() as error:
        raise _damaged(error, "PPTX") from None
    if reader.hidden and not text:
        raise Unreadable(f"all its {reader.hidden} slides are hidden: show those that are to be read")
    remarks = (f"{reader.hidden} hidden slides are left out",) if reader.hidden else ()
    left_out = {name: count for name, count in reader.left_out.items() if count}
    yield Extracted(text, pages=tuple(starts), left_out=left_out, remarks=remarks)


def _broken() -> tuple[type[Exception], ...]:
    """What the libraries raise on damaged files."""
    from docx.opc.exceptions import OpcError
    from lxml.etree import LxmlError
    from pptx.exc import PythonPptxError

    python = (ValueError, KeyError, TypeError, AttributeError, IndexError, LookupError, RecursionError)
    return (OpcError, PythonPptxError, LxmlError, *python)


def _damaged(error: Exception, kind: str) -> Unreadable:
    return Unreadable(f"damaged {kind} ({first_line(error)}): open and save it again")
