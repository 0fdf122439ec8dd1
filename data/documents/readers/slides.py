"""A PPTX file as Markdown: a heading for each slide, and its boxes in the order in which a person reads them.

The title comes first, then the boxes from top to bottom, and from left to right where they begin at about the same
height. Hidden slides, slide numbers and dates are left out and counted; a footer stays where it first stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from data.documents.readers.drawings import drawing_blocks
from data.documents.readers.equations import EQUATIONS, equation_text
from data.documents.readers.extracted import markdown_table
from data.documents.readers.scripts import script

_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_COMPATIBILITY = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
_SAME_ROW = 0.4  # of the smaller height: boxes whose tops differ by less are in one row
_LEAST_STEP = 90_000  # EMU, a tenth of an inch
HIDDEN_SLIDES, FOOTERS, NOTES, COMMENTS = "hidden slides", "slide numbers and footers", "speaker's notes", "comments"


class Slides:
    """Reads the slides of a deck in their order.

    Args:
        deck: of python-pptx.
        notes: whether the speaker's notes are read.
    """

    def __init__(self, deck: Any, notes: bool) -> None:
        self._deck = deck
        self._notes = notes
        self._footers: set[str] = set()
        self.left_out: Counter[str] = Counter()
        self.hidden = 0

    def texts(self) -> Iterator[str]:
        """The text of each slide; empty for a hidden one."""
        for number, slide in enumerate(self._deck.slides, start=1):
            _choose(slide.shapes._spTree)
            text = "\n\n".join(self._blocks(slide, number))
            self._count_comments(slide)
            if slide._element.get("show") in ("0", "false"):
                self.hidden += 1
                self.left_out[HIDDEN_SLIDES] += len(text)
                text = ""
            yield text

    def _blocks(self, slide: Any, number: int) -> Iterator[str]:
        title = slide.shapes.title
        heading = " ".join(_frame_text(title).split()) if title is not None else ""
        yield f"## {heading or f'Slide {number}'}"
        shapes = [shape for shape in slide.shapes if title is None or shape.shape_id != title.shape_id]
        for shape in _in_reading_order(shapes):
            if _role(shape) in ("ftr", "dt", "sldNum", "hdr"):
                yield from self._footer(shape)
            else:
                yield from _shape_blocks(shape, slide.part)
        if slide.has_notes_slide and (frame := slide.notes_slide.notes_text_frame) is not None:
            text = "\n".join(line for _, line in _lines(frame._txBody)).strip()
            if text and self._notes:
                yield f"Notes: {text}"
            elif text:
                self.left_out[NOTES] += len(text)

    def _footer(self, shape: Any) -> Iterator[str]:
        text = " ".join(_frame_text(shape).split())
        numbered = shape._element.find(f".//{_DRAWING}fld") is not None
        if text and not numbered and text not in self._footers:
            self._footers.add(text)
            yield text
        else:
            self.left_out[FOOTERS] += len(text)

    def _count_comments(self, slide: Any) -> None:
        from lxml import etree

        for relation in slide.part.rels.values():
            if relation.reltype.endswith("/comments") and not relation.is_external:
                root = etree.fromstring(
                    relation.target_part.blob, etree.XMLParser(resolve_entities=False, no_network=True)
                )
                self.left_out[COMMENTS] += sum(
                    len(node.text or "") for node in root.iter() if str(node.tag).endswith(("}text", "}t"))
                )


def _choose(tree: Any) -> None:
    """Puts the shapes for programs that know them in the place of alternatives, which python-pptx does not see."""
    for alternative in list(tree.iter(f"{_COMPATIBILITY}AlternateContent")):
        parent = alternative.getparent()
        if parent is None or parent.tag.startswith(_DRAWING):
            continue  # within a text
        for form in ("Choice", "Fallback"):
            found = alternative.find(f"{_COMPATIBILITY}{form}")
            if found is not None and len(found):
                place = parent.index(alternative)
                parent.remove(alternative)
                for offset, child in enumerate(list(found)):
                    parent.insert(place + offset, child)
                break


def _role(shape: Any) -> str:
    holder = shape._element.find(".//{http://schemas.openxmlformats.org/presentationml/2006/main}ph")
    return "" if holder is None else holder.get("type", "")


def _in_reading_order(shapes: Sequence[Any]) -> list[Any]:
    """From top to bottom, and from left to right where shapes begin at about the same height."""
    placed: list[tuple[int, int, int, int, Any]] = []
    for number, shape in enumerate(shapes):
        left, top = shape.left or 0, shape.top or 0
        # One that does not say where it is stays after the one before it.
        if shape.top is None and placed:
            left, top = placed[-1][2], placed[-1][1] + 1
        placed.append((number, top, left, shape.height or 0, shape))
    placed.sort(key=lambda item: (item[1], item[2], item[0]))
    rows: list[list[tuple[int, int, int, int, Any]]] = []
    for item in placed:
        if rows:
            first = rows[-1][0]
            step = max(_LEAST_STEP, _SAME_ROW * min(first[3], item[3]))
            if item[1] - first[1] <= step:
                rows[-1].append(item)
                continue
        rows.append([item])
    return [item[4] for row in rows for item in sorted(row, key=lambda item: (item[2], item[1], item[0]))]


def _shape_blocks(shape: Any, part: Any) -> Iterator[str]:
    if hasattr(shape, "shapes"):  # a group; shape_type raises for some kinds
        for inner in _in_reading_order(list(shape.shapes)):
            yield from _shape_blocks(inner, part)
    elif getattr(shape, "has_table", False) and shape.has_table:
        rows = [["" if cell.is_spanned else _cell_text(cell) for cell in row.cells] for row in shape.table.rows]
        if any(any(row) for row in rows):
            yield markdown_table(rows)
    elif shape.has_text_frame:
        lines = [(level, " ".join(line.split())) for level, line in _lines(shape.text_frame._txBody)]
        lines = [line for line in lines if line[1]]
        if len(lines) == 1:
            yield lines[0][1]
        elif lines:
            yield "\n".join(f"{'  ' * level}- {text}" for level, text in lines)
    else:
        yield from drawing_blocks(shape._element, part)


def _cell_text(cell: Any) -> str:
    return " ".join(line for _, line in _lines(cell._tc.txBody)) if cell._tc.txBody is not None else ""


def _frame_text(shape: Any) -> str:
    return " ".join(line for _, line in _lines(shape.text_frame._txBody))


def _lines(body: Any) -> Iterator[tuple[int, str]]:
    """(level, text) of each paragraph of a text body."""
    for paragraph in body.iterchildren(f"{_DRAWING}p"):
        properties = paragraph.find(f"{_DRAWING}pPr")
        level = int(properties.get("lvl", "0")) if properties is not None else 0
        parts: list[str] = []
        _read(paragraph, parts)
        yield level, "".join(parts).strip()


def _read(parent: Any, parts: list[str]) -> None:
    for node in parent.iterchildren():
        if node.tag in (f"{_DRAWING}r", f"{_DRAWING}fld"):
            text = "".join(t.text or "" for t in node.iterchildren(f"{_DRAWING}t"))
            properties = node.find(f"{_DRAWING}rPr")
            rise = properties.get("baseline", "0") if properties is not None else "0"
            if rise.rstrip("%").strip("0."):
                text = script(text, not rise.startswith("-"), parts[-1] if parts else "")
            parts.append(text.replace("\v", " ").replace("\u00ad", ""))
        elif node.tag == f"{_DRAWING}br":
            parts.append(" ")
        elif node.tag in EQUATIONS or str(node.tag).endswith("}m"):
            parts.append(equation_text(node))
        elif node.tag == f"{_COMPATIBILITY}AlternateContent":
            choice = node.find(f"{_COMPATIBILITY}Choice")
            _read(choice if choice is not None else node, parts)
