"""HTML: the main text of a page as Markdown, without its menus, scripts and styles, by trafilatura."""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Iterator

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable
from data.documents.readers.text import decode

_DECLARED = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
_HEAD = 4096  # bytes that are searched for a declaration, as browsers do


def read_html(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """The main text of a page; if none is recognized, all its text, counted as `whole_pages`."""
    import trafilatura
    from lxml.etree import LxmlError
    from lxml.html import HTMLParser, document_fromstring

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it logs every page without main text
    declared = _DECLARED.search(raw[:_HEAD])
    decoded = decode(raw, _known(declared[1].decode()) if declared else settings.encoding)
    try:
        # As bytes, since lxml refuses a string that declares an encoding; the parser ignores the declaration.
        parser = HTMLParser(encoding="utf-8")
        tree = document_fromstring(decoded.text.encode("utf-8", "replace"), parser=parser)
    except (LxmlError, ValueError) as error:
        raise Unreadable(f"cannot be parsed as HTML ({error}): correct or remove the file") from None
    if any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in parser.error_log):
        raise Unreadable("nested too deeply, so the parser would drop text: simplify the page")
    title = " ".join((tree.findtext(".//title") or "").split()) or None
    for element in tree.xpath("//script | //style | //noscript | //template"):
        element.drop_tree()
    text = trafilatura.extract(tree, output_format="markdown", include_comments=False, include_tables=True)
    counts, remarks = dict(decoded.counts), decoded.remarks
    if not text:
        text = trafilatura.html2txt(tree)
        counts["whole_pages"] = 1
        remarks = (*remarks, "no main text was recognized, so all of the page's text is used")
    yield Extracted(text, title, counts=counts, remarks=remarks)


def _known(encoding: str) -> str | None:
    try:
        found = codecs.lookup(encoding)
        return found.name if found._is_text_encoding else None
    except LookupError:
        return None
