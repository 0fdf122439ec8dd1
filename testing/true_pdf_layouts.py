"""PDFs whose layout misleads: labels and values, dotted contents, stretched lines, spaced headings, a letterhead."""

import textwrap
from collections.abc import Iterator

from testing.true_files import TrueFile
from testing.true_pdfs import WIDTHS, at, escaped, make_pdf, text_at
from testing.true_texts import Paragraphs


def layout_pdfs(paragraphs: Paragraphs) -> Iterator[TrueFile]:
    """PDF files."""
    rows = (
        ("Name", "Ines Okafor"),
        ("Berth", "A1, the second from the gate"),
        ("Length over all", "8.20 m"),
        ("Insured with", "Mutual of Little Teague"),
        ("Valid until", "30 September 2026"),
        ("Remarks", "pays in spring, has a dog"),
    )
    a = paragraphs.take()[0]
    cells = "".join(at(60, 640 - 18 * n, k) + at(260, 640 - 18 * n, v) for n, (k, v) in enumerate(rows))
    yield TrueFile(
        "labels.pdf",
        make_pdf([text_at(textwrap.wrap(a, 80)) + cells]),
        (a, *(f"{key} {value}" for key, value in rows)),
        (":",),
        "labels on the left, values on the right",
    )
    names = ("Night shift", "Of the doors and who locks them", "Fire", "What to do when the pump stops", "Forms")
    dotted = [f"{n} {name} {'.' * (60 - len(name))} {3 * n}" for n, name in enumerate(names, start=1)]
    b = paragraphs.take()[0]
    yield TrueFile(
        "contents.pdf",
        make_pdf([text_at(["Contents", "", *dotted]), text_at(["Night shift", "", *textwrap.wrap(b, 80)])]),
        ("Contents", *names, "Night shift", b),
        (".", *"123456789", "12", "15", *(f"{'.' * (60 - len(name))}" for name in names)),
        "a dotted list of contents",
    )
    a, b = paragraphs.take(2)
    yield TrueFile(
        "justified.pdf",
        make_pdf([_justified([*textwrap.wrap(a, 62), "", *textwrap.wrap(b, 62)])]),
        (a, b),
        hard="lines stretched by wide spaces",
    )
    a = paragraphs.take()[0]
    spaced = "BT /F1 14 Tf 7 Tc 60 740 Td (RULES OF THE QUAY) Tj 0 Tc ET\n"
    yield TrueFile(
        "spaced-heading.pdf",
        make_pdf([spaced + text_at(textwrap.wrap(a, 80), 700)]),
        ("RULES OF THE QUAY", a),
        hard="a heading with gaps between its letters",
    )
    a, b = paragraphs.take(2)
    head = "".join(at(400, 740 - 14 * n, line) for n, line in enumerate(("Harbour Works", "Quay 3", "Little Teague")))
    head += "".join(at(60, 690 - 14 * n, line) for n, line in enumerate(("Ms Ines Okafor", "Hollow Lane 7", "Ostrand")))
    body = ["Dear Ms Okafor,", "", *textwrap.wrap(a, 80), "", *textwrap.wrap(b, 80), "", "Yours sincerely,"]
    yield TrueFile(
        "letter.pdf",
        make_pdf([head + at(400, 620, "9 March 2026") + text_at(body, 590)]),
        (
            "Harbour Works",
            "Quay 3",
            "Little Teague",
            "Ms Ines Okafor",
            "Hollow Lane 7",
            "Ostrand",
            "9 March 2026",
            "Dear Ms Okafor,",
            a,
            b,
            "Yours sincerely,",
        ),
        hard="a sender on the right, an address on the left",
    )
    code = (
        "def weigh(crates):",
        "    total = 0",
        "    for crate in crates:",
        "        total += crate",
        "    return total",
    )
    a = paragraphs.take()[0]
    yield TrueFile(
        "listing.pdf",
        make_pdf([text_at([*textwrap.wrap(a, 80), "", *code])]),
        (a, *code),
        hard="a listing with indented lines",
    )
    a, b = paragraphs.take(2)
    pages = [text_at(textwrap.wrap(text, 80)) + at(60, 40, f"Draft of 9 March, {n}") for n, text in ((1, a), (2, b))]
    yield TrueFile(
        "two-pages.pdf",
        make_pdf(pages),
        (a, b),
        ("Draft of 9 March, 1", "Draft of 9 March, 2"),
        "two pages with a line at their feet",
    )
    verse = ("The tide is out,", "the boats lie still,", "a heron stands", "below the mill.", "No more.")
    a = paragraphs.take()[0]
    yield TrueFile(
        "verse.pdf",
        make_pdf([text_at([*textwrap.wrap(a, 80), "", *verse])]),
        (a, *verse),
        hard="short lines that are no paragraph",
    )


def _justified(lines: list[str], width: float = 430) -> str:
    """Lines of one width by the spacing of words; the last line of a paragraph keeps its own."""
    drawn, y = [], 740
    for number, line in enumerate(lines):
        last = number + 1 == len(lines) or not lines[number + 1]
        natural = sum(WIDTHS.get(letter, 556) for letter in line) * 11 / 1000
        gaps = line.count(" ")
        extra = 0.0 if last or not gaps else (width - natural) / gaps
        drawn.append(f"BT /F1 11 Tf {extra:.2f} Tw 60 {y} Td ({escaped(line)}) Tj 0 Tw ET\n")
        y -= 14
    return "".join(drawn)
