"""DOCX by python-docx and PPTX by python-pptx, as Markdown: headings, lists and tables in the order of the document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from data.documents.documents import DocumentSettings
from data.documents.readers.archives import checked_archive
from data.documents.readers.extracted import Extracted, Unreadable, first_line, markdown_table

_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
# A text box is in the file twice, the second time for programs that do not support it.
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)


def read_docx(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """The body as Markdown, without page headers and footers, comments and deleted passages."""
    import docx

    archive = checked_archive(raw, settings.max_unpacked_bytes)
    try:
        document = docx.Document(archive)
        text = "\n\n".join(_docx_blocks(document.element.body, document))
        title = document.core_properties.title
    except _broken() as error:
        raise _damaged(error, "DOCX") from None
    # Often left over from a template, so a heading in the text is preferred.
    yield Extracted(text, None if re.search(r"^#+ ", text, re.MULTILINE) else title.strip() or None)


def read_pptx(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """A heading for each slide with its texts, tables and, by setting, the speaker's notes below; slides are pages."""
    import pptx

    archive = checked_archive(raw, settings.max_unpacked_bytes)
    text, starts = "", []
    try:
        deck = pptx.Presentation(archive)
        for number, slide in enumerate(deck.slides, start=1):
            text += "\n\n" if text else ""
            starts.append(len(text))
            text += "\n\n".join(_slide_blocks(slide, number, settings.slide_notes))
    except _broken() as error:
        raise _damaged(error, "PPTX") from None
    yield Extracted(text, pages=tuple(starts))


def _broken() -> tuple[type[Exception], ...]:
    """What the libraries raise on damaged files."""
    from docx.opc.exceptions import OpcError
    from lxml.etree import LxmlError
    from pptx.exc import PythonPptxError

    python = (ValueError, KeyError, TypeError, AttributeError, IndexError, LookupError, RecursionError)
    return (OpcError, PythonPptxError, LxmlError, *python)


def _damaged(error: Exception, kind: str) -> Unreadable:
    return Unreadable(f"damaged {kind} ({first_line(error)}): open and save it again")


def _docx_blocks(parent: Any, document: Any) -> Iterator[str]:
    """Headings, paragraphs, lists (their items on lines of one block) and tables."""
    items: list[str] = []
    for element in _body_elements(parent):
        item = _list_item(element, document) if element.tag == f"{_WORD}p" else ""
        if item:
            items.append(item)
            continue
        if items:
            yield "\n".join(items)
            items = []
        block = _docx_table(element) if element.tag == f"{_WORD}tbl" else _docx_paragraph(element, document)
        if block:
            yield block
    if items:
        yield "\n".join(items)


def _body_elements(parent: Any) -> Iterator[Any]:
    """Paragraphs and tables, those inside content controls and tracked blocks included."""
    for element in parent.iterchildren():
        if element.tag in (f"{_WORD}p", f"{_WORD}tbl"):
            yield element
        elif element.tag in (f"{_WORD}sdt", f"{_WORD}sdtContent", f"{_WORD}ins", f"{_WORD}customXml"):
            yield from _body_elements(element)


def _style(element: Any, document: Any) -> str:
    from docx.text.paragraph import Paragraph

    style = Paragraph(element, document).style
    return (style.name or "") if style is not None else ""


def _docx_paragraph(element: Any, document: Any) -> str:
    text = _docx_text(element)
    style = _style(element, document)
    heading = _HEADING.match(style)
    level = min(int(heading[1]), 6) if heading else 1 if style == "Title" else 0
    return f"{'#' * level} {' '.join(text.split())}" if level and text else text


def _list_item(element: Any, document: Any) -> str:
    """The paragraph as a list item; empty if it is not one."""
    style = _style(element, document)
    numbering = element.find(f"{_WORD}pPr/{_WORD}numPr")
    if _HEADING.match(style) or not (style.startswith("List") or numbering is not None):
        return ""
    text = " ".join(_docx_text(element).split())
    level = numbering.find(f"{_WORD}ilvl") if numbering is not None else None
    depth = min(int(level.get(f"{_WORD}val", "0")), 8) if level is not None else 0
    mark = "1." if style.startswith("List Number") else "-"
    return f"{'  ' * depth}{mark} {text}" if text else ""


def _docx_text(element: Any) -> str:
    """The text below an element, inserted passages included and deleted ones not."""
    parts: list[str] = []
    waiting = [element]
    while waiting:
        node = waiting.pop()
        if node.tag == f"{_WORD}t":
            parts.append(node.text or "")
        elif node.tag == f"{_WORD}tab":
            parts.append("\t")
        elif node.tag in (f"{_WORD}br", f"{_WORD}cr"):
            parts.append("\n")
        elif node.tag == f"{_WORD}noBreakHyphen":
            parts.append("-")
        elif node.tag == f"{_WORD}p" and parts:  # of a cell or a text box
            parts.append("\n")
            waiting.extend(reversed(list(node)))
        elif node.tag not in (_FALLBACK, f"{_WORD}pPr"):
            waiting.extend(reversed(list(node)))
    return "".join(parts).strip()


def _docx_table(table: Any) -> str:
    """A table as Markdown; a nested table is read as the text of its cell."""
    rows = []
    for row in table.iterchildren(f"{_WORD}tr"):
        cells = [element for element in row.iter(f"{_WORD}tc") if _row_of(element) is row]
        rows.append([_docx_text(cell) for cell in cells])
    return markdown_table(rows) if any(any(row) for row in rows) else ""


def _row_of(cell: Any) -> Any:
    parent = cell.getparent()
    while parent.tag != f"{_WORD}tr":  # a content control may be between
        parent = parent.getparent()
    return parent


def _slide_blocks(slide: Any, number: int, notes: bool) -> Iterator[str]:
    title = slide.shapes.title
    heading = " ".join(title.text_frame.text.split()) if title is not None else ""
    yield f"## {heading or f'Slide {number}'}"
    for shape in slide.shapes:
        if title is None or shape.shape_id != title.shape_id:
            yield from _shape_blocks(shape)
    if notes and slide.has_notes_slide and (frame := slide.notes_slide.notes_text_frame) is not None:
        text = frame.text.replace("\v", "\n").strip()
        if text:
            yield f"Notes: {text}"


def _shape_blocks(shape: Any) -> Iterator[str]:
    if hasattr(shape, "shapes"):  # a group; shape_type raises for some kinds
        for inner in shape.shapes:
            yield from _shape_blocks(inner)
    elif getattr(shape, "has_table", False) and shape.has_table:
        yield markdown_table([[cell.text for cell in row.cells] for row in shape.table.rows])
    elif shape.has_text_frame:
        lines = [
            (paragraph.level, paragraph.text.replace("\v", " ").strip()) for paragraph in shape.text_frame.paragraphs
        ]
        lines = [line for line in lines if line[1]]
        if len(lines) == 1:
            yield lines[0][1]
        elif lines:
            yield "\n".join(f"{'  ' * level}- {text}" for level, text in lines)
