"""Rich Text Format, by striprtf: its text without formatting."""

from __future__ import annotations

from collections.abc import Iterator

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable


def read_rtf(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """The text of a file.

    Raises:
        Unreadable: it is not RTF.
    """
    from striprtf.striprtf import rtf_to_text

    if not raw.lstrip().startswith(b"{\\rtf"):
        raise Unreadable("damaged, or not RTF: open and save it again")
    encoding = settings.encoding or "cp1252"
    text = rtf_to_text(raw.decode(encoding, "replace"), encoding=encoding, errors="replace")
    bad = text.count("\ufffd")
    remarks = (f"{bad} characters cannot be decoded and became replacement characters",) if bad else ()
    yield Extracted(text, counts={"bytes_replaced": bad} if bad else {}, remarks=remarks)
