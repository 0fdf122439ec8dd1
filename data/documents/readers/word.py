"""A DOCX file as Markdown: headings, lists, tables, notes and charts in the order of the document."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from data.documents.readers.extracted import markdown_table
from data.documents.readers.word_styles import WORD, Numbering, Styles, value
from data.documents.readers.word_text import COMPATIBILITY, DELETED, HIDDEN, PROMPTS, WordText

_BLOCKS = (f"{WORD}p", f"{WORD}tbl")
_WRAPPERS = frozenset(
    {f"{WORD}{name}" for name in ("sdt", "sdtContent", "ins", "moveTo", "customXml", "smartTag")}
    | {f"{COMPATIBILITY}Choice"}
)
_NUMBER = re.compile(r"\d{1,3}[.)]")
_DEEPEST = 8


class WordDocument:
    """Reads the body of a document.

    Args:
        document: of python-docx.
    """

    def __init__(self, document: Any) -> None:
        self._document = document
        part = document.part
        self._styles = Styles(_root_of(part, "styles"))
        self._prompts = 0
        self._numbering = Numbering(_root_of(part, "numbering"))
        for control in document.element.body.findall(f".//{WORD}sdt"):
            if control.find(f"{WORD}sdtPr/{WORD}showingPlcHdr") is not None:
                prompt = control.find(f"{WORD}sdtContent")
                self._prompts += _characters(prompt) if prompt is not None else 0
                control.getparent().remove(control)
        notes = {kind: _notes(_root_of(part, kind)) for kind in ("footnotes", "endnotes")}
        self._text = WordText(part, self._styles, notes)

    def blocks(self) -> Iterator[str]:
        """The blocks of the body; a note, text box or chart follows the block that it belongs to."""
        yield from self._blocks(self._document.element.body)

    def left_out(self) -> dict[str, int]:
        """The characters left out, by what they are; complete when the blocks were read."""
        counts = Counter(self._text.left_out)
        counts[PROMPTS] += self._prompts
        part = self._document.part
        for relation in part.rels.values():
            kind = relation.reltype.rsplit("/", 1)[-1]
            if not relation.is_external and kind in ("header", "footer", "comments"):
                name = "comments" if kind == "comments" else "page headers and footers"
                counts[name] += _characters(_parsed(relation.target_part))
        return {name: count for name, count in counts.items() if count}

    def remarks(self) -> Iterator[str]:
        """What a person should know about the text."""
        if self._text.unknown_symbols:
            yield f"{self._text.unknown_symbols} symbols of fonts whose characters are not known"
        if self._text.embedded:
            yield f"{self._text.embedded} embedded objects are not read: save them as files of their own"
        if parts := self._document.element.body.findall(f".//{WORD}altChunk"):
            yield f"{len(parts)} embedded documents are not read: open the file and save it again"

    def _blocks(self, parent: Any) -> Iterator[str]:
        items: list[str] = []
        for element in _elements(parent):
            text, is_item = "", False
            if element.tag == f"{WORD}p":
                text, is_item = self._paragraph(element)
            elif (framed := _only_cell(element)) is not None:
                text = "\n\n".join(self._blocks(framed))
            else:
                text = self._table(element)
            if is_item:
                items.append(text)
            after = list(self._after())
            if items and ((text and not is_item) or after):
                yield "\n".join(items)
                items = []
            if text and not is_item:
                yield text
            yield from after
        if items:
            yield "\n".join(items)

    def _after(self) -> Iterator[str]:
        """What waits to be read after a block. Each may hold others."""
        text = self._text
        while text.waiting_boxes or text.waiting_blocks or text.waiting_notes:
            blocks, text.waiting_blocks = text.waiting_blocks, []
            yield from blocks
            boxes, text.waiting_boxes = text.waiting_boxes, []
            for box in boxes:
                yield from self._blocks(box)
            notes, text.waiting_notes = text.waiting_notes, []
            for number, note in notes:
                lines = [self._text.of(paragraph) for paragraph in note.iter(f"{WORD}p")]
                content = " ".join(" ".join(lines).split())
                if content:
                    yield f"[^{number}]: {content}"

    def _paragraph(self, element: Any) -> tuple[str, bool]:
        """The paragraph as Markdown, and whether it is a list item."""
        text = self._text.of(element)
        if not text:
            return "", False
        level = self._styles.heading_level(element)
        label, depth = self._label(element)
        line = " ".join(text.split())
        if level:
            label = "" if label == "-" else f"{label} " if label else ""
            return f"{'#' * level} {label}{line}", False
        if not label:
            return text, False
        if label != "-" and not _NUMBER.fullmatch(label):
            label = f"- {label}"
        return f"{'  ' * depth}{label} {line}", True

    def _label(self, element: Any) -> tuple[str, int]:
        """(label, depth) of a list item; an empty label if it is none."""
        number, level = value(element, "pPr/numPr/numId"), value(element, "pPr/numPr/ilvl")
        style_name = ""
        for style in self._styles.of(element):
            style_name = style_name or style.name
            number = value(style.element, "pPr/numPr/numId") if number is None else number
            level = value(style.element, "pPr/numPr/ilvl") if level is None else level
        depth = min(int(level), _DEEPEST) if level is not None and level.isdigit() else 0
        if number is None:  # a list by its style's name only
            kind = style_name.casefold()
            return ("1." if kind.startswith("list number") else "-" if kind.startswith("list") else ""), 0
        if number == "0":  # the style's numbering is taken off
            return "", 0
        return self._numbering.next(number, depth), depth

    def _table(self, table: Any) -> str:
        """A table as Markdown; a nested one is the text of its cell."""
        rows: list[list[str]] = []
        for row in _inside(table, f"{WORD}tr"):
            if row.find(f"{WORD}trPr/{WORD}del") is not None or row.find(f"{WORD}trPr/{WORD}hidden") is not None:
                what = DELETED if row.find(f"{WORD}trPr/{WORD}del") is not None else HIDDEN
                self._text.left_out[what] += _characters(row)
                continue
            texts: list[str] = []
            for cell in _inside(row, f"{WORD}tc"):
                texts.append("" if _goes_on(cell) else "\n".join(self._cell(cell)))
                span = value(cell, "tcPr/gridSpan")
                texts += [""] * (int(span) - 1 if span is not None and span.isdigit() else 0)
            rows.append(texts)
        return markdown_table(rows) if any(any(row) for row in rows) else ""

    def _cell(self, cell: Any) -> Iterator[str]:
        """The lines of a cell."""
        for element in _elements(cell):
            if element.tag == f"{WORD}p":
                if text := self._text.of(element):
                    label = self._label(element)[0]
                    yield f"{label} {text}" if label and label != "-" else text
            else:
                for row in _inside(element, f"{WORD}tr"):
                    yield " ".join(text for cell in _inside(row, f"{WORD}tc") for text in self._cell(cell))


def _root_of(part: Any, kind: str) -> Any:
    """The root of the part with this relation to another; None if there is none."""
    for relation in part.rels.values():
        if relation.reltype.endswith(f"/{kind}") and not relation.is_external:
            return _parsed(relation.target_part)
    return None


def _parsed(part: Any) -> Any:
    from lxml import etree

    if (element := getattr(part, "element", None)) is not None:
        return element
    return etree.fromstring(part.blob, etree.XMLParser(resolve_entities=False, no_network=True))


def _notes(root: Any) -> dict[str, Any]:
    """Notes by their ids, without the lines that separate them from the text."""
    if root is None:
        return {}
    return {
        note.get(f"{WORD}id", ""): note for note in root.iterchildren() if note.get(f"{WORD}type") in (None, "normal")
    }


def _elements(parent: Any) -> Iterator[Any]:
    """Paragraphs and tables, those inside content controls and tracked blocks included."""
    for element in parent.iterchildren():
        if element.tag in _BLOCKS:
            yield element
        elif element.tag == f"{COMPATIBILITY}AlternateContent":
            choice = element.find(f"{COMPATIBILITY}Choice")
            yield from _elements(choice if choice is not None else element)
        elif element.tag in _WRAPPERS:
            yield from _elements(element)


def _inside(parent: Any, tag: str) -> Iterator[Any]:
    """The rows of a table or the cells of a row, those inside content controls included."""
    for element in parent.iterchildren():
        if element.tag == tag:
            yield element
        elif element.tag in _WRAPPERS:
            yield from _inside(element, tag)


def _only_cell(table: Any) -> Any:
    """The cell of a table that has no other: a frame around text; None for other tables."""
    cells = [cell for row in _inside(table, f"{WORD}tr") for cell in _inside(row, f"{WORD}tc")]
    return cells[0] if len(cells) == 1 else None


def _goes_on(cell: Any) -> bool:
    """Whether a cell belongs to the one above it."""
    merge = cell.find(f"{WORD}tcPr/{WORD}vMerge")
    return merge is not None and merge.get(f"{WORD}val", "continue") == "continue"


def _characters(root: Any) -> int:
    return sum(len(text.text or "") for text in root.iter(f"{WORD}t", f"{WORD}delText"))
