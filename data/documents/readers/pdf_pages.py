"""Pages of a PDF by PDFium: their pieces of text with positions, form fields, and the text of comments.

PDFium gives each character with its box, its text object and whether its font says which character it is. Text that no
ink shows (the layer of recognised text behind a scan) is text like any other.
"""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from data.documents.readers.extracted import Unreadable, UnreadPart, first_line
from data.documents.readers.pdf_fields import beside_labels, read_annotations
from data.documents.readers.pdf_layout import lines_of_page
from data.documents.readers.pdf_pieces import Line, Piece
from data.documents.readers.symbols import symbol

_SAME_BASELINE = 0.05  # of the size
_WIDE_GAP = 0.8  # of the size: words further apart are pieces of their own
_UPRIGHT = 0.02  # radians
_LINE_ENDS = (10, 13)
#: Where PDFium takes a hyphen at a line's end for one that only breaks the word.
SOFT_HYPHEN = "\u00ad"
_SOFT_MARKS = (2, 0xAD, 0xFFFE)
# Ligatures and Arabic letters by their forms: one character for what a person reads as several, or in several shapes.
_FORMS = re.compile("[\ufb00-\ufb06\ufb13-\ufb17\ufb50-\ufdfb\ufe70-\ufefc]")
_NO_CHARACTER = "\ufffd"


@dataclass(frozen=True, slots=True)
class Page:
    """A page that was read.

    Attributes:
        number: from 1.
        height: in points.
        lines: in reading order; those in another direction than most follow the others.
        unmapped: characters whose font does not say which character they are, or that are in private use.
        characters: all that the page shows, without white space.
        comments: characters of comments on it, which are not part of the text.
    """

    number: int
    height: float
    lines: list[Line] = field(default_factory=list)
    unmapped: int = 0
    characters: int = 0
    comments: int = 0


def read_pages(raw: bytes, passwords: tuple[str, ...]) -> Iterator[Page | UnreadPart]:
    """The pages in their order; one that cannot be read is an `UnreadPart`.

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
        reader = _Characters(text)
        turned = reader.pieces()
    finally:
        native.FPDFText_ClosePage(text)
    fields, comments = read_annotations(document, page) if native.FPDFPage_GetAnnotCount(page.raw) > 0 else ([], 0)
    lines: list[Line] = []
    # The direction of most of the text first: a note along the margin, a stamp across the page come after it.
    size: Counter[int] = Counter()
    for angle, pieces in turned.items():
        size[angle] = sum(len(piece.text) for piece in pieces)
    main = size.most_common(1)[0][0] if size else 0
    turned.setdefault(main, []).extend(beside_labels(fields, turned.get(main, [])))
    for angle, _ in size.most_common() or [(main, 0)]:
        # From the top of the page, or for a turned line from the first one.
        top = -height if not angle else min((piece.y - piece.size for piece in turned[angle]), default=0.0)
        lines += [replace(line, y=line.y - top, degrees=angle) for line in lines_of_page(turned[angle])]
    return Page(number, height or width, lines, reader.unmapped, reader.characters, comments)


class _Characters:
    """The characters of a text page, gathered into pieces by direction (degrees)."""

    def __init__(self, text: Any) -> None:
        self._text = text
        self.unmapped = 0
        self.characters = 0

    def pieces(self) -> dict[int, list[Piece]]:
        import pypdfium2.raw as native

        text = self._text
        unicode_of, object_of = native.FPDFText_GetUnicode, native.FPDFText_GetTextObject
        box_of, fails = native.FPDFText_GetLooseCharBox, native.FPDFText_HasUnicodeMapError
        unspaced = native.FPDFText_IsGenerated
        box = native.FS_RECTF()
        at = ctypes.byref(box)
        found: dict[int, list[Piece]] = {}
        letters: list[str] = []
        start = end = baseline = size = 0.0
        degrees = 0
        style: tuple[int, float, float, float] = (0, 0.0, 0.0, 1.0)
        plain = range(33, _SOFT_MARKS[1])
        shown = None  # the text object of the last character

        def finish() -> None:
            if letters:
                piece = Piece("".join(letters).rstrip(), start, end, baseline, size)
                if piece.text:
                    found.setdefault(degrees, []).append(piece)
                letters.clear()

        for index in range(native.FPDFText_CountChars(text)):
            code = unicode_of(text, index)
            if code in _LINE_ENDS:
                finish()
                continue
            if code in (32, 160, 9):
                if letters:
                    letters.append(" ")
                continue
            if not box_of(text, index, at):
                continue
            handle = object_of(text, index)
            address = ctypes.addressof(handle.contents) if handle else None
            moved = address != shown
            if moved and address is not None:
                style = self._style(index)
                shown = address
            angle, cosine, sine, em = style
            if angle == 0:
                x0, x1, y = box.left, box.right, 0.0
            else:
                corners = [(x, v) for x in (box.left, box.right) for v in (box.bottom, box.top)]
                along = [x * cosine + v * sine for x, v in corners]
                x0, x1 = min(along), max(along)
            failed = fails(text, index) == 1
            character = chr(code) if code in plain and not failed else self._character(code, failed, handle)
            if moved or not letters:
                y = self._baseline(index, cosine, sine)
                near = (
                    bool(letters)
                    and angle == degrees
                    and abs(y - baseline) <= _SAME_BASELINE * em
                    and abs(em - size) <= 0.1 * size
                )
                if near and -0.3 * em < x0 - end <= _WIDE_GAP * em:
                    if x0 - end > 0.15 * em and letters[-1] != " ":
                        letters.append(" ")
                else:
                    finish()
                    start, baseline, size, degrees = x0, y, em, angle
            elif not -1.0 * em < x0 - end <= _WIDE_GAP * em:
                y = self._baseline(index, cosine, sine)
                finish()
                start, baseline, size, degrees = x0, y, em, angle
            if moved and character in ".,;" and letters[-1:] == [" "] and unspaced(text, index - 1) == 1:
                letters.pop()  # drawn on its own and a little apart: no one writes that space
            letters.append(character)
            end = max(x1, x0)
            self.characters += 1
        finish()
        return found

    def _character(self, code: int, failed: bool, handle: Any) -> str:
        """What a code stands for.

        Args:
            failed: its font does not say; PDFium then gives the font's own code.
        """
        import pypdfium2.raw as native

        if code in _SOFT_MARKS:
            return SOFT_HYPHEN
        if 0xE000 <= code <= 0xF8FF:
            known = symbol(self._font(native, handle), code)
            if known is None:
                self.unmapped += 1
            return known or _NO_CHARACTER
        if code < 32 or code == 0xFFFD or 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
            self.unmapped += 1
            return _NO_CHARACTER
        self.unmapped += failed
        character = chr(code)
        return unicodedata.normalize("NFKC", character) if _FORMS.match(character) else character

    def _font(self, native: Any, handle: Any) -> str:
        font = native.FPDFTextObj_GetFont(handle) if handle else None
        if not font:
            return ""
        name = ctypes.create_string_buffer(200)
        native.FPDFFont_GetBaseFontName(font, name, 200)
        return name.value.decode("utf-8", "replace")

    def _style(self, index: int) -> tuple[int, float, float, float]:
        """(degrees, cosine, sine, size in points) of the text object of a character."""
        import pypdfium2.raw as native

        matrix = native.FS_MATRIX()
        if not native.FPDFText_GetMatrix(self._text, index, ctypes.byref(matrix)):
            return 0, 1.0, 0.0, 10.0
        angle = math.atan2(matrix.b, matrix.a)
        if matrix.a * matrix.d - matrix.b * matrix.c < 0 and abs(matrix.b) < abs(matrix.a):
            angle = 0.0  # mirrored
        em = native.FPDFText_GetFontSize(self._text, index) * math.hypot(matrix.c, matrix.d)
        if not (0.1 < em < 5000):
            em = max(math.hypot(matrix.c, matrix.d), 1.0)
        if abs(angle) < _UPRIGHT:
            return 0, 1.0, 0.0, em
        degrees = round(math.degrees(angle)) % 360
        return degrees, math.cos(angle), math.sin(angle), em

    def _baseline(self, index: int, cosine: float, sine: float) -> float:
        import pypdfium2.raw as native

        x, y = ctypes.c_double(), ctypes.c_double()
        native.FPDFText_GetCharOrigin(self._text, index, ctypes.byref(x), ctypes.byref(y))
        return x.value * sine - y.value * cosine
