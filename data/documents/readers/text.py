"""Text files, and bytes to text: UTF-8 first, then what is declared, and detection last and never silently."""

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
    """A text and the encoding that it was in; `detected` where nothing declared it."""

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
        return (f"nothing declares its encoding, {self.encoding} was detected; {advice}",) if self.detected else ()


def read_text(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """Markdown and plain text, as it stands."""
    decoded = decode(raw, settings.encoding)
    yield Extracted(decoded.text, counts=decoded.counts, remarks=decoded.remarks)


def decode(raw: bytes, declared: str | None) -> Decoded:
    """The text of bytes: by a byte order mark, as UTF-8, as declared, or as detected.

    Args:
        declared: the encoding of what is not UTF-8, if known.

    Raises:
        Unreadable: it is binary, or no encoding fits.
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
    """UTF-16 without a mark: every other byte of what is mostly Latin is NUL."""
    offset = raw.index(b"\0")
    if declared and codecs.lookup(declared).name.startswith(("utf-16", "utf-32")):
        return Decoded(_decoded(raw, declared), declared)
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(raw) % 2 == 0 and raw[first::2].count(0) > len(raw) // 4 and not raw[1 - first :: 2].count(0):
            return Decoded(_decoded(raw, encoding), encoding, detected=True)
    raise Unreadable(f"a binary file (NUL byte at offset {offset}): give it as text")


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(f"not {encoding} ({error.reason} at offset {error.start}): save it as UTF-8") from None
    if "\0" in text:
        raise Unreadable(f"a binary file (NUL character at {text.index(chr(0))}): give it as text")
    return text


def _detect(raw: bytes) -> Decoded:
    from charset_normalizer import from_bytes

    best = from_bytes(raw).best()
    if best is None:
        raise Unreadable("neither UTF-8 nor any encoding that can be detected: save it as UTF-8")
    return Decoded(_decoded(raw, best.encoding), best.encoding, detected=True)
