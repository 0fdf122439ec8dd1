"""HTML: the text of a page as Markdown, as a person reads it in a browser; what is left out is counted by kind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.entities import html5
from typing import Any

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable
from data.documents.readers.html_markdown import html_markdown
from data.documents.readers.text import Decoded, decode

_DECLARED = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_XML_DECLARED = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_.:-]+)")
_HEAD = 4096  # bytes that are searched for a declaration, as browsers do
_ENDS = re.compile(r"</(?:body|html)\s*>", re.IGNORECASE)
_NO_FRAMES = re.compile(r"<(/?)noframes\b[^>]{0,200}>", re.IGNORECASE)
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,31};)")
_XML_ENTITIES = frozenset({"amp;", "lt;", "gt;", "quot;", "apos;"})
_TITLE = "*[local-name() = 'html']/*[local-name() = 'head']/*[local-name() = 'title']"


@dataclass(frozen=True, slots=True)
class Page:
    """The text of a page as Markdown, its title, and what was left out, by kind; `whole` if menus are its content."""

    text: str
    title: str | None
    left_out: Mapping[str, int]
    whole: bool


def read_html(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """The text of a page; one that has nothing but menus or footers is taken whole, counted as `whole_pages`."""
    decoded = decode_html(raw, settings)
    yield _extracted(html_page(decoded.text), decoded)


def read_xhtml(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """The same of a page in XML; one that is not well-formed is read as HTML."""
    decoded = decode_html(raw, settings)
    yield _extracted(xhtml_page(decoded.text), decoded)


def decode_html(raw: bytes, settings: DocumentSettings) -> Decoded:
    """Decodes a page by what it declares."""
    declared = _DECLARED.search(raw[:_HEAD]) or _XML_DECLARED.match(raw[:_HEAD])
    return decode(raw, declared[1].decode() if declared else settings.encoding, sure=declared is None)


def html_page(text: str) -> Page:
    """The text of a page in HTML.

    Raises:
        Unreadable: it cannot be parsed, or the parser would drop text.
    """
    from lxml.etree import LxmlError
    from lxml.html import HTMLParser, document_fromstring

    try:
        # As bytes, since lxml refuses a string that declares an encoding; the parser ignores the declaration.
        parser = HTMLParser(encoding="utf-8")
        # Without the ends of the page: the parser would drop a text that follows them, which browsers show.
        if "<frameset" in text.lower():  # what stands for it where there are no frames is parsed, too
            text = _NO_FRAMES.sub(r"<\1noscript>", text)
        tree = document_fromstring(_ENDS.sub("", text).encode("utf-8", "replace"), parser=parser)
    except (LxmlError, ValueError) as error:
        raise Unreadable(f"cannot be parsed as HTML ({error}): correct or remove the file") from None
    if any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in parser.error_log):
        raise Unreadable("nested too deeply, so the parser would drop text: simplify the page")
    return _page(tree)


def xhtml_page(text: str) -> Page:
    """The text of a page in XHTML, where <script/> is an element and not the begin of one."""
    from lxml.etree import LxmlError, XMLParser, fromstring

    if "<!ENTITY" in text:
        return html_page(text)
    named = _ENTITY.sub(_as_character, text)
    # The declaration may name another encoding than the bytes have now.
    named = re.sub(r"^\s*<\?xml[^>]*\?>", "", named, count=1)
    try:
        parser = XMLParser(encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False)
        return _page(fromstring(named.encode("utf-8", "replace"), parser=parser))
    except (LxmlError, ValueError):
        return html_page(text)


def _as_character(entity: re.Match[str]) -> str:
    return entity[0] if entity[1] in _XML_ENTITIES else html5.get(entity[1], entity[0])


def _page(root: Any) -> Page:
    titles = root.xpath(f"/{_TITLE}") or root.xpath(
        "//*[local-name() = 'title'][not(ancestor::*[local-name() = 'svg'])]"
    )
    title = " ".join("".join(titles[0].itertext()).split()) if titles else ""
    text, left_out, whole = html_markdown(root)
    return Page(text, title or None, dict(left_out), whole)


def _extracted(page: Page, decoded: Decoded) -> Extracted:
    counts, remarks = dict(decoded.counts), decoded.remarks
    if page.whole:
        counts["whole_pages"] = 1
        remarks = (*remarks, "no main text was recognized, so all of the page's text is used")
    return Extracted(page.text, page.title, counts=counts, remarks=remarks, left_out=page.left_out)
