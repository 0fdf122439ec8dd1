"""OpenDocument text (ODT) and slides (ODP) as Markdown: headings, lists, tables and notes in their order."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any

from data.documents.documents import DocumentSettings
from data.documents.readers.archives import checked_archive
from data.documents.readers.extracted import Extracted, Unreadable, first_line, markdown_table

_COMMENTS, _HIDDEN, _DELETED = "comments", "hidden text", "deleted text"
_CONTENTS, _MARGINS = "tables of contents", "page headers and footers"
_INDEXES = frozenset({"table-of-content", "illustration-index", "table-index", "alphabetical-index", "object-index"})
_SKIPPED = frozenset({"sequence-decls", "variable-decls", "user-field-decls", "forms", "soft-page-break", "settings"})
_GROUPS = frozenset({"section", "index-body", "bibliography", "text-box", "frame", "g", "custom-shape", "list-header"})


def read_odt(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """The body as Markdown, notes below the paragraph they belong to; what is left out is counted."""
    content = archived_xml(raw, settings, "content.xml")
    reader = _Reader(content)
    body = next((node for node in content.iter() if local_name(node) == "text" and _is_body(node)), None)
    if body is None:
        raise Unreadable("damaged, or not an OpenDocument text: open and save it again")
    text = "\n\n".join(reader.blocks(body))
    styles = archived_xml(raw, settings, "styles.xml", needed=False)
    if styles is not None:
        margins = sum(length_of(node) for node in styles.iter() if local_name(node) in ("header", "footer"))
        reader.left_out[_MARGINS] += margins
    yield Extracted(text, _title(raw, settings), left_out=dict(+reader.left_out))


def read_odp(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """A heading for each slide with its texts and, by setting, the speaker's notes below; slides are pages."""
    content = archived_xml(raw, settings, "content.xml")
    reader = _Reader(content)
    text, starts = "", []
    for number, page in enumerate((node for node in content.iter() if local_name(node) == "page"), start=1):
        text += "\n\n" if text else ""
        starts.append(len(text))
        text += "\n\n".join(_slide(page, number, reader, settings.slide_notes))
    if not starts:
        raise Unreadable("damaged, or not an OpenDocument presentation: open and save it again")
    yield Extracted(text, _title(raw, settings), tuple(starts), left_out=dict(+reader.left_out))


def archived_xml(raw: bytes, settings: DocumentSettings, name: str, *, needed: bool = True) -> Any:
    """The root of an XML file of an archive, parsed without entities; None if it lacks one that is not needed.

    Raises:
        Unreadable: the archive or the file is damaged or too large.
    """
    from lxml.etree import LxmlError, XMLParser, fromstring

    archive = checked_archive(raw, settings.max_unpacked_bytes, doctypes=True)
    try:
        with zipfile.ZipFile(archive) as file:
            return fromstring(file.read(name), parser=XMLParser(resolve_entities=False, no_network=True))
    except KeyError:
        if needed:
            raise Unreadable(f"damaged (it has no {name}): open and save it again") from None
        return None
    except LxmlError as error:
        raise Unreadable(f"damaged {name} ({first_line(error)}): open and save it again") from None


def local_name(node: Any) -> str:
    """A tag without its namespace; empty for a comment."""
    return node.tag.rpartition("}")[2] if node is not None and isinstance(node.tag, str) else ""


def length_of(node: Any) -> int:
    """The characters of text in an element, runs of white space as one."""
    return len(" ".join("".join(node.itertext()).split()))


def _is_body(node: Any) -> bool:
    return local_name(node.getparent()) == "body"


def _attribute(node: Any, name: str) -> str:
    return next((str(value) for key, value in node.attrib.items() if key.rpartition("}")[2] == name), "")


def _title(raw: bytes, settings: DocumentSettings) -> str | None:
    meta = archived_xml(raw, settings, "meta.xml", needed=False)
    titles = [] if meta is None else [node for node in meta.iter() if local_name(node) == "title"]
    return " ".join("".join(titles[0].itertext()).split()) or None if titles else None


def _slide(page: Any, number: int, reader: _Reader, notes: bool) -> Iterator[str]:
    frames = [node for node in page if local_name(node) != "notes"]
    titles = [node for node in frames if _attribute(node, "class") == "title"]
    heading = " ".join(" ".join(reader.blocks(title)) for title in titles)
    yield f"## {' '.join(heading.split()) or f'Slide {number}'}"
    for node in frames:
        if node not in titles:
            yield from reader.blocks(node)
    for node in page:
        if local_name(node) == "notes":
            if notes and (text := "\n\n".join(reader.blocks(node))):
                yield f"Notes: {text}"
            elif not notes:
                reader.left_out["notes"] += length_of(node)


class _Reader:
    """The blocks of elements, with the styles of a file; `left_out` counts what is not read."""

    def __init__(self, content: Any) -> None:
        self.left_out: Counter[str] = Counter()
        self._numbered: set[tuple[str, str]] = set()  # (list style, level)
        self._parents: dict[str, str] = {}
        self._hidden: set[str] = set()
        self._notes: list[str] = []
        self._boxes: list[str] = []
        self._note_number = 0
        for node in content.iter():
            name = local_name(node)
            if name == "list-level-style-number":
                self._numbered.add((_attribute(node.getparent(), "name"), _attribute(node, "level")))
            elif name == "style":
                self._parents[_attribute(node, "name")] = _attribute(node, "parent-style-name")
            elif name == "text-properties" and _attribute(node, "display") == "none":
                self._hidden.add(_attribute(node.getparent(), "name"))

    def blocks(self, parent: Any) -> Iterator[str]:
        """The blocks in an element."""
        for node in parent:
            name = local_name(node)
            if name in ("p", "h"):
                text = self._line(node)
                style = _attribute(node, "style-name")
                level = int(_attribute(node, "outline-level") or 1) if name == "h" else 0
                level = level or int("Title" in (style, self._parents.get(style)))
                if text:
                    yield f"{'#' * min(level, 6)} {' '.join(text.split())}" if level else text
                yield from self._waiting()
            elif name == "list":
                if items := "\n".join(self._items(node, 0, "")):
                    yield items
                yield from self._waiting()
            elif name == "table":
                if text := self._table(node):
                    yield text
                yield from self._waiting()
            elif name == "tracked-changes":
                self.left_out[_DELETED] += length_of(node)
            elif name in _INDEXES:
                self.left_out[_CONTENTS] += length_of(node)
            elif name in _GROUPS:
                if _attribute(node, "display") == "none":
                    self.left_out[_HIDDEN] += length_of(node)
                else:
                    yield from self.blocks(node)

    def _waiting(self) -> Iterator[str]:
        """Text boxes and notes that belong to the last block."""
        yield from self._boxes
        self._boxes = []
        yield from self._notes
        self._notes = []

    def _items(self, node: Any, depth: int, style: str) -> Iterator[str]:
        style = _attribute(node, "style-name") or style
        numbered = (style, str(depth + 1)) in self._numbered
        number = 0
        for item in node:
            if local_name(item) not in ("list-item", "list-header"):
                continue
            number += 1
            indent = "  " * min(depth, 8)
            mark = f"{number}. " if numbered else "- "
            for child in item:
                if local_name(child) == "list":
                    yield from self._items(child, depth + 1, style)
                elif local_name(child) in ("p", "h") and (text := " ".join(self._line(child).split())):
                    yield f"{indent}{mark}{text}"
                    mark = "  "

    def _table(self, node: Any) -> str:
        rows = []
        for row in node.iter():
            if local_name(row) == "table-row" and _table_of(row) is node:
                cells = [cell for cell in row if local_name(cell) in ("table-cell", "covered-table-cell")]
                rows.append(["; ".join(" ".join(block.split()) for block in self.blocks(cell)) for cell in cells])
        return markdown_table(rows) if any(any(row) for row in rows) else ""

    def _line(self, node: Any) -> str:
        parts: list[str] = []
        self._inline(node, parts)
        return "\n".join(" ".join(line.split(" ")).strip() for line in "".join(parts).split("\n")).strip()

    def _inline(self, node: Any, parts: list[str]) -> None:
        parts.append(_folded(node.text))
        for child in node:
            name = local_name(child)
            if name == "s":
                count = _attribute(child, "c")
                parts.append(" " * min(int(count), 1_000) if count.isdecimal() and len(count) < 9 else " ")
            elif name == "tab":
                parts.append("\t")
            elif name == "line-break":
                parts.append("\n")
            elif name == "note":
                self._note(child, parts)
            elif name == "annotation":
                self.left_out[_COMMENTS] += length_of(child)
            elif name == "frame" or name in _GROUPS:
                self._boxes += list(self.blocks(child))
            elif name == "ruby-text":
                parts.append(f"({' '.join(''.join(child.itertext()).split())})")
            elif name and name not in _SKIPPED and name != "annotation-end":
                if _attribute(child, "style-name") in self._hidden:
                    self.left_out[_HIDDEN] += length_of(child)
                else:
                    self._inline(child, parts)
            parts.append(_folded(child.tail))

    def _note(self, node: Any, parts: list[str]) -> None:
        self._note_number += 1
        parts.append(f"[^{self._note_number}]")
        number = self._note_number
        body = [child for child in node if local_name(child) == "note-body"]
        text = " ".join(" ".join(block.split()) for child in body for block in self.blocks(child))
        self._notes.append(f"[^{number}]: {text}")


def _table_of(row: Any) -> Any:
    parent = row.getparent()
    while local_name(parent) != "table":
        parent = parent.getparent()
    return parent


def _folded(text: str | None) -> str:
    if not text:
        return ""
    words = " ".join(text.split())
    lead = " " if text[0].isspace() else ""
    return f"{lead}{words}{' ' if words and text[-1].isspace() else ''}"
