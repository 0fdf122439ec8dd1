"""PDFs with their true text, each a small file of its own: columns, hyphens, exponents, running titles, form values."""

import io
import textwrap
from collections.abc import Iterator, Sequence

from testing.small_pdf import raw_pdf
from testing.true_files import TrueFile
from testing.true_texts import FOREIGN, Paragraphs

_LEFT, TOP, _LEADING = 60, 760, 14
# Widths of Helvetica's letters in thousandths of its size; the others are 556 wide.
WIDTHS = {
    **dict.fromkeys(" ,./:;ft!I\\[]", 278),
    **dict.fromkeys("ijl'", 222),
    **dict.fromkeys("cksvxyzJ", 500),
    **dict.fromkeys("()r-", 333),
    **dict.fromkeys("mM", 833),
    **dict.fromkeys("ABEKPSVXY", 667),
    **dict.fromkeys("CDHNRUw", 722),
    **dict.fromkeys("GOQ", 778),
    **dict.fromkeys("FTZ", 611),
    "W": 944,
}


def pdf_files(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """PDF files."""
    yield from _flowing(paragraphs)
    yield from _placed(paragraphs)
    yield from _repeated(paragraphs)
    yield from _drawn(paragraphs)


def _flowing(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    texts = tuple(paragraphs.take(4))
    lines = [line for text in texts for line in (*textwrap.wrap(text, 84), "")]
    yield TrueFile("prose.pdf", make_pdf([text_at(lines)]), texts)
    lines = [
        "The plan is a long-",
        "term one and asks for self-",
        "employed helpers. Every infor-",
        "mation counts, and so does",
    ]
    lines += ["the co-", "operation of all mem-", "bers with a well-known", "name between 1914-", "1918."]
    whole = (
        "The plan is a long-term one and asks for self-employed helpers. Every information counts, and so does the "
        "cooperation of all members with a well-known name between 1914-1918."
    )
    body = paragraphs.take(2)
    more = [line for text in body for line in (*textwrap.wrap(f"{text} A long-term plan, self-employed.", 80), "")]
    yield TrueFile(
        "hyphens.pdf",
        make_pdf([text_at([*lines, "", *more])]),
        (whole, *(f"{text} A long-term plan, self-employed." for text in body)),
        hard="hyphens at line ends: of compounds, of broken words, of years",
    )
    a, b = paragraphs.take(2)
    first, second = textwrap.wrap(a, 70), textwrap.wrap(b, 70)
    cut = len(second) // 2
    yield TrueFile(
        "across-pages.pdf",
        make_pdf([text_at([*first, "", *second[:cut]]), text_at(second[cut:])]),
        (a, b),
        hard="a paragraph that goes over to the next page",
    )
    for language in ("french", "german", "spanish", "swedish", "english_curly"):
        texts = FOREIGN[language]
        lines = [line for text in texts for line in (*textwrap.wrap(text, 76, break_on_hyphens=False), "")]
        yield TrueFile(f"{language}.pdf", make_pdf([text_at(lines)]), texts, hard="WinAnsi letters")


def _placed(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    a, b = paragraphs.take(2)
    left, right = textwrap.wrap(a, 38), textwrap.wrap(b, 38)
    columns = [(_LEFT, left), (330, right)]
    by_column = [at(x, TOP - _LEADING * row, line) for x, lines in columns for row, line in enumerate(lines)]
    by_row = [
        at(x, TOP - _LEADING * row, lines[row])
        for row in range(max(len(left), len(right)))
        for x, lines in columns
        if row < len(lines)
    ]
    yield TrueFile("two-columns.pdf", make_pdf(["\n".join(by_column)]), (a, b), hard="two columns, one after the other")
    a, b = paragraphs.take(2)
    left, right = textwrap.wrap(a, 38), textwrap.wrap(b, 38)
    columns = [(_LEFT, left), (330, right)]
    by_row = [
        at(x, TOP - _LEADING * row, lines[row])
        for row in range(max(len(left), len(right)))
        for x, lines in columns
        if row < len(lines)
    ]
    yield TrueFile("columns-by-row.pdf", make_pdf(["\n".join(by_row)]), (a, b), hard="two columns, drawn row by row")
    a, b = paragraphs.take(2)
    yield TrueFile("word-a-piece.pdf", make_pdf([_words(a, TOP) + _words(b, TOP - 120)]), (a, b), hard="a word a time")
    a = paragraphs.take()[0]
    kerned = " T* ".join(
        "[" + " -280 ".join(f"({escaped(word)})" for word in line.split()) + "] TJ" for line in textwrap.wrap(a, 80)
    )
    content = f"BT /F1 11 Tf 14 TL {_LEFT} {TOP} Td {kerned} ET"
    yield TrueFile("kerned.pdf", make_pdf([content]), (a,), hard="spaces that are gaps, no character")
    a = paragraphs.take()[0]
    order = list(enumerate(textwrap.wrap(a, 70)))[::-1]
    yield TrueFile(
        "bottom-up.pdf",
        make_pdf(["\n".join(at(_LEFT, TOP - _LEADING * row, line) for row, line in order)]),
        (a,),
        hard="lines drawn from the bottom to the top",
    )
    raised = (
        "BT /F1 11 Tf 60 700 Td (Each block holds 10) Tj /F1 7 Tf 4 Ts (6) Tj /F1 11 Tf 0 Ts ( grains of sand.) Tj ET\n"
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "exponent.pdf",
        make_pdf([text_at(textwrap.wrap(a, 80)) + raised + text_at(textwrap.wrap(b, 80), 660)]),
        (a, "Each block holds 10^6 grains of sand.", b),
        hard="a raised exponent",
    )
    a, b = paragraphs.take(2)
    rows = (("Part", "Stock", "Price"), ("gasket 12 mm", "40", "0.35"), ("split pin", "1,200", "0.02"))
    cells = "\n".join(
        at(x, 640 - 16 * row, cell)
        for row, line in enumerate(rows)
        for x, cell in zip((60, 240, 330), line, strict=True)
    )
    yield TrueFile(
        "table.pdf",
        make_pdf([text_at(textwrap.wrap(a, 80)) + cells + text_at(textwrap.wrap(b, 80), 560)]),
        (a, *(" ".join(row) for row in rows), b),
        hard="a table by positions",
    )


def _repeated(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    texts = paragraphs.take(8)
    pages = [
        text_at(
            [
                "Handbook of the cold store",
                "",
                *textwrap.wrap(texts[2 * n], 80),
                "",
                *textwrap.wrap(texts[2 * n + 1], 80),
            ]
        )
        + at(280, 40, f"Page {n + 1} of 4")
        for n in range(4)
    ]
    numbers = tuple(f"Page {n} of 4" for n in range(1, 5))
    yield TrueFile(
        "running-title.pdf",
        make_pdf(pages),
        ("Handbook of the cold store", *texts),
        ("Handbook of the cold store", *numbers),
        "a running title, page numbers",
    )
    names = ("Ines Okafor", "Jan Berg", "Mira Lund", "Tom Sandhu", "Ana Reis")
    pages = [
        text_at(
            ["Dear member,", f"{name}, your berth is {n + 4}.", "The fee is 310 euros a year.", "Pay it before May."]
        )
        for n, name in enumerate(names)
    ]
    yield TrueFile(
        "letters.pdf",
        make_pdf(pages),
        (
            "Dear member,",
            "The fee is 310 euros a year.",
            "Pay it before May.",
            *tuple(f"{name}, your berth is {n + 4}." for n, name in enumerate(names)),
        ),
        ("Dear member,", "The fee is 310 euros a year.", "Pay it before May."),
        "pages whose only text is what they share",
    )
    texts = paragraphs.take(4)
    pages = [text_at([f"{n + 1}", "", *textwrap.wrap(text, 80)]) for n, text in enumerate(texts)]
    yield TrueFile("bare-numbers.pdf", make_pdf(pages), tuple(texts), tuple("1234"), "numbers of pages, at their top")


def _drawn(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    for language in ("russian", "greek", "polish"):
        texts = FOREIGN[language]
        for kind in (3, 42):
            yield TrueFile(
                f"{language}-{kind}.pdf", _matplotlib(texts, kind), texts, hard=f"embedded font, type {kind}"
            )
    yield TrueFile("no-map.pdf", _without_map(FOREIGN["russian"]), (), hard="glyph numbers without letters: nonsense")
    a, b = paragraphs.take(2)
    yield TrueFile(
        "form.pdf",
        _form(textwrap.wrap(a, 80), {"owner": "Ines Okafor", "berth": "A1, from 1 May"}),
        (a, "Ines Okafor", "A1, from 1 May"),
        ("owner", "berth", "owner:", "berth:", ":"),
        "values of a form",
    )
    lines = textwrap.wrap(b, 60)
    turned = f"BT /F1 11 Tf 14 TL 0 1 -1 0 300 100 Tm {' T* '.join(f'({escaped(line)}) Tj' for line in lines)} ET"
    yield TrueFile("turned.pdf", make_pdf([turned]), (b,), hard="text turned by ninety degrees")


def make_pdf(pages: Sequence[str], extra: str = "", catalog: str = "") -> bytes:
    """A PDF of pages of content, with Helvetica as F1.

    Args:
        extra: entries of each page.
        catalog: entries of the catalog.
    """
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {catalog} >>".encode(),
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, content in enumerate(pages):
        head = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"{head} /Contents {5 + 2 * number} 0 R {extra} >>".encode())
        raw = content.encode("cp1252")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(raw), raw))
    return raw_pdf(objects)


def text_at(lines: Sequence[str], top: int = TOP) -> str:
    """Content that draws lines, one below the other."""
    shown = " T* ".join(f"({escaped(line)}) Tj" for line in lines)
    return f"BT /F1 11 Tf {_LEADING} TL {_LEFT} {top} Td {shown} ET\n"


def at(x: float, y: float, line: str) -> str:
    """Content that draws a line at a place."""
    return f"BT /F1 11 Tf {x} {y} Td ({escaped(line)}) Tj ET\n"  # "ETBT" would be no operator


def _words(text: str, top: int) -> str:
    """Each word placed by itself, as browsers and office suites write them."""
    placed, x, y = [], float(_LEFT), top
    for word in text.split():
        width = sum(WIDTHS.get(letter, 556) for letter in word) * 11 / 1000
        if x + width > 540:
            x, y = float(_LEFT), y - _LEADING
        placed.append(f"BT /F1 11 Tf 1 0 0 1 {x:.1f} {y} Tm ({escaped(word)}) Tj ET")
        x += width + WIDTHS[" "] * 11 / 1000
    return "\n".join(placed) + "\n"


def escaped(line: str) -> str:
    """A line as a string of PDF."""
    return line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _matplotlib(texts: Sequence[str], kind: int) -> bytes:
    """The texts, drawn by matplotlib in DejaVu with a map to Unicode."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context({"pdf.fonttype": kind, "pdf.compression": 0}):
        figure = pyplot.figure(figsize=(8, 10))
        lines = [line for text in texts for line in (*textwrap.wrap(text, 70, break_on_hyphens=False), "")]
        for number, line in enumerate(lines):
            figure.text(0.05, 0.95 - 0.03 * number, line.replace("$", "\\$"), fontsize=10)
        file = io.BytesIO()
        figure.savefig(file, format="pdf", metadata={"CreationDate": None})
        pyplot.close(figure)
    return file.getvalue()


def _without_map(texts: Sequence[str]) -> bytes:
    """The same, without the map: what can be read are numbers of glyphs."""
    raw = _matplotlib(texts, 42)
    # Same length, so that all offsets hold.
    return raw.replace(b"/ToUnicode", b"/ToNothing")


def _form(lines: Sequence[str], fields: dict[str, str]) -> bytes:
    """A page and a form whose fields have values and no drawn appearance."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [%s] /DA (/F1 11 Tf 0 g) >> >>",
        b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    references = " ".join(f"{6 + n} 0 R" for n in range(len(fields))).encode()
    objects[0] %= references
    raw = text_at(lines).encode("cp1252")
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >>"
    objects.append(b"%s /Contents 5 0 R /Annots [%s] >>" % (page, references))
    objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(raw), raw))
    for number, (name, value) in enumerate(fields.items()):
        y = 500 - 30 * number
        objects.append(
            f"<< /Type /Annot /Subtype /Widget /FT /Tx /T ({name}) /V ({value}) /Rect [60 {y} 300 {y + 20}] /P 4 0 R "
            "/F 4 >>".encode()
        )
    return raw_pdf(objects)
