"""PDFs with traps: text drawn twice, off the page, letter by letter, in a form, on a turned page, encrypted."""

import io
import textwrap
from collections.abc import Iterator

from testing.true_files import TrueFile
from testing.true_pdfs import TOP, WIDTHS, assembled, at, escaped, make_pdf, text_at
from testing.true_texts import Paragraphs


def trap_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """PDF files."""
    a, b = paragraphs.take(2)
    bold = at(60, 700, "Rules of the quay") + "\n" + at(60.3, 700, "Rules of the quay")
    yield TrueFile(
        "bold-by-shadow.pdf",
        make_pdf([text_at(textwrap.wrap(a, 80)) + bold + text_at(textwrap.wrap(b, 80), 660)]),
        (a, "Rules of the quay", b),
        hard="a heading drawn twice to look bold",
    )
    a = paragraphs.take()[0]
    off = at(-900, 500, "Off the page: code 7741.") + "\n" + at(60, 2000, "Above the page: code 7742.")
    yield TrueFile("off-page.pdf", make_pdf([text_at(textwrap.wrap(a, 80)) + off]), (a,), hard="text off the page")
    a = paragraphs.take()[0]
    yield TrueFile("letter-a-piece.pdf", make_pdf([_letters(a)]), (a,), hard="each letter placed by itself")
    a, b = paragraphs.take(2)
    yield TrueFile("in-a-form.pdf", _in_a_form(textwrap.wrap(a, 80), textwrap.wrap(b, 80)), (a, b), hard="a form drawn")
    a = paragraphs.take()[0]
    yield TrueFile(
        "turned-page.pdf",
        make_pdf([text_at(textwrap.wrap(a, 80))], extra="/Rotate 90"),
        (a,),
        hard="a page shown turned",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "empty-password.pdf",
        _encrypted(make_pdf([text_at([*textwrap.wrap(a, 80), "", *textwrap.wrap(b, 80)])])),
        (a, b),
        hard="encrypted, opens without a password",
    )
    names = [
        "The firm of Meyer-",
        "Schmidt sends an e-",
        "mail on the 24-",
        "hour service; its two-",
        "and three-year plans",
    ]
    a, b = paragraphs.take(2)
    body = [*names, "are kept.", "", *textwrap.wrap(a, 80), "", *textwrap.wrap(b, 80)]
    whole = "The firm of Meyer-Schmidt sends an e-mail on the 24-hour service; its two- and three-year plans are kept."
    yield TrueFile("hyphened-names.pdf", make_pdf([text_at(body)]), (whole, a, b), hard="hyphens that must stay")
    texts = paragraphs.take(3)
    pages = [
        text_at(["Tariff 2026", "", *textwrap.wrap(text, 80), "", "Sum carried over: 310"]) + at(290, 30, f"- {n} -")
        for n, text in enumerate(texts, start=1)
    ]
    yield TrueFile(
        "sums.pdf",
        make_pdf(pages),
        ("Tariff 2026", "Sum carried over: 310", *texts),
        ("Tariff 2026", "Sum carried over: 310", "- 1 -", "- 2 -", "- 3 -"),
        "a line at the foot of each page",
    )
    words = ("inlet", "outlet", "bypass", "gauge")
    bullets = "\n".join(at(60, 640 - 16 * n, "\u2022") + at(75, 640 - 16 * n, word) for n, word in enumerate(words))
    a = paragraphs.take()[0]
    yield TrueFile(
        "bullets.pdf",
        make_pdf([text_at(textwrap.wrap(a, 80)) + bullets]),
        (a, *words),
        ("\u2022",),
        "bullets placed apart from their items",
    )


def _letters(text: str) -> str:
    """Each letter placed by itself, with no spaces between the words."""
    placed, y = [], TOP
    for line in textwrap.wrap(text, 80):
        x = 60.0
        for letter in line:
            if letter != " ":
                placed.append(f"BT /F1 11 Tf 1 0 0 1 {x:.2f} {y} Tm ({escaped(letter)}) Tj ET")
            x += WIDTHS.get(letter, 556) * 11 / 1000
        y -= 14
    return "\n".join(placed)


def _in_a_form(first: list[str], second: list[str]) -> bytes:
    """A page whose second text is drawn by a form that the page names."""
    contents = [(text_at(first) + "/X Do").encode("cp1252"), text_at(second, 500).encode("cp1252")]
    fonts = b"/Resources << /Font << /F1 3 0 R >> /XObject << /X 6 0 R >> >>"
    return assembled(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R %s >>" % fonts,
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(contents[0]), contents[0]),
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> "
            b"/Length %d >>\nstream\n%s\nendstream" % (len(contents[1]), contents[1]),
        ]
    )


def _encrypted(raw: bytes) -> bytes:
    """The file under an owner's password; a reader needs none."""
    import pypdf

    writer = pypdf.PdfWriter(clone_from=pypdf.PdfReader(io.BytesIO(raw)))
    writer.encrypt("", "owner", algorithm="RC4-128")
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()
