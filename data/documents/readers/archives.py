"""Office files are ZIP archives of XML: unpacked within limits and looked through before a parser sees them."""

from __future__ import annotations

import io
import zipfile
import zlib

from data.documents.readers.extracted import Unreadable

_MAX_ENTRIES = 10_000
_BLOCK = 1 << 20
_NO_ARCHIVE = "damaged or no Office file (an Office file is a ZIP archive): open and save it again"


def checked_archive(raw: bytes, max_bytes: int) -> io.BytesIO:
    """The same archive, stored without compression, once every entry has been unpacked within the limit.

    A directory may lie about sizes and its entries may overlap, so what counts is what comes out.

    Raises:
        Unreadable: damaged, encrypted, too large, or its XML declares entities, which Office never does.
    """
    unpacked = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as source, zipfile.ZipFile(unpacked, "w", zipfile.ZIP_STORED) as target:
            entries = source.infolist()
            if len(entries) > _MAX_ENTRIES:
                raise Unreadable(f"an archive of {len(entries)} entries, over the {_MAX_ENTRIES} that are unpacked")
            if (total := sum(entry.file_size for entry in entries)) > max_bytes:
                raise _too_large(total, max_bytes)
            left = max_bytes
            for entry in entries:
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    # Others are unpacked without a bound, and no Office program writes them.
                    raise Unreadable("compressed in a way that no Office program uses: not opened")
                if entry.flag_bits & 1:
                    raise Unreadable("encrypted: remove the password")
                content = _content(source, entry, left, max_bytes)
                left -= len(content)
                _check_xml(entry.filename, content)
                target.writestr(zipfile.ZipInfo(entry.filename), content)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        encrypted = raw.startswith(b"\xd0\xcf\x11\xe0")  # an OLE container: what Office makes of an encrypted file
        raise Unreadable(
            "encrypted or of an old Office format: save it anew without" if encrypted else _NO_ARCHIVE
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


def _check_xml(name: str, content: bytes) -> None:
    if name.lower().endswith((".xml", ".rels")):
        for encoding in ("ascii", "utf-16-le", "utf-16-be"):
            if "<!DOCTYPE".encode(encoding) in content or "<!ENTITY".encode(encoding) in content:
                raise Unreadable(f"{name} declares XML entities, which no Office program writes: not opened")


def _too_large(size: int, max_bytes: int) -> Unreadable:
    return Unreadable(
        f"unpacks to {size:,} bytes or more, over documents.max_unpacked_bytes={max_bytes:,}: raise it if you trust it"
    )
