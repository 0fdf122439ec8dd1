"""The text within paragraphs of a DOCX file: fields, symbols, equations, notes; hidden and deleted text is counted.

What a person sees in the final document is read: inserted passages, results of fields, moved text at its new place.
Deleted and hidden text, prompts of empty form controls and the old place of moved text are left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from data.documents.readers.drawings import drawing_blocks
from data.documents.readers.equations import EQUATIONS, MATH, equation_text
from data.documents.readers.scripts import script
from data.documents.readers.symbols import symbol
from data.documents.readers.word_styles import WORD, Styles, value

COMPATIBILITY = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
HIDDEN, DELETED, MOVED, PROMPTS, RUBY, CODES = (
    "hidden text",
    "deleted text",
    "moved text at its old place",
    "prompts of empty fields",
    "pronunciation above characters",
    "codes of fields",
)
_LEFT_OUT = {f"{WORD}del": DELETED, f"{WORD}moveFrom": MOVED, f"{WORD}rt": RUBY}
_NO_TEXT = frozenset(
    f"{WORD}{name}" for name in ("pPr", "rPr", "sdtPr", "sdtEndPr", "instrText", "delInstrText", "rubyPr", "tblPr")
)
_BREAKS = {f"{WORD}tab": "\t", f"{WORD}ptab": "\t", f"{WORD}br": "\n", f"{WORD}cr": "\n", f"{WORD}noBreakHyphen": "-"}
_NOTES = {f"{WORD}footnoteReference": "footnotes", f"{WORD}endnoteReference": "endnotes"}


class WordText:
    """Reads the text of paragraphs and keeps what follows them: notes, text boxes, charts.

    Args:
        part: the part that the paragraphs stand in.
        notes: the elements of "footnotes" and "endnotes" by their ids.
    """

    def __init__(self, part: Any, styles: Styles, notes: Mapping[str, Mapping[str, Any]]) -> None:
        self._part = part
        self._styles = styles
        self._notes = notes
        self._numbers: dict[tuple[str, str], int] = {}
        # For each field that is open here, whether this is its code rather than its result.
        self._in_code: list[bool] = []
        self.left_out: Counter[str] = Counter()
        self.unknown_symbols = 0
        self.embedded = 0
        #: (number, element) of notes whose marks were read and whose texts were not yet.
        self.waiting_notes: list[tuple[int, Any]] = []
        #: Contents of text boxes that were not yet read.
        self.waiting_boxes: list[Any] = []
        #: Charts and SmartArt that were not yet written.
        self.waiting_blocks: list[str] = []

    def of(self, paragraph: Any) -> str:
        """The text of a paragraph; lines are separated by line feeds."""
        parts: list[str] = []
        self._in_code.clear()
        self._read(paragraph, parts, self._styles.hides_all(paragraph))
        return "".join(parts).strip()

    def _read(self, parent: Any, parts: list[str], hidden: bool) -> None:
        for node in parent.iterchildren():
            tag = node.tag
            if not isinstance(tag, str) or tag in _NO_TEXT:
                continue
            if tag == f"{WORD}r":
                self._run(node, parts, hidden)
            elif tag in _LEFT_OUT:
                self._leave_out(node, _LEFT_OUT[tag])
            elif tag in EQUATIONS:
                parts.append(equation_text(node))
            elif tag == f"{COMPATIBILITY}AlternateContent":
                self._read(_chosen(node), parts, hidden)
            else:
                self._read(node, parts, hidden)

    def _run(self, run: Any, parts: list[str], hidden: bool) -> None:
        own = self._styles.is_hidden(run)
        if own or (hidden and run.find(f"{WORD}rPr/{WORD}vanish") is None):
            self._leave_out(run, HIDDEN)
            return
        moved = value(run, "rPr/vertAlign")
        inside: list[str] = []
        began_in_code = any(self._in_code)
        self._run_content(run, inside, _font(run))
        text = "".join(inside)
        if began_in_code and any(self._in_code) and text:
            self.left_out[CODES] += len(text)  # the result of a field within the code of another
            return
        if moved in ("superscript", "subscript"):
            text = script(text, moved == "superscript", parts[-1] if parts else "")
        parts.append(text)

    def _run_content(self, run: Any, parts: list[str], font: str) -> None:
        for node in run.iterchildren():
            tag = node.tag
            if not isinstance(tag, str) or tag in _NO_TEXT:
                continue
            if tag == f"{WORD}t":
                parts.append(self._without_private_use(node.text or "", font))
            elif tag in _BREAKS:
                parts.append(_BREAKS[tag])
            elif tag == f"{WORD}sym":
                parts.append(self._symbol(node))
            elif tag in _NOTES:
                parts.append(self._note_mark(_NOTES[tag], node.get(f"{WORD}id", "")))
            elif tag in (f"{WORD}drawing", f"{WORD}pict"):
                self._drawing(node)
            elif tag == f"{WORD}object":
                self.embedded += 1
            elif tag == f"{WORD}fldChar":
                parts.append(_form_field(node))
                self._field(node.get(f"{WORD}fldCharType"))
            elif tag == f"{WORD}ruby":
                for base in node.iterchildren(f"{WORD}rubyBase"):
                    self._read(base, parts, False)
                for above in node.iterchildren(f"{WORD}rt"):
                    self._leave_out(above, RUBY)
            elif tag == f"{COMPATIBILITY}AlternateContent":
                self._run_content(_chosen(node), parts, font)
            elif tag in EQUATIONS:
                parts.append(equation_text(node))

    def _field(self, kind: str | None) -> None:
        if kind == "begin":
            self._in_code.append(True)
        elif kind == "separate" and self._in_code:
            self._in_code[-1] = False
        elif kind == "end" and self._in_code:
            self._in_code.pop()

    def _leave_out(self, node: Any, what: str) -> None:
        texts = node.iter(f"{WORD}t", f"{WORD}delText", f"{MATH}t")
        self.left_out[what] += sum(len(text.text or "") for text in texts)

    def _symbol(self, node: Any) -> str:
        code = int(node.get(f"{WORD}char", "0"), 16)
        found = symbol(node.get(f"{WORD}font", ""), code)
        if found is None and 0x20 <= code < 0xE000:
            found = chr(code)
        self.unknown_symbols += found is None
        return found or "\ufffd"

    def _without_private_use(self, text: str, font: str) -> str:
        text = text.replace("\u00ad", "")  # shown only where a line breaks
        if not any("\uf000" <= letter <= "\uf0ff" for letter in text):
            return text
        letters = [symbol(font, ord(c)) if "\uf000" <= c <= "\uf0ff" else c for c in text]
        self.unknown_symbols += letters.count(None)
        return "".join(letter or "\ufffd" for letter in letters)

    def _note_mark(self, kind: str, name: str) -> str:
        note = self._notes[kind].get(name)
        if note is None:
            return ""
        number = self._numbers.get((kind, name))
        if number is None:
            number = self._numbers[kind, name] = len(self._numbers) + 1
            self.waiting_notes.append((number, note))
        return f"[^{number}]"

    def _drawing(self, node: Any) -> None:
        self.waiting_blocks += drawing_blocks(node, self._part)
        self.waiting_boxes += _boxes(node)


def _boxes(node: Any) -> Iterator[Any]:
    """The contents of text boxes below an element, not those within them, each once."""
    for child in node.iterchildren():
        if child.tag == f"{WORD}txbxContent":
            yield child
        elif child.tag == f"{COMPATIBILITY}AlternateContent":
            yield from _boxes(_chosen(child))
        else:
            yield from _boxes(child)


def _chosen(node: Any) -> Any:
    """The form of an element for programs that know it, or else the one for others."""
    choice = node.find(f"{COMPATIBILITY}Choice")
    if choice is not None:
        return choice
    fallback = node.find(f"{COMPATIBILITY}Fallback")
    return node if fallback is None else fallback


def _font(run: Any) -> str:
    fonts = run.find(f"{WORD}rPr/{WORD}rFonts")
    return "" if fonts is None else fonts.get(f"{WORD}ascii", "") or fonts.get(f"{WORD}hAnsi", "")


def _form_field(node: Any) -> str:
    """What an old form field shows: a ticked box, the chosen entry of a list."""
    box = node.find(f"{WORD}ffData/{WORD}checkBox")
    if box is not None:
        checked = box.find(f"{WORD}checked")
        checked = box.find(f"{WORD}default") if checked is None else checked
        return "☒" if checked is not None and checked.get(f"{WORD}val", "1") not in ("0", "false", "off") else "☐"
    choices = node.find(f"{WORD}ffData/{WORD}ddList")
    if choices is not None:
        entries = [entry.get(f"{WORD}val", "") for entry in choices.iterchildren(f"{WORD}listEntry")]
        chosen = int(value(choices, "result") or value(choices, "default") or "0")
        return entries[chosen] if 0 <= chosen < len(entries) else ""
    return ""
