"""Rich Text Format as Markdown: paragraphs, headings, list marks, tables and notes; what is not shown is counted.

Read here, since the libraries lose text in other encodings, halves of letters and rows of tables, and show hidden text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable, markdown_table
from data.documents.readers.html_marks import raised

_TOKEN = re.compile(
    r"\\(?P<word>[A-Za-z]{1,32})(?P<number>-?\d{1,9})? ?|\\'(?P<hex>[0-9A-Fa-f]{2})|\\(?P<sign>[^A-Za-z])|"
    r"(?P<brace>[{}])|[\r\n]+|(?P<text>[^\\{}\r\n]+)"
)
_CHARSETS = {
    0: "cp1252", 77: "mac_roman", 128: "cp932", 129: "cp949", 134: "gb18030", 136: "big5hkscs", 161: "cp1253",
    162: "cp1254", 163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874",
    238: "cp1250",
}  # fmt: skip
# Groups whose text is none of the document's.
_SKIPPED = frozenset(
    {"fonttbl", "colortbl", "stylesheet", "info", "pict", "objdata", "fldinst", "filetbl", "listtable", "xmlnstbl"}
    | {"nonshppict", "themedata", "datastore", "generator", "bkmkstart", "bkmkend", "listoverridetable", "revtbl", "sp"}
)
# Groups with text that is left out, by kind.
_LEFT_OUT = {
    **dict.fromkeys(
        ("header", "headerl", "headerr", "headerf", "footer", "footerl", "footerr", "footerf"),
        "page headers and footers",
    ),
    "annotation": "comments",
}
_SIGNS = {
    "emdash": "—", "endash": "–", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "bullet": "•",
    "tab": "\t", "emspace": " ", "enspace": " ", "line": "\n", "nestcell": "\t", "lbr": "\n",
}  # fmt: skip
_BULLET = re.compile(r"[•·▪◦o\uf0b7-]\s*")


@dataclass(frozen=True, slots=True)
class _State:
    """What a group inherits."""

    skipped: bool = False
    kind: str = ""  # of what is left out
    encoding: str = "cp1252"
    fallback: int = 1  # characters after one of Unicode that stand for it
    raised: bool = False
    goes_to: str = ""  # "note", "mark" (of a list item) or the text


@dataclass(slots=True)
class _Paragraph:
    parts: list[str] = field(default_factory=list)
    level: int = 0
    in_table: bool = False
    mark: str = ""


def read_rtf(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """The text of a file.

    Raises:
        Unreadable: it is not RTF.
    """
    if not raw.lstrip().startswith(b"{\\rtf"):
        raise Unreadable("damaged, or not RTF: open and save it again")
    reader = _Reader(settings.encoding or "cp1252")
    reader.read(raw.decode("latin-1"))
    text = reader.text()
    bad = text.count("\ufffd")
    remarks = (f"{bad} characters cannot be decoded and became replacement characters",) if bad else ()
    counts = {"bytes_replaced": bad} if bad else {}
    yield Extracted(text, counts=counts, remarks=remarks, left_out=dict(+reader.left_out))


class _Reader:
    def __init__(self, encoding: str) -> None:
        self.left_out: Counter[str] = Counter()
        self._default = encoding
        self._fonts: dict[int, str] = {}
        self._blocks: list[tuple[str, bool]] = []  # (text, whether it is a list item)
        self._paragraph = _Paragraph()
        self._cells: list[str] = []
        self._rows: list[list[str]] = []
        self._notes: list[list[str]] = []
        self._told = 0  # notes that are written
        self._bytes = bytearray()
        self._units: list[int] = []  # of UTF-16
        self._state = _State(encoding=encoding)

    def read(self, text: str) -> None:
        """Reads a whole file."""
        states: list[_State] = []
        font_table, font, skip, starred = 0, 0, 0, False
        for token in _TOKEN.finditer(text):
            word, brace = token["word"], token["brace"]
            if skip and (token["hex"] or token["text"] or ((token["sign"] or "") in "\\{}" and token["sign"])):
                rest = (token["text"] or "")[skip:]
                skip -= min(skip, len(token["text"] or "x"))
                if rest:
                    self._take(rest)
                continue
            if brace:
                self._flush()
                skip, starred = 0, False
                if brace == "{":
                    states.append(self._state)
                elif states:
                    self._state = states.pop()
                    font_table = font_table if len(states) >= font_table else 0
            elif token["hex"]:
                self._flush_units()
                self._bytes.append(int(token["hex"], 16))
            elif token["text"]:
                self._take(token["text"])
            elif word:
                number = int(token["number"]) if token["number"] else None
                if word == "u" and number is not None:
                    self._flush_bytes()
                    self._units.append(number % 0x10000)
                    skip = self._state.fallback
                    continue
                if word == "fonttbl":
                    font_table = len(states)
                if font_table and word == "f":
                    font = number or 0
                elif font_table and word == "fcharset":
                    self._fonts[font] = _CHARSETS.get(number or 0, self._default)
                else:
                    self._flush()
                    self._word(word, number, starred)
                starred = False
            elif token["sign"] == "*":
                starred = True
            elif sign := token["sign"]:
                self._take(
                    {"~": " ", "_": "-", "-": "", "\n": "\n", "\r": "\n"}.get(sign, sign if sign in "\\{}" else "")
                )
        self._flush()
        self._end_paragraph()

    def text(self) -> str:
        """The Markdown of what was read."""
        text = ""
        was_item = False
        for block, is_item in self._blocks:
            text += ("" if not text else "\n" if is_item and was_item else "\n\n") + block
            was_item = is_item
        return text

    def _word(self, word: str, number: int | None, starred: bool) -> None:
        state, on = self._state, number != 0
        if word in _SKIPPED:
            state = replace(state, skipped=True)
        elif word in _LEFT_OUT:
            state = replace(state, kind=_LEFT_OUT[word])
        elif word in ("footnote", "shptxt", "listtext", "pntext"):
            if word == "footnote":
                self._notes.append([])
                self._paragraph.parts.append(f"[^{len(self._notes)}]")
            goes_to = {"footnote": "note", "shptxt": ""}.get(word, "mark")
            state = replace(state, skipped=False, goes_to=goes_to)
        elif (starred and word not in ("shpinst", "fldrslt")) or word == "shpinst":
            state = replace(state, skipped=True)
        elif word == "ansicpg" and number:
            self._default = f"cp{number}" if number != 65001 else "utf-8"
            state = replace(state, encoding=self._default)
        elif word in ("f", "plain"):
            state = replace(
                state, encoding=self._fonts.get(number or 0, self._default) if word == "f" else self._default
            )
            if word == "plain":
                state = replace(
                    state, raised=False, kind="" if state.kind in ("hidden text", "deleted text") else state.kind
                )
        elif word == "uc":
            state = replace(state, fallback=number or 0)
        elif word in ("v", "deleted"):
            kind = "hidden text" if word == "v" else "deleted text"
            state = replace(state, kind=kind if on else "")
        elif word in ("super", "nosupersub"):
            state = replace(state, raised=word == "super" and on)
        elif word in _SIGNS:
            self._put(_SIGNS[word])
        elif not state.skipped and not state.kind and not state.goes_to:
            self._layout(word, number)
        elif word in ("par", "cell"):
            self._put(" ")
        self._state = state

    def _layout(self, word: str, number: int | None) -> None:
        if word == "pard":
            self._paragraph.level, self._paragraph.in_table = 0, False
        elif word == "intbl":
            self._paragraph.in_table = True
        elif word == "outlinelevel":
            self._paragraph.level = (number or 0) + 1
        elif word == "cell":
            self._cells.append(" ".join("".join(self._paragraph.parts).split()))
            self._paragraph.parts.clear()
        elif word == "row":
            self._rows.append(self._cells)
            self._cells = []
        elif word in ("par", "sect", "page"):
            if self._paragraph.in_table:
                self._put(" ")
            else:
                self._end_paragraph()

    def _end_paragraph(self) -> None:
        paragraph = self._paragraph
        text = "\n".join(line.strip() for line in "".join(paragraph.parts).split("\n")).strip()
        mark = " ".join(paragraph.mark.split())
        self._paragraph = replace(paragraph, parts=[], mark="")
        if self._cells:
            self._rows.append(self._cells)
            self._cells = []
        if self._rows:
            self._blocks.append((markdown_table(self._rows), False))
            self._rows = []
        if text:
            if mark:
                text = f"- {text}" if _BULLET.fullmatch(mark) else f"{mark} {text}"
            elif paragraph.level and paragraph.level <= 6:
                text = f"{'#' * paragraph.level} {' '.join(text.split())}"
            self._blocks.append((text, bool(mark)))
        for number, note in enumerate(self._notes[self._told :], start=self._told + 1):
            self._blocks.append((f"[^{number}]: {' '.join(''.join(note).split())}", False))
        self._told = len(self._notes)

    def _take(self, text: str) -> None:
        """Text of the file, whose bytes may be of any encoding."""
        if text.isascii():
            self._flush()
            self._put(text)
        else:
            self._flush_units()
            self._bytes += text.encode("latin-1", "replace")

    def _flush(self) -> None:
        self._flush_bytes()
        self._flush_units()

    def _flush_bytes(self) -> None:
        if self._bytes:
            found, self._bytes = bytes(self._bytes), bytearray()
            try:
                text = found.decode(self._state.encoding, "replace")
            except LookupError:
                text = found.decode("cp1252", "replace")
            self._put(text)

    def _flush_units(self) -> None:
        if self._units:
            units, self._units = self._units, []
            self._put(b"".join(unit.to_bytes(2, "little") for unit in units).decode("utf-16-le", "replace"))

    def _put(self, text: str) -> None:
        state = self._state
        if not text or state.skipped:
            return
        if state.kind:
            self.left_out[state.kind] += len(text)
        elif state.goes_to == "note" and self._notes:
            self._notes[-1].append(text)
        elif state.goes_to == "mark":
            self._paragraph.mark += text
        else:
            self._paragraph.parts.append(raised(text) if state.raised else text)
