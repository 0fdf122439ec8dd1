"""A web page as Markdown: headings, paragraphs, lists, tables, definitions and listings, in the order of the page.

One walk over the tree. Text gathers in a frame until a block ends. A frame is the page, or an element whose text
becomes one line (a heading, a table cell, a term), or a listing. Lists need no frame: a block knows how deep it is.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from data.documents.readers.html_content import (
    COMMENTS,
    SECOND_CHOICE,
    Size,
    chrome_kind,
    is_footer,
    is_layout,
    measure,
    name_of,
    unseen_kind,
)
from data.documents.readers.html_frames import BREAK, SOFT_HYPHEN, SPACE, Frame, line_of
from data.documents.readers.html_marks import (
    field_value,
    heading_level,
    is_block,
    item_mark,
    lowered,
    number_of,
    raised,
)
from data.documents.readers.html_tables import Table, table_text

_LISTS = frozenset({"ul", "ol", "menu", "dir", "select"})
_ITEMS = frozenset({"li", "option"})
_LISTINGS = frozenset({"pre", "listing", "xmp", "plaintext", "textarea"})
_LINES = frozenset({"dt", "summary", "caption"})  # their text becomes one line
_TABLE_PARTS = frozenset({"table", "tr", "td", "th", "tfoot"})
_PARTS = frozenset({"article", "main", "section", "aside", "blockquote"})  # a footer in them is not the page's
_STRUCK = frozenset({"del", "s", "strike"})

_AROUND_BREAK = re.compile(f" *{BREAK} *")
_BLANK_LINES = re.compile("\n{3,}")
_LOOKS_LIKE_MARKDOWN = re.compile(r"(?m)^(?=#{1,6} |```|~~~)")
_ENDS_WELL = (":", "?", "!", ".", "：", "？", "。")
_DEEPEST = 8  # lists that are indented further read no better
_MOST_COLUMNS = 100  # that one cell may span
_LIST_STYLE = re.compile(r"list-style(?:-type)?\s*:\s*([a-z-]+)")


@dataclass(slots=True)
class _List:
    ordered: bool
    numbering: str
    next: int


def html_markdown(root: Any) -> tuple[str, Counter[str], bool]:
    """The text of a page, what was left out (kind -> characters), and whether menus had to be taken for content.

    Args:
        root: the tree of the page, by lxml.
    """
    sizes = measure(root)
    walk = _Walk(sizes, everything=False)
    text = walk.text_of(root)
    if text or not SECOND_CHOICE & walk.left_out.keys():
        return text, walk.left_out, False
    walk = _Walk(sizes, everything=True)
    text = walk.text_of(root)
    return text, walk.left_out, bool(text)


class _Walk:
    """One walk over a page; `everything` takes menus, footers and texts for other browsers as content."""

    def __init__(self, sizes: dict[Any, Size], everything: bool) -> None:
        self.left_out: Counter[str] = Counter()
        self._sizes = sizes
        self._everything = everything
        self._frames = [Frame()]
        self._tables: list[Table | None] = []  # None: a layout
        self._lists: list[_List] = []
        self._item = ""  # the mark of a list item whose text has not begun
        self._term = ""  # a term whose definition has not begun
        self._group = 0  # lists and definition lists around
        self._glued = False  # the next block follows the last one on the next line
        self._parts = 0
        self._footer: list[Any] = []  # of the page, if we are in it

    def text_of(self, root: Any) -> str:
        """The Markdown of a tree."""
        from lxml.etree import iterwalk

        walk = iterwalk(root, events=("start", "end", "comment", "pi"))
        skipped: Any = None
        for event, node in walk:
            if event == "start":
                name = name_of(node)
                kind = self._kind(node, name)
                if kind is not None:
                    if kind:
                        self.left_out[kind] += self._sizes[node].text
                    skipped = node
                    walk.skip_subtree()
                    continue
                self._start(node, name)
                if node.text:
                    self._frames[-1].inline.append(node.text)
            elif event == "end":
                if self._footer and self._footer[-1] is node:
                    self._footer.pop()
                if node is skipped:
                    skipped = None
                else:
                    self._end(node, name_of(node))
                self._tail(node, root)
            else:
                if event == "comment":
                    self.left_out[COMMENTS] += self._sizes[node].text
                self._tail(node, root)
        self._flush()
        self._spend_term()
        self.left_out += Counter()  # without zeros
        return "".join(self._frames[0].blocks)

    def _tail(self, node: Any, root: Any) -> None:
        if node.tail and node is not root:
            self._frames[-1].inline.append(node.tail)

    def _kind(self, node: Any, name: str) -> str | None:
        kind = unseen_kind(node, name)
        if kind is None and not self._everything and name not in ("html", "body", "main"):
            if not self._footer and not self._parts and name not in _PARTS and is_footer(node, name):
                self._footer.append(node)
            kind = chrome_kind(node, name, self._sizes[node], bool(self._footer))
        return None if kind in SECOND_CHOICE and self._everything else kind

    # The starts and ends of elements

    def _start(self, node: Any, name: str) -> None:
        if is_block(node, name):
            self._flush()
        self._parts += name in _PARTS
        if name in _LISTS:
            self._open_list(node, name)
        elif name in _ITEMS:
            self._spend_term()
            self._item = self._mark(node)
        elif name == "dl":
            self._group += 1
        elif name == "dt":
            self._spend_term()
            self._frames.append(Frame(line=True))
        elif name in _LINES or heading_level(node, name):
            self._frames.append(Frame(line=True))
        elif name in _LISTINGS:
            self._frames.append(Frame(raw=True))
        elif name in _TABLE_PARTS:
            self._start_of_table(node, name)
        elif name in ("ruby", "rt", "sup", "sub"):
            self._frames.append(Frame(line=True, ruby=name == "ruby"))
        elif name == "br":
            self._frames[-1].inline.append("\n" if self._frames[-1].raw else BREAK)
        elif name == "q":
            self._frames[-1].inline.append("“")
        elif name in _STRUCK and self._is_struck(node):
            self._frames[-1].inline.append("~~")
        elif name == "button":  # a box
            self._frames[-1].inline.append(" ")
        elif name == "optgroup":
            self._frames[-1].inline.append(node.get("label") or "")
        elif name == "input":
            self._frames[-1].inline.append(field_value(node))

    def _end(self, node: Any, name: str) -> None:
        if name in ("ruby", "rt", "sup", "sub"):
            self._end_of_small(node, name)
        elif name in ("q", "button"):
            self._frames[-1].inline.append("”" if name == "q" else " ")
        elif name in _STRUCK and self._is_struck(node):
            self._frames[-1].inline.append("~~")
        elif name in _LISTINGS:
            self._listing("".join(self._frames.pop().inline))
        elif is_block(node, name):
            self._end_of_block(node, name)
        self._parts -= name in _PARTS

    def _end_of_block(self, node: Any, name: str) -> None:
        self._flush()
        level = heading_level(node, name)
        if level or name in _LINES or name in _TABLE_PARTS or name in ("dl", "dd"):
            self._spend_term()
        if name in _LISTS:
            self._lists.pop()
            self._leave_group()
        elif name in _ITEMS:
            self._item = ""
        elif name == "dl":
            self._leave_group()
        elif name == "dt":
            term = line_of(self._frames.pop())
            self._term = term if not term or term.endswith(_ENDS_WELL) else f"{term}:"
        elif level:
            title = line_of(self._frames.pop())
            in_text = self._frames[-1].line or self._lists or self._term
            self._add(title if in_text or not title else f"{'#' * level} {title}")
        elif name in _LINES:
            self._add(line_of(self._frames.pop()))
            self._glued = name == "summary"
        elif name in _TABLE_PARTS:
            self._end_of_table(node, name)

    def _end_of_small(self, node: Any, name: str) -> None:
        frame = self._frames.pop()
        raw = "".join(frame.inline)
        text = line_of(frame)
        outer = self._frames[-1]
        if name == "rt" and outer.ruby:
            outer.readings.append(text)
            return
        if frame.readings:
            text = f"{text}({''.join(frame.readings)})"
        elif name == "sup":
            text = raised(text)
        elif name == "sub" and text.isdigit():
            before = outer.inline[-1][-1:] if outer.inline else ""
            if before.isdigit() or (node.tail or "")[:1].isdigit():  # log₂8 is not log28
                text = lowered(text)
        outer.inline += [raw[:1] if raw[:1].isspace() else "", text, raw[-1:] if raw[-1:].isspace() else ""]

    # Lists

    def _open_list(self, node: Any, name: str) -> None:
        self._spend_term()
        self._group += 1
        found = _LIST_STYLE.search(node.get("style") or "")
        self._lists.append(
            _List(name == "ol", found[1] if found else node.get("type") or "", number_of(node, "start", 1))
        )

    def _mark(self, node: Any) -> str:
        """The mark of a list item."""
        if not self._lists or not self._lists[-1].ordered:
            return "- "
        inner = self._lists[-1]
        number = number_of(node, "value", inner.next)
        inner.next = number + 1
        return item_mark(number, inner.numbering)

    def _leave_group(self) -> None:
        self._group -= 1
        self._glued = self._group > 0

    def _spend_term(self) -> None:
        """A term without a text beside it stands on a line of its own."""
        if self._term:
            self._add("")

    # Tables

    def _start_of_table(self, node: Any, name: str) -> None:
        if name == "table":
            layout = is_layout(node, self._sizes[node])
            self._tables.append(None if layout else Table())
            if not layout:
                self._frames.append(Frame())
        elif self._tables and (table := self._tables[-1]) is not None:
            if name == "tfoot":
                table.in_foot = True
            elif name == "tr":
                (table.last_rows if table.in_foot else table.rows).append([])
            elif name in ("td", "th"):
                self._frames.append(Frame(line=True))

    def _end_of_table(self, node: Any, name: str) -> None:
        if name == "table":
            table = self._tables.pop()
            if table is not None:
                for block in self._frames.pop().blocks:  # the caption
                    self._add(block.strip("\n"))
                self._add(table_text([*table.rows, *table.last_rows]))
        elif self._tables and (table := self._tables[-1]) is not None:
            if name == "tfoot":
                table.in_foot = False
            elif name in ("td", "th"):
                rows = table.last_rows if table.in_foot else table.rows
                if not rows:
                    rows.append([])
                columns = min(max(number_of(node, "colspan", 1), 1), _MOST_COLUMNS)
                rows[-1].append((line_of(self._frames.pop()), columns, max(number_of(node, "rowspan", 1), 1)))

    # Blocks

    def _flush(self) -> None:
        """Ends the text that has gathered as a block."""
        frame = self._frames[-1]
        if not frame.inline:
            return
        raw = "".join(frame.inline)
        if frame.raw:  # a block in a listing begins a line
            if raw and not raw.endswith("\n"):
                frame.inline.append("\n")
            return
        frame.inline.clear()
        text = self._folded(raw)
        if text:
            self._add(_LOOKS_LIKE_MARKDOWN.sub(r"\\", text))

    def _folded(self, raw: str) -> str:
        hyphens = raw.count(SOFT_HYPHEN)
        if hyphens:
            self.left_out["soft hyphens"] += hyphens
            raw = raw.replace(SOFT_HYPHEN, "")
        text = _AROUND_BREAK.sub("\n", SPACE.sub(" ", raw))
        return _BLANK_LINES.sub("\n\n", text).strip(" \n")

    def _listing(self, raw: str) -> None:
        text = raw.replace("\r\n", "\n").removeprefix("\n").rstrip()
        if not text.strip():
            return
        if self._frames[-1].line:
            self._add(self._folded(text))
            return
        longest = max(map(len, re.findall("`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        self._add(f"{fence}\n{text}\n{fence}")

    def _add(self, text: str) -> None:
        """Adds a block, after the term and the mark of the item that it begins."""
        text = " ".join(filter(None, (self._term, text)))
        self._term = ""
        if not text:
            return
        frame = self._frames[-1]
        if frame.raw:
            frame.inline.append(f"{text}\n")
            return
        item, self._item = self._item, ""
        if frame.line:
            frame.blocks.append(f"{BREAK}{text}" if item else text)
            return
        depth = len(self._lists)
        if depth:
            indent = "  " * min(depth - 1, _DEEPEST)
            first, *rest = text.split("\n")
            later = [f"{indent}  {line}" if line else line for line in rest]
            text = "\n".join([f"{indent}{item or '  '}{first}", *later])
        elif item:
            text = f"{item}{text}"
        if frame.blocks:
            text = ("\n" if self._glued else "\n\n") + text
        frame.blocks.append(text)
        self._glued = self._group > 0

    def _is_struck(self, node: Any) -> bool:
        return self._sizes[node].text > 0 and not any(is_block(child, name_of(child)) for child in node)
