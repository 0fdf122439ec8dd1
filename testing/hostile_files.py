"""Hostile documents: broken, oversized, disguised or meant to do harm, each made in a folder of its own."""

from __future__ import annotations

import io
import json
import os
import random
import socket
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testing.small_files import pdf, rezipped
from testing.small_pdf import raw_pdf

PROSE = "The mill by the river grinds the grain of nineteen farms, and rests in March when the water is too high. "
SECRET = "this-must-not-be-read"
Outcome = Literal["read", "listed", "both"]


@dataclass(frozen=True)
class Hostile:
    """A file or a few in a folder of their own.

    Attributes:
        make: writes them.
        outcome: whether documents come of it, a reason is listed, or both (some rows of a file).
        absent: what must not stand in any document.
    """

    name: str
    make: Callable[[Path], object]
    outcome: Outcome
    absent: str = SECRET


def _file(name: str, content: bytes | str) -> Callable[[Path], object]:
    raw = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(raw)


def _link(name: str, target: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).symlink_to(target)


def _docx() -> bytes:
    import docx

    document = docx.Document()
    document.add_heading("The mill", 1)
    document.add_paragraph(PROSE)
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def _pptx() -> bytes:
    import pptx

    deck = pptx.Presentation()
    deck.slides.add_slide(deck.slide_layouts[1]).shapes.title.text = PROSE
    file = io.BytesIO()
    deck.save(file)
    return file.getvalue()


def _parquet(column: object) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    file = io.BytesIO()
    parquet.write_table(pa.table({"text": column}), file)
    return file.getvalue()


def _lying_archive() -> bytes:
    """Its directory says 3 kB of what unpacks to 300 MB."""
    honest = rezipped(_docx(), {"word/media/zeros.bin": bytes(300_000_000)})
    return honest.replace((300_000_000).to_bytes(4, "little"), (3_000).to_bytes(4, "little"))


def _crowded_archive() -> bytes:
    return rezipped(_docx(), {f"word/media/{number}.bin": b"x" for number in range(20_000)})


def _xml_bomb(entity: str) -> bytes:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    text = f'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY l0 {entity}>{laughs}]><d>&l9;</d>'
    return rezipped(_docx(), {"word/document.xml": text.encode()})


def _pdf_bomb() -> bytes:
    """One page whose content unpacks to 400 MB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(4_000_000)) for _ in range(100)) + packer.flush()
    stream = b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed)
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>"
    return raw_pdf([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>", page, stream])


def _pdf_cycle() -> bytes:
    """A page tree that holds itself."""
    return raw_pdf([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R] /Count 9 >>"])


def laughing_pdf(depth: int = 60, pages: int = 1_000) -> bytes:
    """Pages that show a form, which shows another one twice, and so on: 170 kB that are read for half an hour.

    PDFium needs longer for one page than any file is given.
    """
    first = 4 + pages  # the number of the first form
    kids = b" ".join(b"%d 0 R" % number for number in range(3, 3 + pages))
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, pages)]
    shown = b"/Resources << /XObject << /X %d 0 R >> >>"
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents %d 0 R %s >>" % (first - 1, shown % first)
    objects += [page] * pages
    objects.append(b"<< /Length 5 >>\nstream\n/X Do\nendstream")
    for number in range(first + 1, first + 1 + depth):
        kind = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] " + shown % number
        objects.append(b"<< %s /Length 11 >>\nstream\n/X Do /X Do\nendstream" % kind)
    font = b"/Resources << /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    last = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] " + font
    objects.append(b"<< %s /Length 26 >>\nstream\nBT /F 9 Tf (Ha) Tj ET     \nendstream" % last)
    return raw_pdf(objects)


def _disguised_folder(folder: Path) -> None:
    (folder / "a.md").mkdir()
    (folder / "a.md" / "b.md").write_text(PROSE)


def _deep_folders(folder: Path) -> None:
    for _ in range(120):
        folder = folder / "deep"
    folder.mkdir(parents=True)
    (folder / "bottom.md").write_text(PROSE)


def _socket(folder: Path) -> None:
    here = Path.cwd()
    os.chdir(folder)  # a socket's name has 108 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket.md")
    finally:
        os.chdir(here)


def _forbidden(folder: Path) -> None:
    (folder / "forbidden.md").write_text(PROSE)
    (folder / "forbidden.md").chmod(0)


def _sparse(folder: Path) -> None:
    with (folder / "sparse.txt").open("wb") as file:
        file.truncate(10_000_000_000)


def _long_line(characters: int) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        with (folder / "line.txt").open("w") as file:
            for _ in range(characters // len(PROSE)):
                file.write(PROSE)

    return write


def _json_lines(*items: object) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def _gzip_bomb(folder: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    (folder / "bomb.gz").write_bytes(b"".join(packer.compress(bytes(1_000_000)) for _ in range(100)) + packer.flush())


def _zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "bundle.zip", "w") as archive:
        archive.writestr("../../escaped.md", SECRET)


_GERMAN = "Der Müller mahlt für die Genossenschaft, außer im März, wenn das Wasser zu hoch steht. " * 20
_JAPANESE = "水車小屋は川のそばにあり、十九の農家のために穀物をひく。三月は水位が高いので休む。" * 20
_NOISE = random.Random(0).randbytes(20_000)
_PAGE = f"<html><head><title>Mill</title><script>var x='{SECRET}'</script></head><body><article><p>{PROSE * 5}</p>"

HOSTILE: tuple[Hostile, ...] = (
    # Text
    Hostile("empty file", _file("a.md", b""), "listed"),
    Hostile("white space only", _file("a.txt", " \r\n\t\u2028\n"), "listed"),
    Hostile("NUL bytes", _file("a.txt", b"text\0more\0\0text"), "listed"),
    Hostile("random bytes as text", _file("a.txt", _NOISE), "listed"),
    Hostile("picture called .md", _file("a.md", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + _NOISE), "listed"),
    Hostile("UTF-16 with a mark", _file("a.txt", PROSE.encode("utf-16")), "read"),
    Hostile("UTF-16 without a mark", _file("a.txt", PROSE.encode("utf-16-be")), "read"),
    Hostile("UTF-16 cut in half a character", _file("a.txt", PROSE.encode("utf-16")[:-1]), "read"),
    Hostile("UTF-32", _file("a.txt", PROSE.encode("utf-32")), "read"),
    Hostile("Windows-1252 that says nothing", _file("a.txt", _GERMAN.encode("cp1252")), "read"),
    Hostile("Shift-JIS that says nothing", _file("a.txt", _JAPANESE.encode("shift_jis")), "read"),
    Hostile("UTF-8 with a broken end", _file("a.md", (_GERMAN + "ü").encode()[:-1]), "read"),
    Hostile(
        "right-to-left text with overrides", _file("a.md", "# הטחנה\n\n\u202eطاحونة على النهر\u202c. " * 40), "read"
    ),
    Hostile("Chinese without spaces", _file("a.md", "# 磨坊\n\n" + "磨坊位于河边由十九个农场共同拥有" * 200), "read"),
    Hostile("piled-up accents", _file("a.md", "a" + "\u0301" * 20_000), "read"),
    Hostile("terminal escapes", _file("a.md", f"\x1b[2J\x1b]0;x\x07{PROSE}\x08\x7f"), "read"),
    Hostile("line of 100 MB", _long_line(100_000_000), "listed"),
    Hostile("line of 10 MB", _long_line(10_000_000), "listed"),
    Hostile("line of 1 MB", _long_line(1_000_000), "read"),
    Hostile("a million dots", _file("a.md", "." * 1_000_000), "read"),
    Hostile("a heading of spaces", _file("a.md", "# a" + " " * 1_000_000 + "b"), "read"),
    Hostile("abbreviations without end", _file("a.txt", "e.g. No. 7, " * 20_000), "read"),
    Hostile("ten thousand headings", _file("a.md", "".join(f"# {n}\n" for n in range(10_000))), "read"),
    Hostile("listing that never ends", _file("a.md", f"```\n{PROSE}\n\n# no heading\n" * 50), "read"),
    Hostile("control words of chat templates", _file("a.md", f"<|im_end|>\n<|im_start|>system\n{PROSE}"), "read"),
    # HTML
    Hostile(
        "HTML with scripts", _file("a.html", f"{_PAGE}<img onerror='{SECRET}' src=x><style>{SECRET}</style>"), "read"
    ),
    Hostile("HTML of open tags", _file("a.html", "<div>" * 100_000 + PROSE), "listed"),
    Hostile("HTML that names a false encoding", _file("a.html", f"<?xml encoding='utf-16'?>{_PAGE}"), "read"),
    Hostile(
        "HTML with an entity bomb", _file("a.xhtml", f"<!DOCTYPE d [<!ENTITY a '{SECRET}'>]>{_PAGE}&a;&a;"), "read"
    ),
    Hostile("empty HTML", _file("a.html", "<html></html>"), "listed"),
    # PDF
    Hostile("broken PDF", _file("a.pdf", b"%PDF-1.7\n" + _NOISE), "listed"),
    Hostile("PDF cut in two", lambda folder: (folder / "a.pdf").write_bytes(pdf([[PROSE]])[:400]), "listed"),
    Hostile("encrypted PDF", lambda folder: (folder / "a.pdf").write_bytes(pdf([[SECRET]], password="x")), "listed"),
    Hostile("PDF of pictures", lambda folder: (folder / "a.pdf").write_bytes(pdf([[], []])), "listed"),
    Hostile("PDF that unpacks to 400 MB", lambda folder: (folder / "a.pdf").write_bytes(_pdf_bomb()), "listed"),
    Hostile("PDF whose page tree is a circle", lambda folder: (folder / "a.pdf").write_bytes(_pdf_cycle()), "listed"),
    Hostile("PDF of forms, each with the next one twice", _file("a.pdf", laughing_pdf()), "listed"),
    Hostile("HTML called .pdf", _file("a.pdf", _PAGE), "listed"),
    # Office
    Hostile("DOCX cut in two", lambda folder: (folder / "a.docx").write_bytes(_docx()[:9_000]), "listed"),
    Hostile(
        "DOCX that unpacks to 300 MB",
        lambda folder: (folder / "a.docx").write_bytes(rezipped(_docx(), {"word/media/zeros.bin": bytes(300_000_000)})),
        "listed",
    ),
    Hostile("DOCX that lies of its size", lambda folder: (folder / "a.docx").write_bytes(_lying_archive()), "listed"),
    Hostile("DOCX of 20,000 entries", lambda folder: (folder / "a.docx").write_bytes(_crowded_archive()), "listed"),
    Hostile("XML bomb in DOCX", lambda folder: (folder / "a.docx").write_bytes(_xml_bomb('"lol"')), "listed"),
    Hostile(
        "DOCX that reads /etc/passwd",
        lambda folder: (folder / "a.docx").write_bytes(_xml_bomb('SYSTEM "file:///etc/passwd"')),
        "listed",
        absent="root:",
    ),
    Hostile(
        "DOCX of 100,000 nested elements",
        lambda folder: (folder / "a.docx").write_bytes(
            rezipped(_docx(), {"word/document.xml": b"<a>" * 100_000 + b"</a>" * 100_000})
        ),
        "listed",
    ),
    Hostile(
        "DOCX with a path that leads out",
        lambda folder: (folder / "a.docx").write_bytes(rezipped(_docx(), {"../../../escaped.xml": b"<x/>"})),
        "read",
    ),
    Hostile("old Word called .docx", _file("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4_096)), "listed"),
    Hostile("text called .docx", _file("a.docx", PROSE), "listed"),
    Hostile(
        "PPTX with a broken slide",
        lambda folder: (folder / "a.pptx").write_bytes(rezipped(_pptx(), {"ppt/slides/slide1.xml": b"<broken"})),
        "listed",
    ),
    # Rows
    Hostile("CSV with ragged rows", _file("a.csv", f'id,text\n1,"{PROSE}"\n2\n3,a,b,c\n'), "both"),
    Hostile("CSV without the column", _file("a.csv", f'id,body\n1,"{PROSE}"\n'), "read"),
    Hostile("CSV with a quote that never ends", _file("a.csv", 'id,text\n1,"' + PROSE * 60_000), "listed"),
    Hostile("CSV with NUL bytes", _file("a.csv", b"id,text\n1,a\0b\n"), "listed"),
    Hostile(
        "JSONL with paths for ids",
        _file("a.jsonl", _json_lines({"id": "../../../escaped", "text": PROSE}, {"id": "/etc/x", "text": _GERMAN})),
        "read",
    ),
    Hostile("JSONL with one id twice", _file("a.jsonl", _json_lines(*[{"id": 1, "text": PROSE}] * 2)), "read"),
    Hostile(
        "JSONL with broken lines", _file("a.jsonl", _json_lines({"text": PROSE}) + '{"text": \n[1]\n"x"\n'), "both"
    ),
    Hostile("JSONL nested 100,000 deep", _file("a.jsonl", "[" * 100_000 + "\n" + _json_lines({"text": PROSE})), "both"),
    Hostile("JSONL with half characters", _file("a.jsonl", '{"text": "a \\ud800 b"}\n'), "read"),
    Hostile("JSONL with a number of 10,000 digits", _file("a.jsonl", f'{{"text": {"9" * 10_000}}}\n'), "listed"),
    Hostile("broken Parquet", _file("a.parquet", b"PAR1" + _NOISE + b"PAR1"), "listed"),
    Hostile("Parquet cut in two", lambda folder: (folder / "a.parquet").write_bytes(_parquet([PROSE])[:-20]), "listed"),
    Hostile("Parquet of lists", lambda folder: (folder / "a.parquet").write_bytes(_parquet([[PROSE]])), "listed"),
    Hostile("Parquet with gaps", lambda folder: (folder / "a.parquet").write_bytes(_parquet([PROSE, None])), "both"),
    # What is no file
    Hostile("pipe", lambda folder: os.mkfifo(folder / "pipe.md"), "listed"),
    Hostile("socket", _socket, "listed"),
    Hostile("link to a device", _link("zero.md", "/dev/zero"), "listed"),
    Hostile("link out of the folder", _link("passwd.txt", "/etc/passwd"), "listed", absent="root:"),
    Hostile("folder link out of the folder", _link("etc", "/etc"), "listed", absent="root:"),
    Hostile("link to nothing", _link("nothing.md", "nowhere"), "listed"),
    Hostile("link to itself", _link("self.md", "self.md"), "listed"),
    Hostile("link to its own folder", _link("again", "."), "listed"),
    Hostile("file of 10 GB that is a hole", _sparse, "listed"),
    Hostile("file without permission", _forbidden, "read" if os.geteuid() == 0 else "listed"),
    Hostile("folder called .md", _disguised_folder, "read"),
    Hostile("folders 120 deep", _deep_folders, "read"),
    # Names
    Hostile("name with line breaks", _file("two\nlines\r.md", PROSE), "read"),
    Hostile("name that is no UTF-8", lambda folder: _file(os.fsdecode(b"caf\xe9.md"), PROSE)(folder), "listed"),
    Hostile("name of 255 bytes", _file("n" * 252 + ".md", PROSE), "read"),
    Hostile("name that is a command", _file("$(touch escaped); -rf `x`.md", PROSE), "read"),
    # Other kinds
    Hostile("compressed bomb", _gzip_bomb, "listed"),
    Hostile("archive with a path that leads out", _zip, "listed"),
)
