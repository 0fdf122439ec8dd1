"""Pages of a PDF by PDFium: their pieces of text with positions, form fields, and the text of comments.

PDFium gives each character with its box, its text object and whether its font says which character it is. Text that no
ink shows (the layer of recognised text behind a scan) is text like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from data.documents.readers.extracted import Unreadable, UnreadPart, first_line
from data.documents.readers.pdf_characters import Characters
from data.documents.readers.pdf_fields import beside_labels, read_annotations
from data.documents.readers.pdf_layout import lines_of_page
from data.documents.readers.pdf_pieces import Line, Piece

OUTSIDE = "text outside the page"


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was read.

    Attributes:
        number: from 1.
        height: in points.
        lines: in reading order; those in another direction than most follow the others.
        unmapped: characters whose font does not say which character they are, or that are in private use.
        characters: all that the page shows, without white space.
        left_out: characters that are not part of the text, by what they are: comments, text outside the visible area.
    """

    number: int
    height: float
    lines: list[Line] = field(default_factory=list)
    unmapped: int = 0
    characters: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)


def read_pages(raw: bytes, passwords: tuple[str, ...]) -> Iterator[Page | UnreadPart | str]:
    """The pages in their order; one that cannot be read is an `UnreadPart`. Then remarks about the file.

    Args:
        passwords: to be tried one after the other; a file that needs none is opened anyway.

    Raises:
        Unreadable: the file is damaged or encrypted.
    """
    import pypdfium2 as pdfium

    document = _opened(raw, passwords)
    try:
        forms = _has_forms(document)
        if forms:
            document.init_forms()
        for number in range(len(document)):
            try:
                page = document[number]
                try:
                    yield _page(document, page, number + 1, forms)
                finally:
                    page.close()
            except (pdfium.PdfiumError, ValueError, OverflowError) as error:
                yield UnreadPart(f"page {number + 1}", f"cannot be read ({first_line(error)})")
        yield from _remarks(document)
    finally:
        document.close()


def _opened(raw: bytes, passwords: tuple[str, ...]) -> Any:
    import pypdfium2 as pdfium
    import pypdfium2.raw as native

    if not raw.strip():
        raise Unreadable("damaged PDF (empty): print it to PDF again")
    for password in (None, *passwords):
        try:
            return pdfium.PdfDocument(raw, password=password)
        except pdfium.PdfiumError as error:
            code = getattr(error, "err_code", None)
            if code == native.FPDF_ERR_SECURITY:
                raise Unreadable("unsupported encryption: print it to PDF again") from None
            if code != native.FPDF_ERR_PASSWORD:
                raise Unreadable(f"damaged PDF ({first_line(error)}): print it to PDF again") from None
    if passwords:
        raise Unreadable("encrypted, and documents.password does not open it: correct it or remove the password")
    raise Unreadable("encrypted: remove the password or set documents.password")


def _remarks(document: Any) -> Iterator[str]:
    import pypdfium2.raw as native

    if (count := native.FPDFDoc_GetAttachmentCount(document.raw)) > 0:
        yield f"{count} attached files are not read: save them beside it"
    if native.FPDF_GetFormType(document.raw) == native.FORMTYPE_XFA_FULL:
        yield "an XFA form, which only some programs show: print it to PDF if its text is missing"


def _has_forms(document: Any) -> bool:
    import pypdfium2.raw as native

    return bool(native.FPDF_GetFormType(document.raw) != native.FORMTYPE_NONE)


def _page(document: Any, page: Any, number: int, forms: bool) -> Page:
    import pypdfium2.raw as native

    width, height = page.get_size()
    text = native.FPDFText_LoadPage(page.raw)
    if not text:
        raise ValueError("PDFium finds no text page")
    try:
        reader = Characters(text)
        turned = reader.pieces()
    finally:
        native.FPDFText_ClosePage(text)
    fields, left_out = read_annotations(document, page)
    lines: list[Line] = []
    # The direction of most of the text first: a note along the margin, a stamp across the page come after it.
    size: Counter[int] = Counter()
    for angle, pieces in turned.items():
        size[angle] = sum(len(piece.text) for piece in pieces)
    main = size.most_common(1)[0][0] if size else 0
    if 0 in turned:
        turned[0], left_out[OUTSIDE] = _visible(turned[0], page.get_bbox())
    turned.setdefault(main, []).extend(beside_labels(fields, turned.get(main, [])))
    for angle, _ in size.most_common() or [(main, 0)]:
        # From the top of the page, or for a turned line from the first one.
        top = -height if not angle else min((piece.y - piece.size for piece in turned[angle]), default=0.0)
        lines += [replace(line, y=line.y - top, degrees=angle) for line in lines_of_page(turned[angle])]
    return Page(number, height or width, lines, reader.unmapped, reader.characters, left_out)


def _visible(pieces: list[Piece], box: tuple[float, float, float, float]) -> tuple[list[Piece], int]:
    """The pieces within the visible area, and the number of characters outside of it."""
    left, bottom, right, top = box
    seen = [p for p in pieces if p.x1 > left and p.x0 < right and p.y - p.size < -bottom and p.y > -top]
    return seen, sum(len(piece.text) for piece in pieces) - sum(len(piece.text) for piece in seen)
