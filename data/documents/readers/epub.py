"""EPUB: the chapters of a book in their order, each as a page of XHTML."""

from __future__ import annotations

import posixpath
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from data.documents.documents import DocumentSettings
from data.documents.readers.archives import checked_archive
from data.documents.readers.extracted import Extracted, Unreadable, first_line
from data.documents.readers.html import decode_html, xhtml_page
from data.documents.readers.open_documents import local_name

_CONTAINER, _ENCRYPTION = "META-INF/container.xml", "META-INF/encryption.xml"
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document")


def read_epub(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """The text of all chapters; a remark counts chapters that are named and missing.

    Raises:
        Unreadable: damaged, too large, or protected against reading (DRM).
    """
    with zipfile.ZipFile(checked_archive(raw, settings.max_unpacked_bytes, doctypes=True)) as book:
        names = set(book.namelist())
        if _CONTAINER not in names:
            raise Unreadable(f"damaged, or no EPUB (it has no {_CONTAINER}): download it again")
        roots = [node.get("full-path") for node in _xml(book, _CONTAINER).iter() if local_name(node) == "rootfile"]
        if not roots or roots[0] not in names:
            raise Unreadable("damaged EPUB (its list of contents is missing): download it again")
        package = _xml(book, roots[0])
        chapters = [
            unquote(posixpath.normpath(posixpath.join(posixpath.dirname(roots[0]), path))) for path in _spine(package)
        ]
        protected = _protected(book) if _ENCRYPTION in names else set()
        if protected.intersection(chapters):
            raise Unreadable("protected against reading (DRM): use a copy without protection")
        texts: list[str] = []
        left_out: Counter[str] = Counter()
        missing = 0
        for chapter in chapters:
            if chapter not in names:
                missing += 1
                continue
            page = xhtml_page(decode_html(book.read(chapter), settings).text)
            left_out.update(page.left_out)
            if page.text and not page.whole:  # a page of nothing but links is the table of contents
                texts.append(page.text)
            elif page.text:
                left_out["tables of contents"] += len(page.text)
    titles = [" ".join("".join(node.itertext()).split()) for node in package.iter() if local_name(node) == "title"]
    remarks = (f"{missing} chapters are named and missing",) if missing else ()
    yield Extracted("\n\n".join(texts), next(filter(None, titles), None), remarks=remarks, left_out=dict(left_out))


def _spine(package: Any) -> list[str]:
    """The paths of the chapters, relative to the package file, in reading order."""
    paths = {
        node.get("id"): node.get("href")
        for node in package.iter()
        if local_name(node) == "item" and (node.get("media-type") or _PAGES[0]) in _PAGES and node.get("href")
    }
    order = [node.get("idref") for node in package.iter() if local_name(node) == "itemref"]
    return [paths[name] for name in dict.fromkeys(order) if name in paths]


def _protected(book: zipfile.ZipFile) -> set[str]:
    nodes = _xml(book, _ENCRYPTION).iter()
    return {unquote(node.get("URI", "")) for node in nodes if local_name(node) == "CipherReference"}


def _xml(book: zipfile.ZipFile, name: str) -> Any:
    from lxml.etree import LxmlError, XMLParser, fromstring

    try:
        return fromstring(book.read(name), parser=XMLParser(resolve_entities=False, no_network=True))
    except LxmlError as error:
        raise Unreadable(f"damaged EPUB ({name}: {first_line(error)}): download it again") from None
