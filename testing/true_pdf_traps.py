"""PDFs with traps: text drawn twice, off the page, letter by letter, in a form, on a turned page, encrypted."""

import io
import textwrap
from collections.abc import Iterator

from testing.small_pdf import raw_pdf
from testing.true_files import TrueFile
from testing.true_pdfs import TOP, WIDTHS, at, escaped, make_pdf, text_at
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


def more_traps(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """PDF files."""
    a = paragraphs.take()[0]
    cropped = text_at(textwrap.wrap(a, 80)) + at(60, 20, "Cut away: code 7741.")
    yield TrueFile(
        "crop-box.pdf", make_pdf([cropped], extra="/CropBox [0 100 612 792]"), (a,), hard="text outside the shown part"
    )
    a, b = paragraphs.take(2)
    left, right = textwrap.wrap(a, 38), textwrap.wrap(b, 38)
    lines = [at(60, 740, "Two rules of the quay, one page"), at(60, 60, "Printed in March 2026")]
    for row in range(max(len(left), len(right))):
        lines += [at(60, 700 - 14 * row, left[row])] if row < len(left) else []
        lines += [at(330, 700 - 14 * row, right[row])] if row < len(right) else []
    yield TrueFile(
        "heading-over-columns.pdf",
        make_pdf(["\n".join(lines)]),
        ("Two rules of the quay, one page", a, b, "Printed in March 2026"),
        hard="a heading over two columns that are drawn row by row",
    )
    texts = paragraphs.take(3)
    thirds = [textwrap.wrap(text, 26) for text in texts]
    pieces = [
        at(40 + 190 * n, 740 - 14 * row, line) for n, lines in enumerate(thirds) for row, line in enumerate(lines)
    ]
    yield TrueFile("three-columns.pdf", make_pdf(["\n".join(pieces)]), tuple(texts), hard="three columns")
    a = paragraphs.take()[0]
    rest = textwrap.wrap(a[1:], 80)
    drop = f"BT /F1 34 Tf 60 740 Td ({a[0]}) Tj ET\n" + at(86, 752, rest[0]) + "\n" + text_at(rest[1:], 734)
    yield TrueFile("drop-cap.pdf", make_pdf([drop]), (a,), hard="a large first letter")
    a, b = paragraphs.take(2)
    stamp = "q 0.7 0.7 -0.7 0.7 150 200 cm 0.9 g BT /F1 90 Tf 0 0 Td (DRAFT) Tj ET Q\n"
    pages = [stamp + text_at(textwrap.wrap(text, 80)) for text in (a, b)]
    yield TrueFile("stamp.pdf", make_pdf(pages), (a, b), ("DRAFT",), "a stamp across each page")
    a, b = paragraphs.take(2)
    low = "BT /F1 11 Tf 60 640 Td (Water is H) Tj /F1 7 Tf -3 Ts (2) Tj /F1 11 Tf 0 Ts (O, area 40 m) Tj "
    low += "/F1 7 Tf 4 Ts (2) Tj "
    low += "/F1 11 Tf 0 Ts (, see note) Tj /F1 7 Tf 4 Ts (3) Tj /F1 11 Tf 0 Ts (.) Tj ET\n"
    note = "BT /F1 8 Tf 60 80 Td (3  Measured in 2024.) Tj ET\n"
    yield TrueFile(
        "low-and-high.pdf",
        make_pdf([text_at(textwrap.wrap(a, 80)) + low + text_at(textwrap.wrap(b, 80), 600) + note]),
        (a, "Water is H2O, area 40 m^2, see note", b, "Measured in 2024."),
        ("3", "^3", ".", "^3.", "3."),
        "lowered and raised digits, a note at the foot",
    )
    rows = [("Item", "What it is for", "Sum")]
    rows += [(f"Nr {n}", text[:34], f"{n}10.50") for n, text in enumerate(paragraphs.take(8), start=1)]
    cells = [
        at(x, 740 - 16 * n, cell) for n, row in enumerate(rows) for x, cell in zip((60, 140, 420), row, strict=True)
    ]
    yield TrueFile("long-table.pdf", make_pdf(["\n".join(cells)]), tuple(" ".join(row) for row in rows), hard="a table")


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
    return raw_pdf(
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
