"""What of a web page is no content: scripts, hidden elements, menus, footers and cookie banners, with their sizes.

Of what a browser shows, only what is plainly no content is left out. A menu is recognised by its tag or its name,
together with the share of its text that stands in links, so that prose in a footer or in a side bar stays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

SCRIPTS = "scripts and styles"
COMMENTS = "comments"
HIDDEN = "hidden text"
MENUS = "menus and footers"
COOKIES = "cookie banners"
NOT_SHOWN = "text for other browsers"
LINE_NUMBERS = "line numbers"
#: Kinds that are taken after all where a page has nothing else.
SECOND_CHOICE = frozenset({MENUS, COOKIES, NOT_SHOWN})

_SCRIPT_TAGS = frozenset({"script", "style", "template"})
# Browsers show none of these; math's annotations repeat a formula in another form.
_OTHER_TAGS = frozenset({"noscript", "noframes", "iframe", "video", "audio", "canvas", "datalist", "annotation"})
_LINK_TAGS = frozenset({"a", "button", "option"})
_CELL_TAGS = frozenset({"td", "th"})
# In a cell they make the table a layout: a row of a Markdown table cannot hold them.
_STRUCTURE_TAGS = frozenset({"table", "h1", "h2", "h3", "h4", "h5", "h6", "pre"})

_INVISIBLE = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)
_MENU_NAME = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|navigation|menu|submenu|breadcrumbs?|pagination|pager|sidebar|toc|share|social|"
    r"skip(?:[_-]?(?:link|nav|to[\w-]*))?|sr-skip)(?=$|[\s_-])|navigation|breadcrumb",
    re.IGNORECASE,
)
_ALWAYS_MENU = re.compile(r"(?:^|\s)(?:mw-editsection|headerlink|anchor-?link|permalink|heading-anchor)(?=$|\s)")
_FOOTER_NAME = re.compile(r"(?:^|[\s_-])(?:footer|colophon|site-info)(?=$|[\s_-])", re.IGNORECASE)
_COOKIE_NAME = re.compile(
    r"cookie[\w-]*(?:banner|bar|consent|notice|popup|dialog|message|law|info|box|overlay|modal|warning|alert)|"
    r"(?:banner|bar|consent|notice|popup|dialog|message|law|overlay|modal)[\w-]*cookie|"
    r"(?:^|[\s_-])(?:cookies?|consent|gdpr|onetrust[\w-]*|cookiebot|cookieconsent|cc-window)(?=$|[\s_-])",
    re.IGNORECASE,
)
_COPYRIGHT = re.compile(r"\W*(?:©|\(c\)|copyright\b|all rights reserved\b|alle rechte\b)", re.IGNORECASE)
_LINE_NUMBERS = re.compile(r"(?:^|\s)(?:linenos?|line-numbers?|lineno)(?=$|\s)")
_MENU_SHARE = 0.5  # of the text in links, from which a menu by its tag is one
_NAMED_SHARE = 0.6  # the same for an element that only its name calls a menu
_COPYRIGHT_CHARACTERS = 300  # a longer footer is text
_COOKIE_CHARACTERS = 3_000
_LAYOUT_CELL = 500  # characters in a cell of a table without head cells, from which the table is a layout


@dataclass(slots=True)
class Size:
    """What stands in an element.

    Attributes:
        text: characters that a browser shows.
        linked: those of them that stand in links and buttons.
        structured: whether a heading, a listing or another table stands in it.
        cells, heads: its table cells, and those of them that are head cells.
        longest: characters of its longest table cell.
    """

    text: int = 0
    linked: int = 0
    structured: bool = False
    cells: int = 0
    heads: int = 0
    longest: int = 0

    @property
    def link_share(self) -> float:
        """The share of the text that stands in links."""
        return self.linked / self.text if self.text else 0.0


def name_of(element: Any) -> str:
    """The tag in lower case without its namespace; empty for a comment, an entity or an instruction."""
    tag = element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def measure(root: Any) -> dict[Any, Size]:
    """The size of every node of a tree, in one pass."""
    nodes = list(root.iter())
    sizes = {node: Size() for node in nodes}
    for node in reversed(nodes):  # what is in an element comes before it
        size, name = sizes[node], name_of(node)
        size.text += _length(node.text)
        if name in _LINK_TAGS:
            size.linked = size.text
        if name in _CELL_TAGS:
            size.cells, size.heads, size.longest = 1, int(name == "th"), size.text
        parent = None if node is root else node.getparent()
        if parent is None:
            continue
        outer = sizes[parent]
        outer.text += _length(node.tail)
        if not name or unseen_kind(node, name) is not None:
            continue
        outer.text += size.text
        outer.linked += size.linked
        outer.structured |= size.structured or name in _STRUCTURE_TAGS
        if name != "table":
            outer.cells += size.cells
            outer.heads += size.heads
            outer.longest = max(outer.longest, size.longest)
    return sizes


def is_layout(table: Any, size: Size) -> bool:
    """Whether a table only arranges a page: its cells are read one after another."""
    if table.get("role") in ("presentation", "none") or size.structured or size.cells < 2:
        return True
    return not size.heads and size.longest > _LAYOUT_CELL


def unseen_kind(element: Any, name: str) -> str | None:
    """The kind of an element that browsers do not show; empty for one whose text is no text; None for any other."""
    if name in _SCRIPT_TAGS:
        return SCRIPTS
    if name in ("title", "desc", "metadata"):  # of the page, which is read apart, or of a drawing
        return ""
    if name == "rp" and not len(element):  # the brackets around a reading, for browsers that do not know it
        return ""
    if name in _OTHER_TAGS:
        return NOT_SHOWN
    if element.get("hidden", "until-found") != "until-found" or (name == "dialog" and element.get("open") is None):
        return HIDDEN
    style = element.get("style")
    return HIDDEN if style and _INVISIBLE.search(style) else None


def is_footer(element: Any, name: str) -> bool:
    """Whether an element is a footer, by its tag, role or name."""
    return name == "footer" or element.get("role") == "contentinfo" or bool(_FOOTER_NAME.search(_names(element)))


def chrome_kind(element: Any, name: str, size: Size, in_footer: bool) -> str | None:
    """The kind of an element that browsers show but that is no content, or None.

    Args:
        in_footer: it is a footer of the page, or stands in one.
    """
    role, names = element.get("role"), _names(element)
    if names and _LINE_NUMBERS.search(names):
        return LINE_NUMBERS
    if names and _ALWAYS_MENU.search(names):
        return MENUS
    share = size.link_share
    if share >= _MENU_SHARE and (name == "nav" or role in ("navigation", "menu", "menubar", "tablist")):
        return MENUS
    if share >= _NAMED_SHARE and (name == "aside" or (names and _MENU_NAME.search(names))):
        return MENUS
    if in_footer and size.text and ((share >= _MENU_SHARE and name not in _LINK_TAGS) or _is_copyright(element, size)):
        return MENUS
    is_dialog = role in ("dialog", "alertdialog")
    if size.text <= _COOKIE_CHARACTERS and (is_dialog or (names and _COOKIE_NAME.search(names))):
        return COOKIES if "cookie" in "".join(element.itertext()).lower() else None
    return None


def _is_copyright(element: Any, size: Size) -> bool:
    return size.text <= _COPYRIGHT_CHARACTERS and _COPYRIGHT.match("".join(element.itertext())) is not None


def _names(element: Any) -> str:
    return " ".join(filter(None, (element.get("class"), element.get("id"))))


def _length(text: str | None) -> int:
    return len(" ".join(text.split())) if text else 0
