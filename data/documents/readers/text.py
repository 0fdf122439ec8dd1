"""Text files, and decoding: by mark, as UTF-8, as declared, or by a guess, which is counted and reported."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from data.documents.documents import DocumentSettings
from data.documents.readers.encodings import guess_encodings, known_encoding, mends_utf8
from data.documents.readers.extracted import Extracted, Unreadable

# The longer marks first: UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_REPLACED = "\ufffd"
_MOST_BAD = 0.01  # of the characters; with more bytes that do not fit, the encoding is another
_SHORT = 10  # characters; a shorter text with one bad byte has another encoding
_ISO_2022_JP = re.compile(rb"\x1b\$[@B]")
_TERMINAL = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\))")
_BINARY = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")
_MOST_BINARY = 0.02  # of the bytes may be control characters


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text and its encoding; `detected` if nothing declared it; `bad` bytes became replacement characters."""

    text: str
    encoding: str
    detected: bool = False
    bad: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """For `Extracted.counts`."""
        found = {"detected_encodings": int(self.detected), "bytes_replaced": self.bad}
        return {name: number for name, number in found.items() if number}

    @property
    def remarks(self) -> tuple[str, ...]:
        """For `Extracted.remarks`."""
        advice = "if that is wrong, set documents.encoding or save it as UTF-8"
        said = [f"no encoding is declared, {self.encoding} was detected; {advice}"] if self.detected else []
        if self.bad:
            said.append(f"{self.bad} bytes are not {self.encoding} and became replacement characters; save it as UTF-8")
        return tuple(said)


def read_text(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """Plain text, unchanged but for what terminals take for commands, such as colours."""
    decoded = decode(raw, settings.encoding)
    text = _TERMINAL.sub("", decoded.text)
    left_out = {"terminal commands": len(decoded.text) - len(text)} if len(text) < len(decoded.text) else {}
    yield Extracted(text, counts=decoded.counts, remarks=decoded.remarks, left_out=left_out)


def decode(raw: bytes, declared: str | None, *, sure: bool = True) -> Decoded:
    """Decodes bytes by their byte order mark, as UTF-8, as declared, or as guessed.

    A byte that does not fit costs that byte: it becomes U+FFFD and is counted.

    Args:
        declared: the encoding if it is not UTF-8; None if unknown.
        sure: a person declared it; else the file itself did, and may be wrong.

    Raises:
        Unreadable: the bytes are binary, or no encoding fits.
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return _mended(raw[len(mark) :], encoding)
    declared = known_encoding(declared) if declared else None
    if b"\0" in raw:
        return _decode_nuls(raw, declared)
    if _ISO_2022_JP.search(raw):  # only ASCII bytes, so it looks like UTF-8
        try:
            return Decoded(raw.decode("iso2022_jp"), "iso2022_jp", detected=declared is None)
        except UnicodeDecodeError:
            pass
    try:
        return Decoded(raw.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        pass
    if mends_utf8(raw):
        text = raw.decode("utf-8", "replace")
        return Decoded(text, "utf-8", bad=text.count(_REPLACED) - raw.count(_REPLACED.encode()))
    if declared and not declared.startswith("utf"):
        try:
            return _mended(raw, declared)
        except Unreadable:
            if sure:
                raise
    if len(_BINARY.findall(raw)) > _MOST_BINARY * len(raw):
        raise Unreadable("not UTF-8, and no other encoding was detected: save it as UTF-8")
    for encoding in guess_encodings(raw):
        with suppress(Unreadable):
            guessed = _mended(raw, encoding)
            return Decoded(guessed.text, encoding, detected=True, bad=guessed.bad)
    raise AssertionError("any bytes are Windows-1252")


def _decode_nuls(raw: bytes, declared: str | None) -> Decoded:
    """Decodes UTF-16 without a byte order mark: in mostly Latin text every other byte is NUL."""
    offset = raw.index(b"\0")
    if declared and codecs.lookup(declared).name.startswith(("utf-16", "utf-32")):
        return _mended(raw, declared)
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(raw) % 2 == 0 and raw[first::2].count(0) > len(raw) // 4 and not raw[1 - first :: 2].count(0):
            decoded = _mended(raw, encoding)
            return Decoded(decoded.text, encoding, detected=True, bad=decoded.bad)
    raise Unreadable(f"binary file (NUL byte at offset {offset}): save it as text")


def _mended(raw: bytes, encoding: str) -> Decoded:
    """The text, with U+FFFD for the few bytes that do not fit."""
    try:
        text, bad = raw.decode(encoding), 0
    except UnicodeDecodeError as error:
        text = raw.decode(encoding, "replace")
        bad = text.count(_REPLACED)
        if bad > (1 if len(text) >= _SHORT else 0) and bad > _MOST_BAD * len(text) and encoding != "cp1252":
            raise Unreadable(f"not {encoding} ({error.reason} at offset {error.start}): save it as UTF-8") from None
    if "\0" in text:
        raise Unreadable(f"binary file (NUL character at {text.index(chr(0))}): save it as text")
    return Decoded(text, encoding, bad=bad)
