"""Unpacks Office files (ZIP archives of XML) within limits, and checks their XML before a parser sees it."""

from __future__ import annotations

import io
import re
import zipfile
import zlib

from data.documents.readers.extracted import Unreadable

_MAX_ENTRIES = 10_000
_BLOCK = 1 << 20
_STRICT = b"http://purl.oclc.org/ooxml/"
_STRICT_NAME = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/")
_TYPES = {
    b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml": (
        b"application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
        b"application/vnd.ms-word.document.macroEnabled.main+xml",
        b"application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
    ),
    b"application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml": (
        b"application/vnd.openxmlformats-officedocument.presentationml.slideshow.main+xml",
        b"application/vnd.openxmlformats-officedocument.presentationml.template.main+xml",
        b"application/vnd.ms-powerpoint.presentation.macroEnabled.main+xml",
        b"application/vnd.ms-powerpoint.slideshow.macroEnabled.main+xml",
    ),
}
_NO_ARCHIVE = "damaged, or not an Office file (a ZIP archive): open and save it again"


def checked_archive(raw: bytes, max_bytes: int, *, doctypes: bool = False) -> io.BytesIO:
    """The archive, repacked without compression; every entry is unpacked within the limit.

    The directory may declare wrong sizes and entries may overlap, so the limit counts unpacked bytes.

    Args:
        doctypes: the format's XML may name its type, as EPUB's does; entities may be declared in none.

    Raises:
        Unreadable: damaged, encrypted, too large, or with XML that declares entities, which Office never does.
    """
    unpacked = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as source, zipfile.ZipFile(unpacked, "w", zipfile.ZIP_STORED) as target:
            entries = source.infolist()
            if len(entries) > _MAX_ENTRIES:
                raise Unreadable(f"archive of {len(entries)} entries, over the limit of {_MAX_ENTRIES}")
            if (total := sum(entry.file_size for entry in entries)) > max_bytes:
                raise _too_large(total, max_bytes)
            left = max_bytes
            for entry in entries:
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # The others cannot be unpacked within a limit, and no Office program writes them.
                    raise Unreadable("compression method that no Office program uses: not opened")
                if entry.flag_bits & 1:
                    raise Unreadable("encrypted: remove the password")
                content = _content(source, entry, left, max_bytes)
                left -= len(content)
                _check_xml(entry.filename, content, doctypes)
                content = _as_libraries_expect(entry.filename, content)
                target.writestr(zipfile.ZipInfo(entry.filename), content)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        encrypted = raw.startswith(b"\xd0\xcf\x11\xe0")  # an OLE container, as Office writes encrypted files
        raise Unreadable(
            "encrypted, or an old Office format: save it as DOCX or PPTX, unencrypted" if encrypted else _NO_ARCHIVE
        ) from None
    unpacked.seek(0)
    return unpacked


def _content(source: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int, max_bytes: int) -> bytes:
    blocks = []
    with source.open(entry) as file:
        while block := file.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise _too_large(max_bytes - left, max_bytes)
            blocks.append(block)
    return b"".join(blocks)


def _check_xml(name: str, content: bytes, doctypes: bool) -> None:
    if name.lower().endswith((".xml", ".rels", ".opf", ".ncx")):
        refused = ("<!ENTITY",) if doctypes else ("<!DOCTYPE", "<!ENTITY")
        for encoding in ("ascii", "utf-16-le", "utf-16-be"):
            if any(mark.encode(encoding) in content for mark in refused):
                raise Unreadable(f"{name} declares XML entities, which no Office program writes: not opened")


def _as_libraries_expect(name: str, content: bytes) -> bytes:
    """An entry with the namespaces of ISO 29500's strict form, and the types of templates, as those of common files."""
    if name == "[Content_Types].xml":
        for kind, types in _TYPES.items():
            for other in types:
                content = content.replace(other, kind)
    if name.lower().endswith((".xml", ".rels")) and _STRICT in content:
        content = _STRICT_NAME.sub(rb"http://schemas.openxmlformats.org/\1/2006/", content)
    return content


def _too_large(size: int, max_bytes: int) -> Unreadable:
    return Unreadable(
        f"unpacks to {size:,} bytes or more, over documents.max_unpacked_bytes={max_bytes:,}: raise it if you trust it"
    )
