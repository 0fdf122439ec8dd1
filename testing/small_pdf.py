"""Small PDF files written by hand, so that each piece of text stands exactly where a test wants it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

_PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")
_FONTS = {"F1": "Helvetica", "F2": "Times-Roman", "F3": "Courier", "F4": "Helvetica-Bold"}
WIDTH, HEIGHT = 595, 842


def raw_pdf(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """A PDF of these objects; the first is its catalog."""
    body, offsets = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    end = b"trailer << /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF" % (size, trailer, len(body))
    return body + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table) + end


def stream(content: bytes, entries: bytes = b"") -> bytes:
    """A stream object, not compressed."""
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), entries, content)


def literal(text: str) -> str:
    """A string of a PDF."""
    return "(" + text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") + ")"


def shown(
    text: str, x: float, y: float, size: float = 12, font: str = "F1", turn: str = "1 0 0 1", more: str = ""
) -> str:
    """Operators that draw a text with its first baseline at (x, y), in points from the lower left corner.

    Args:
        turn: the first four numbers of the text's matrix.
        more: operators before the text, such as "3 Tr" (invisible).
    """
    return f"BT /{font} {size} Tf {more} {turn} {x} {y} Tm {literal(text)} Tj ET"


def below(lines: Sequence[str], x: float, y: float, leading: float = 14, size: float = 12, font: str = "F1") -> str:
    """Operators that draw lines below one another."""
    return "\n".join(shown(line, x, y - leading * number, size, font) for number, line in enumerate(lines))


def drawn_pdf(
    pages: Sequence[str],
    fields: Sequence[str] = (),
    notes: Sequence[str] = (),
    fonts: Mapping[str, bytes] | None = None,
    more: Sequence[bytes] = (),
    password: str | None = None,
) -> bytes:
    """A PDF whose pages have these contents (operators).

    Args:
        fields: entries of form fields ("/FT /Tx /T (name) /V (value) /Rect [...]"), on the first page.
        notes: entries of other annotations, on the first page.
        fonts: further fonts by name: dictionaries, which may refer to `more`.
        more: further objects; the first has the number that `first_more` says.
        password: encrypts it by RC4 with 40 bits.
    """
    count = len(pages)
    first = 4
    numbers = range(first, first + count)  # of the pages
    contents = range(first + count, first + 2 * count)
    annotations = range(first + 2 * count, first + 2 * count + len(fields) + len(notes))
    named = "".join(
        f"/{name} << /Type /Font /Subtype /Type1 /BaseFont /{base} /Encoding /WinAnsiEncoding >> "
        for name, base in _FONTS.items()
    ).encode()
    named += b" ".join(b"/%s %s" % (name.encode(), font) for name, font in (fonts or {}).items())
    form = b""
    if fields:
        listed = " ".join(f"{n} 0 R" for n in annotations[: len(fields)])
        form = f"/AcroForm << /Fields [{listed}] /DR << >> /DA (/Helv 10 Tf 0 g) >>".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R %s >>" % form,
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(b"%d 0 R" % n for n in numbers), count),
        b"<< /Font << %s >> >>" % named,
    ]
    listed_notes = b" ".join(b"%d 0 R" % n for n in annotations)
    for index, number in enumerate(contents):
        notes_here = b"/Annots [%s]" % listed_notes if index == 0 and annotations else b""
        size = b"/MediaBox [0 0 %d %d]" % (WIDTH, HEIGHT)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R %s /Resources 3 0 R /Contents %d 0 R %s >>" % (size, number, notes_here)
        )
    key, trailer = _encryption(password) if password is not None else (None, b"")
    for number, page in zip(contents, pages, strict=True):
        content = page.encode("cp1252")
        objects.append(stream(_rc4(_object_key(key, number), content) if key else content))
    objects += [f"<< /Type /Annot /Subtype /Widget {entry} >>".encode("cp1252") for entry in fields]
    objects += [f"<< /Type /Annot {entry} >>".encode("cp1252") for entry in notes]
    return raw_pdf([*objects, *more], trailer)


def first_more(pages: int, annotations: int = 0) -> int:
    """The number of the first of the further objects of `drawn_pdf`."""
    return 4 + 2 * pages + annotations


def _encryption(password: str) -> tuple[bytes, bytes]:
    """(key, the trailer's entries) of the standard handler's revision 2."""
    identity, allowed = bytes(16), -4
    padded = (password.encode("cp1252") + _PADDING)[:32]
    owner = _rc4(hashlib.md5((b"owner" + _PADDING)[:32], usedforsecurity=False).digest()[:5], padded)
    seed = padded + owner + (allowed & 0xFFFFFFFF).to_bytes(4, "little") + identity
    key = hashlib.md5(seed, usedforsecurity=False).digest()[:5]
    user = _rc4(key, _PADDING)
    entries = b"/Encrypt << /Filter /Standard /V 1 /R 2 /O <%s> /U <%s> /P %d >> /ID [<%s> <%s>]"
    owner_key, user_key, name = (value.hex().encode() for value in (owner, user, identity))
    return key, entries % (owner_key, user_key, allowed, name, name)


def _object_key(key: bytes, number: int) -> bytes:
    return hashlib.md5(key + number.to_bytes(3, "little") + bytes(2), usedforsecurity=False).digest()[:10]


def _rc4(key: bytes, content: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    out = bytearray()
    for byte in content:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
