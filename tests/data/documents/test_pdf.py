"""PDF files written for each kind of page: their text in the order in which a person reads it, and what is left out."""

import io

import matplotlib.figure
import pypdfium2
import pytest

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart
from data.documents.readers.pdf import read_pdf
from testing.readings import one
from testing.small_files import pdf
from testing.small_pdf import below, drawn_pdf, first_more, shown

DEFAULT = DocumentSettings()


def read(*pages: str, **more) -> Extracted:
    return one(read_pdf(drawn_pdf(pages, **more), DEFAULT))


LINES = (
    "The mill by the river grinds the grain of nineteen farms, and has done so",
    "since the spring of 1931. Members pay by the sack; whoever is not a mem-",
    "ber pays half as much again. The well-known wheel was built by the found-",
    "ers, and it is well-known all over the valley for its quiet and its speed.",
    "It rests in March.",
    "The second paragraph begins here and goes on about the boats of the miller",
)

# Headers and footers


def test_pdf_pages_without_repeated_headers_footers_and_broken_words():
    names = ("Ardel", "Brine", "Corvo", "Dunmar")
    pages = [
        [
            "Mill handbook",
            *(line.replace("mill", name) for line in LINES),
            f"Closing words of {name}.",
            f"Page {n} of 4",
        ]
        for n, name in enumerate(names, start=1)
    ]
    item = one(read_pdf(pdf(pages), DEFAULT))
    # What the header says stays once, where it first stands; page numbers say nothing.
    assert item.text.count("Mill handbook") == 1 and item.text.startswith("Mill handbook")
    assert "Page 1" not in item.text and "Page 2" not in item.text
    assert item.counts == {"repeated_lines_dropped": 7, "broken_words_joined": 8}
    assert item.left_out == {"repeated page headers and footers": 3 * 13, "page numbers": 4 * 11}
    assert "whoever is not a member pays" in item.text.replace("\n", " ")
    assert "by the founders, and it is well-known" in item.text.replace("\n", " ")
    assert len(item.pages) == 4
    for name, start, end in zip(names[1:], item.pages[1:], [*item.pages[2:], len(item.text)], strict=True):
        assert item.text[start:].startswith(f"The {name} by the river")
        assert f"words of {name}." in item.text[start:end]
    assert "It rests in March.\n\nThe second paragraph" in item.text


def test_forms_that_repeat_what_is_filled_in_keep_all_lines():
    pages = [[f"Permit {n}", "Signed by: Edda Borg", f"Boat number {17 * n}", "Fee paid: yes"] for n in range(1, 6)]
    item = one(read_pdf(pdf(pages), DEFAULT))
    assert item.text.split("\n") == [line for page in pages for part in (*page, "") for line in [part]][:-1]
    assert not item.left_out


def test_lines_repeated_inside_pages_or_at_other_heights_stay():
    body = "\n".join(shown(f"Line {k} of the body, which is about the mill.", 50, 700 - 14 * k) for k in range(8))
    pages = [
        f"{shown(f'Chapter about {name}', 50, 790)} {body} {shown('Signed by the keeper.', 50, 500 - 40 * n)}"
        for n, name in enumerate(("rye", "oats", "flax", "hay"))
    ]
    item = read(*pages)
    assert item.text.count("Signed by the keeper.") == 4
    assert item.text.count("Line 3 of the body") == 4


def test_a_header_of_a_table_stays_on_the_first_page():
    pages = [
        below(["Fees of the quay", "Boat Fee", *(f"B{10 * n + k} {3 * k + n}" for k in range(8))], 50, 790)
        for n in range(4)
    ]
    item = read(*pages)
    assert item.text.startswith("Fees of the quay\nBoat Fee\nB0 0\n")
    assert item.text.count("Boat Fee") == 1 and item.left_out == {"repeated page headers and footers": 3 * 24}
    assert all(f"B{10 * n + k} {3 * k + n}" in item.text for n in range(4) for k in range(8))


def test_rows_of_numbers_at_the_edges_of_pages_are_no_headers():
    pages = [
        [f"Handbook {n + 1}", f"20{n:02} {3 * n} {n * n + 5}", f"So {'abcdef'[n]}.", f"Page {n + 1} of 6"]
        for n in range(6)
    ]
    # Apart from the rest, since they are half of all lines.
    drawn = [f"{shown(page[0], 50, 790)} {below(page[1:3], 50, 700)} {shown(page[3], 50, 40)}" for page in pages]
    item = read(*drawn)
    rows = [line for page in pages for line in page[1:3]]
    assert [line for line in item.text.split("\n") if line] == ["Handbook 1", *rows]


def test_a_page_that_is_one_line_stays():
    item = one(read_pdf(pdf([["Fact 1"], ["Fact 2"], ["Fact 3"]]), DEFAULT))
    assert item.text.split() == ["Fact", "1", "Fact", "2", "Fact", "3"]
    assert [item.text[start:].split("\n")[0] for start in item.pages] == ["Fact 1", "Fact 2", "Fact 3"]


# Geometry


def words_apart(text: str, x: float, y: float) -> str:
    """Each word as an object of its own, as Skia draws them; widths of Courier."""
    parts = []
    for word in text.split():
        parts.append(f"q 1 0 0 1 {x} {y} cm {shown(word, 0, 0, 10, 'F3')} Q")
        x += 6 * (len(word) + 1)
    return "\n".join(parts)


def test_words_that_are_drawn_one_by_one_are_lines():
    lines = ["The boats of Corvo lie below the quay", "until the gate opens in the morning."]
    item = read("\n".join(words_apart(line, 50, 700 - 14 * n) for n, line in enumerate(lines)))
    assert item.text == "\n".join(lines)


def test_letters_that_are_drawn_one_by_one_are_words():
    letters = "".join(shown(c, 50 + 6 * n, 700, 10, "F3") for n, c in enumerate("The gate is open.") if c != " ")
    assert read(letters).text == "The gate is open."


def test_superscripts_and_subscripts_are_told():
    def raised(text: str, by: float = 5) -> str:
        return f"{by} Ts /F2 8 Tf ({text}) Tj 0 Ts /F2 12 Tf"

    content = (
        f"(It holds 10) Tj {raised('6')} ( l of H) Tj {raised('2', -3)} (O at 10) Tj {raised('-3')} ( bar, 5 km) Tj "
        f"{raised('2')} ( from the 21) Tj {raised('st')} ( mill; x) Tj {raised('ab')} (.) Tj {raised('12')}"
    )
    assert (
        read(f"BT /F2 12 Tf 50 700 Td {content} ET").text
        == "It holds 10⁶ l of H₂O at 10⁻³ bar, 5 km² from the 21st mill; x^(ab).¹²"
    )


LEFT = (
    "The mill by the river grinds the grain of",
    "nineteen farms, and has done so since the",
    "spring of 1931. Members pay by the sack, and",
    "whoever is not a member pays half as much",
    "again. It rests in March, when the water is",
)
RIGHT = (
    "too high for the wheel, and the miller goes",
    "to the harbour to mend his boat instead. The",
    "keeper of the gate is Edda Borg, who has",
    "held the key since the flood. She closes it",
    "at 21:40 in winter, and at 23:00 in summer.",
)


def test_columns_that_are_drawn_row_by_row_are_read_one_after_the_other():
    rows = [
        f"{shown(a, 50, 700 - 14 * n, 10)} {shown(b, 310, 700 - 14 * n, 10)}"
        for n, (a, b) in enumerate(zip(LEFT, RIGHT, strict=True))
    ]
    heading = "Annals of the mill, volume nine, printed for its members and their friends in town"
    item = read("\n".join([shown(heading, 50, 760, 13), *rows, shown(heading.upper(), 50, 600, 10)]))
    assert item.text == "\n\n".join([heading, "\n".join(LEFT + RIGHT), heading.upper()])


TABLE = (
    ("Boat", "Owner", "Fee"),
    ("Marlin", "Jon Arde", "12 crowns"),
    ("Sea Horse", "Edda Borg", "7 crowns"),
    ("Old Gull", "Ann Hjelm", "30 crowns"),
    ("Tern", "Ole Brandt", "4 crowns"),
)


def test_tables_are_read_row_by_row_whatever_the_order_of_their_cells():
    cells = [
        shown(cell, 50 + 150 * column, 700 - 14 * row, 10)
        for column in range(3)
        for row, cell in enumerate(cells[column] for cells in TABLE)
    ]
    assert read("\n".join(cells)).text == "\n".join(" ".join(row) for row in TABLE)


def test_cells_of_several_lines_stay_together():
    rows = (
        (700, ["Question"], ["Answer"]),
        (676, ["When does the gate of the", "harbour close?"], ["At 21:40, and at 23:00 in", "the summer."]),
        (640, ["What does a night cost?"], ["Twelve crowns for a boat of", "six metres, thirty for one of", "twelve."]),
        (592, ["Where is the mill, and who", "built it?"], ["At Corvo; by its founders."]),
    )
    item = read("\n".join(below(a, 50, y, 12, 10) + below(b, 250, y, 12, 10) for y, a, b in rows))
    assert [line for line in item.text.split("\n") if line] == [" ".join(a + b) for _, a, b in rows]


def test_groups_of_rows_are_no_cells_of_several_lines():
    groups = [[(f"Name {n}:", f"Keeper {n}"), ("Age:", f"{30 + n}"), ("Home:", "Corvo, by the mill")] for n in range(4)]
    rows = [(row, 700 - 14 * k - 60 * n) for n, group in enumerate(groups) for k, row in enumerate(group)]
    item = read("\n".join(shown(a, 50, y, 10) + shown(b, 200, y, 10) for (a, b), y in rows))
    assert [line for line in item.text.split("\n") if line] == [" ".join(row) for row, _ in rows]


def test_boxes_that_are_drawn_one_after_the_other_are_read_so():
    left = ["Rye grinds well", "Oats are quite slow", "Flax is not ground"]
    right = ["The wheel is new", "Its stones are old", "March is for repairs"]
    item = read(below(left, 50, 700) + below(right, 300, 700))
    assert item.text.replace("\n\n", "\n") == "\n".join(left + right)


def test_columns_whose_lines_are_at_other_heights():
    item = read(below(LEFT, 50, 700, 14, 10) + below(RIGHT, 310, 695, 14, 10))
    assert item.text == "\n".join(LEFT + RIGHT)


def test_turned_text_follows_the_text_of_the_page():
    stamp = shown("COPY", 200, 400, 60, turn="0.7071 0.7071 -0.7071 0.7071")
    margin = shown("printed in 1931", 30, 300, 10, turn="0 1 -1 0")
    assert read(stamp + margin + below(LEFT, 50, 700)).text == "\n".join(LEFT) + "\n\nprinted in 1931\n\nCOPY"


def test_text_that_is_drawn_twice_or_invisibly_or_with_a_large_first_letter():
    assert read(shown("Bold words", 50, 700) + shown("Bold words", 50.4, 700)).text == "Bold words"
    assert read(shown("Recognised behind the scan.", 50, 700, more="3 Tr")).text == "Recognised behind the scan."
    initial = shown("T", 50, 672, 40) + below(["he mill by the river grinds", "the grain of nineteen."], 78, 700)
    assert read(initial).text == "The mill by the river grinds\nthe grain of nineteen."


# What is filled in, and what is left out


def test_form_fields_stand_where_they_are_filled_in():
    yes = "/FT /Btn /T (paid) /V /Yes /AS /Yes /AP << /N << /Yes 6 0 R >> >> /Rect [50 655 64 669]"
    no = "/FT /Btn /T (late) /AS /Off /AP << /N << /Yes 6 0 R >> >> /Rect [50 635 64 649]"
    fields = (
        "/FT /Tx /T (owner) /V (Jon Arde) /Rect [120 695 300 715]",
        "/FT /Tx /T (harbour) /V (Corvo) /Rect [120 500 300 520]",
        "/FT /Tx /T (empty) /Rect [120 400 300 420]",
        "/FT /Ch /Ff 131072 /T (season) /Opt [(winter) (summer)] /V (summer) /Rect [120 300 300 320]",
        yes,
        no,
        "/FT /Tx /T (hidden) /F 2 /V (Unseen) /Rect [120 200 300 220]",
        "/FT /Tx /T (secret) /Ff 8192 /V (sesame) /Rect [120 150 300 170]",
    )
    labels = shown("Full name:", 50, 700) + shown("Fee paid", 80, 658) + shown("Fee late", 80, 638)
    item = read(labels, fields=fields)
    assert item.left_out == {"hidden form fields": 12}
    lines = item.text.split("\n")
    assert [line for line in lines if line] == [
        "Full name: Jon Arde",
        "☒ Fee paid",
        "☐ Fee late",
        "harbour: Corvo",  # no label is beside it
        "season: summer",
    ]


def test_comments_are_left_out_and_counted_and_typed_on_text_is_read():
    notes = (
        "/Subtype /Text /Contents (please check) /Rect [10 10 20 20]",
        "/Subtype /FreeText /Contents (Typed on.) /Rect [50 600 200 620]",
        "/Subtype /Link /Contents (where) /Rect [10 10 20 20]",
    )
    item = read(shown("Body text.", 50, 700), notes=notes)
    assert (item.text, item.left_out) == ("Body text.\n\nTyped on.", {"comments": 12})


def test_text_outside_the_page_is_left_out_and_counted():
    item = read(shown("Seen.", 50, 700) + shown("Below it.", 50, -400) + shown("Beside.", 1500, 700))
    assert (item.text, item.left_out) == ("Seen.", {"text outside the page": 16})


@pytest.mark.parametrize(
    "text", ["הטחנה על הנהר טוחנת את הדגן", "الطاحونة على النهر تطحن", "Мельница у реки мелет", "Ο μύλος αλέθει"]
)
def test_other_scripts_are_in_the_order_of_reading(text):
    figure = matplotlib.figure.Figure()
    figure.text(0.1, 0.5, text)
    file = io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42, "font.family": ["DejaVu Sans"]}):
        figure.savefig(file, format="pdf")
    assert one(read_pdf(file.getvalue(), DEFAULT)).text == text


# What cannot be read


def test_a_pdf_page_that_cannot_be_read_is_a_fault_and_counted(monkeypatch: pytest.MonkeyPatch):
    load = pypdfium2.PdfDocument.get_page

    def breaks(document, index: int):
        if index == 1:
            raise pypdfium2.PdfiumError("Failed to load page.")
        return load(document, index)

    monkeypatch.setattr(pypdfium2.PdfDocument, "get_page", breaks)
    monkeypatch.setattr(pypdfium2.PdfDocument, "__getitem__", breaks)
    fault, item = read_pdf(pdf([["Text."], ["Broken."], ["More."]]), DEFAULT)
    assert fault == UnreadPart("page 2", "cannot be read (Failed to load page.)")
    assert item.counts == {"pages_without_text": 1} and "More." in item.text


def test_scanned_pages_are_told_and_a_scanned_file_is_refused():
    item = one(read_pdf(pdf([["Text."], [], ["More."], [], []]), DEFAULT))
    assert item.counts == {"pages_without_text": 3}
    assert item.remarks == ("no text on pages 2, 4, 5: if they are scanned, run text recognition (OCR) on them",)
    with pytest.raises(Unreadable, match=r"no text on its 2 pages .* \(OCR\) first"):
        list(read_pdf(pdf([[], []]), DEFAULT))


def exchanged(text: str, by: int) -> str:
    return "".join(chr((ord(c) - 97 + by) % 26 + 97) if c.islower() else c for c in text)


def test_pages_of_letters_that_make_no_words_are_listed():
    nonsense = [exchanged(line, 3) for line in LEFT + RIGHT]
    fault, item = read_pdf(pdf([list(LEFT), nonsense]), DEFAULT)
    assert isinstance(fault, UnreadPart) and fault.part == "page 2" and "text recognition (OCR)" in fault.reason
    assert item.text == "\n".join(LEFT)
    with pytest.raises(Unreadable, match=r"no text that can be read on its 1 pages.*\(OCR\)"):
        list(read_pdf(pdf([nonsense]), DEFAULT))


def glyphs(lines, shift: int) -> str:
    """Lines by the numbers of their glyphs, in a font that does not say which letters those are."""
    codes = ("".join(f"{ord(letter) - shift:04x}" for letter in line) for line in lines)
    return "\n".join(f"BT /G 10 Tf 1 0 0 1 50 {700 - 14 * n} Tm <{code}> Tj ET" for n, code in enumerate(codes))


def test_fonts_that_do_not_say_their_letters_are_read_only_where_they_make_words():
    font, number = b"<< /Type /Font /Subtype /Type0 /BaseFont /Own /Encoding /Identity-H", first_more(1)
    fonts = {"G": b"%s /DescendantFonts [%d 0 R] >>" % (font, number)}
    more = [
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Own /DW 500 /FontDescriptor %d 0 R /CIDSystemInfo "
        b"<< /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>" % (number + 1),
        b"<< /Type /FontDescriptor /FontName /Own /Flags 4 /FontBBox [0 -200 1000 800] /ItalicAngle 0 /Ascent 800 "
        b"/Descent -200 /CapHeight 700 /StemV 80 >>",
    ]
    item = read(glyphs(LEFT, 0), fonts=fonts, more=more)
    assert item.text == "\n".join(LEFT)
    assert item.remarks == ("171 characters whose fonts do not say which they are",)
    for lines in (LEFT, ["Fee 7"]):
        with pytest.raises(Unreadable, match=r"no text that can be read.*fonts do not say .*\(OCR\)"):
            read(glyphs(lines, 29), fonts=fonts, more=more)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (drawn_pdf([shown("Secret.", 50, 700)], password="open sesame"), r"encrypted: remove .* documents\.password"),
        (b"%PDF-1.7\nnothing", "damaged PDF"),
        (pdf([["Text."]])[:300], "damaged PDF|no text on its"),
        (b"", "damaged PDF"),
    ],
)
def test_pdf_that_cannot_be_read(raw, reason):
    with pytest.raises(Unreadable, match=reason) as caught:
        list(read_pdf(raw, DEFAULT))
    assert "\n" not in str(caught.value)


def test_encrypted_files_open_with_the_password_or_the_variable_that_holds_it(monkeypatch: pytest.MonkeyPatch):
    raw = pdf([["Secret words."]], password="open sesame")
    assert one(read_pdf(raw, DocumentSettings(password="open sesame"))).text == "Secret words."
    monkeypatch.setenv("MILL_PASSWORD", "open sesame")
    assert one(read_pdf(raw, DocumentSettings(password="MILL_PASSWORD"))).text == "Secret words."
    with pytest.raises(Unreadable, match=r"documents\.password does not open it"):
        list(read_pdf(raw, DocumentSettings(password="wrong")))
    assert one(read_pdf(pdf([["Open to all."]], password=""), DEFAULT)).text == "Open to all."


def test_pdf_stops_at_the_longest_document():
    settings = DocumentSettings(max_document_characters=100)
    with pytest.raises(Unreadable, match="max_document_characters=100 at page 2"):
        list(read_pdf(pdf([["x" * 70], ["y" * 70]]), settings))
