"""Text files, and decoding: UTF-8 first, then the declared encoding, then detection, which is counted and logged."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable

# The longer marks first: UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text and its encoding; `detected` if nothing declared it."""

    text: str
    encoding: str
    detected: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """For `Extracted.counts`."""
        return {"detected_encodings": 1} if self.detected else {}

    @property
    def remarks(self) -> tuple[str, ...]:
        """For `Extracted.remarks`."""
        advice = "if that is wrong, set documents.encoding or save it as UTF-8"
        return (f"no encoding is declared, {self.encoding} was detected; {advice}",) if self.detected else ()


def read_text(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """Markdown or plain text, unchanged."""
    decoded = decode(raw, settings.encoding)
    yield Extracted(decoded.text, counts=decoded.counts, remarks=decoded.remarks)


def decode(raw: bytes, declared: str | None) -> Decoded:
    """Decodes bytes by their byte order mark, as UTF-8, as declared, or as detected.

    Args:
        declared: the encoding if it is not UTF-8; None if unknown.

    Raises:
        Unreadable: the bytes are binary, or no encoding fits.
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return Decoded(_decoded(raw[len(mark) :], encoding), encoding)
    if b"\0" in raw:
        return _decode_nuls(raw, declared)
    try:
        return Decoded(raw.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        pass
    return Decoded(_decoded(raw, declared), declared) if declared else _detect(raw)


def _decode_nuls(raw: bytes, declared: str | None) -> Decoded:
    """Decodes UTF-16 without a byte order mark: in mostly Latin text every other byte is NUL."""
    offset = raw.index(b"\0")
    if declared and codecs.lookup(declared).name.startswith(("utf-16", "utf-32")):
        return Decoded(_decoded(raw, declared), declared)
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(raw) % 2 == 0 and raw[first::2].count(0) > len(raw) // 4 and not raw[1 - first :: 2].count(0):
            return Decoded(_decoded(raw, encoding), encoding, detected=True)
    raise Unreadable(f"binary file (NUL byte at offset {offset}): save it as text")


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(f"not {encoding} ({error.reason} at offset {error.start}): save it as UTF-8") from None
    if "\0" in text:
        raise Unreadable(f"binary file (NUL character at {text.index(chr(0))}): save it as text")
    return text


def _detect(raw: bytes) -> Decoded:
    from charset_normalizer import from_bytes

    best = from_bytes(raw).best()
    if best is None:
        raise Unreadable("not UTF-8, and no other encoding was detected: save it as UTF-8")
    return Decoded(_decoded(raw, best.encoding), best.encoding, detected=True)
