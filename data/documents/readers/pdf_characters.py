"""The characters of a PDF page by PDFium, gathered into pieces of text.

Each call of PDFium takes longer than Python's work on a character, so a word whose characters are all of one text
object is placed by its first and last one. Words of several objects (drawn letter by letter, with superscripts), words
of fonts that do not say what they show, and those with rare characters are read character by character.
"""

from __future__ import annotations

import ctypes
import math
import re
import unicodedata
from typing import Any

from data.documents.readers.pdf_pieces import Piece
from data.documents.readers.symbols import symbol

#: Where PDFium takes a hyphen at a line's end for one that only breaks the word.
SOFT_HYPHEN = "\u00ad"

_SAME_BASELINE = 0.05  # of the size
_WIDE_GAP = 0.8  # of the size: words further apart are pieces of their own
_WORD_GAP = 0.15  # of the size
_UPRIGHT = 0.02  # radians
_SOFT_MARKS = (2, 0xAD, 0xFFFE)
# Ligatures and Arabic letters by their forms: one character for what a person reads as several, or in several shapes.
_FORMS = re.compile("[\ufb00-\ufb06\ufb13-\ufb17\ufb50-\ufdfb\ufe70-\ufefc]")
# What is not simply taken as it is: control characters, soft hyphens, surrogates, private use, forms.
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\ud800-\uf8ff\ufb00-\ufdfb\ufe70-\uffff]")
_WORDS = re.compile(r"([^ \t\r\n\xa0]+)([ \t\r\n\xa0]*)")
_NO_CHARACTER = "\ufffd"

#: (degrees, cosine, sine, size in points) of a text object.
_Style = tuple[int, float, float, float]


class Characters:
    """Reads the characters of a text page.

    Attributes:
        unmapped: characters whose font does not say which they are, or in private use.
        characters: all, without white space.
    """

    def __init__(self, text: Any) -> None:
        import pypdfium2.raw as native

        self.unmapped = 0
        self.characters = 0
        self._text = text
        self._found: dict[int, list[Piece]] = {}
        # The piece that is being gathered.
        self._letters: list[str] = []
        self._start = self._end = self._baseline = self._size = 0.0
        self._degrees = self._drawn = 0
        self._shown: int | None = None  # the text object of the last character
        self._style: _Style = (0, 1.0, 0.0, 10.0)
        self._rectangle = native.FS_RECTF()
        self._at_rectangle = ctypes.byref(self._rectangle)

    def pieces(self) -> dict[int, list[Piece]]:
        """The pieces by their direction in degrees, each in the order of the file."""
        import pypdfium2.raw as native

        text = self._text
        object_of, fails = native.FPDFText_GetTextObject, native.FPDFText_HasUnicodeMapError
        addressof = ctypes.addressof
        words = list(_WORDS.finditer(self._string(native)))
        handles = [object_of(text, match.start()) for match in words]
        addresses = [addressof(handle.contents) if handle else None for handle in handles]
        for match, address, following in zip(words, addresses, [*addresses[1:], None], strict=False):
            first, last = match.start(), match.end(1) - 1
            word, after = match.groups()
            whole = address is not None and _ODD.search(word) is None and fails(text, first) != 1
            if whole and last > first and following != address:
                # Objects follow one another: what lies between two characters of one object is of that object.
                other = object_of(text, last)
                whole = bool(other) and addressof(other.contents) == address
            if whole:
                self._add(native, word, first, last, address)
            else:
                for index in range(first, last + 1):
                    self._add_character(native, word[index - first], index)
            if "\n" in after or "\r" in after:
                self._finish()
            elif after and self._letters:
                self._letters.append(" ")
        self._finish()
        return self._found

    def _string(self, native: Any) -> str:
        """All characters of the page, one for each index."""
        count = native.FPDFText_CountChars(self._text)
        if count <= 0:
            return ""
        buffer = (ctypes.c_ushort * (count + 1))()
        written = native.FPDFText_GetText(self._text, 0, count, buffer) - 1
        string = bytes(buffer)[: 2 * max(written, 0)].decode("utf-16-le", "surrogatepass")
        if len(string) == count:
            return string
        # It leaves out what has no character, and writes some as two.
        unicode_of = native.FPDFText_GetUnicode
        codes = (unicode_of(self._text, index) for index in range(count))
        return "".join(chr(code) if 0 < code <= 0x10FFFF else "\x01" for code in codes)

    def _add_character(self, native: Any, character: str, index: int) -> None:
        handle = native.FPDFText_GetTextObject(self._text, index)
        failed = native.FPDFText_HasUnicodeMapError(self._text, index) == 1
        read = self._character(native, ord(character), failed, handle)
        address = ctypes.addressof(handle.contents) if handle else None
        self._add(native, read, index, index, address)

    def _add(self, native: Any, word: str, first: int, last: int, address: int | None) -> None:
        """Adds a word to the piece before it, or begins another with it."""
        left, bottom, right, top = self._box(native, first)
        if last > first:
            other = self._box(native, last)
            left, bottom = min(left, other[0]), min(bottom, other[1])
            right, top = max(right, other[2]), max(top, other[3])
        moved = address != self._shown
        if moved and address is not None:
            self._style = self._style_of(native, first)
            self._shown = address
        angle, cosine, sine, em = self._style
        if angle == 0:
            x0, x1 = left, right
        else:
            along = [x * cosine + v * sine for x in (left, right) for v in (bottom, top)]
            x0, x1 = min(along), max(along)
        gap = x0 - self._end
        if not self._letters:
            self._begin(native, first, x0)
        elif moved:
            y = self._baseline_of(native, first)
            near = (
                angle == self._degrees
                and abs(y - self._baseline) <= _SAME_BASELINE * em
                and abs(em - self._size) <= 0.1 * self._size
            )
            if not near or not -0.3 * em < gap <= _WIDE_GAP * em:
                self._begin(native, first, x0)
            elif gap > _WORD_GAP * em and self._letters[-1] != " ":
                self._letters.append(" ")
            elif (
                word[0] in ".,;"
                and self._letters[-1] == " "
                and native.FPDFText_IsGenerated(self._text, first - 1) == 1
            ):
                self._letters.pop()  # drawn on its own and a little apart: no one writes that space
        elif not -1.0 * em < gap <= _WIDE_GAP * em:
            self._begin(native, first, x0)
        self._letters.append(word)
        self._end = max(x1, x0)
        self.characters += len(word)

    def _begin(self, native: Any, index: int, x: float) -> None:
        self._finish()
        self._start, self._baseline = x, self._baseline_of(native, index)
        self._degrees, _, _, self._size = self._style

    def _finish(self) -> None:
        text = "".join(self._letters).rstrip()
        if text:
            self._drawn += 1
            piece = Piece(text, self._start, self._end, self._baseline, self._size, self._drawn)
            self._found.setdefault(self._degrees, []).append(piece)
        self._letters.clear()

    def _box(self, native: Any, index: int) -> tuple[float, float, float, float]:
        box = self._rectangle
        native.FPDFText_GetLooseCharBox(self._text, index, self._at_rectangle)
        return box.left, box.bottom, box.right, box.top

    def _character(self, native: Any, code: int, failed: bool, handle: Any) -> str:
        """What a code stands for.

        Args:
            failed: its font does not say; PDFium then gives the font's own code.
        """
        if code in _SOFT_MARKS:
            return SOFT_HYPHEN
        if 0xE000 <= code <= 0xF8FF:
            known = symbol(_font_of(native, handle), code)
            self.unmapped += known is None
            return known or _NO_CHARACTER
        if code < 32 or code == 0xFFFD or 0xD800 <= code <= 0xDFFF:
            self.unmapped += 1
            return _NO_CHARACTER
        self.unmapped += failed
        if failed and code > 126:
            return _NO_CHARACTER  # of a font's own codes only those of ASCII are often the letters
        character = chr(code)
        return unicodedata.normalize("NFKC", character) if _FORMS.match(character) else character

    def _style_of(self, native: Any, index: int) -> _Style:
        matrix = native.FS_MATRIX()
        if not native.FPDFText_GetMatrix(self._text, index, ctypes.byref(matrix)):
            return 0, 1.0, 0.0, 10.0
        angle = math.atan2(matrix.b, matrix.a)
        if matrix.a * matrix.d - matrix.b * matrix.c < 0 and abs(matrix.b) < abs(matrix.a):
            angle = 0.0  # mirrored
        scale = math.hypot(matrix.c, matrix.d)
        em = native.FPDFText_GetFontSize(self._text, index) * scale
        if not 0.1 < em < 5000:
            em = max(scale, 1.0)
        if abs(angle) < _UPRIGHT:
            return 0, 1.0, 0.0, em
        return round(math.degrees(angle)) % 360, math.cos(angle), math.sin(angle), em

    def _baseline_of(self, native: Any, index: int) -> float:
        _, cosine, sine, _ = self._style
        x, y = ctypes.c_double(), ctypes.c_double()
        native.FPDFText_GetCharOrigin(self._text, index, ctypes.byref(x), ctypes.byref(y))
        return x.value * sine - y.value * cosine


def _font_of(native: Any, handle: Any) -> str:
    font = native.FPDFTextObj_GetFont(handle) if handle else None
    if not font:
        return ""
    name = ctypes.create_string_buffer(200)
    native.FPDFFont_GetBaseFontName(font, name, 200)
    return name.value.decode("utf-8", "replace")
