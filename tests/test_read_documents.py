"""The benchmark of reading: the scorer counts what is lost and what is invented, and the builders write true texts."""

import io
import zipfile

import docx
import openpyxl
import pypdf
import pytest

from data.documents.readers.registry import READERS
from testing.read_scores import folded, score_reading
from testing.true_collection import all_files, our_texts, score_files
from testing.true_files import TrueFile
from testing.true_texts import ENGLISH, FOREIGN

A, B, C = ENGLISH[:3]


def test_a_perfect_reading_in_markdown_loses_and_invents_nothing():
    reading = (
        f"# Title\n\n{A}\n\n- {B[:40]}\n  {B[41:]}\n\n| **x** | y |\n| --- | --- |\n| `1` | [site](http://a.b) |\n"
    )
    score = score_reading(("Title", A, B, "x y", "1 site"), reading)
    assert (score.recovered, score.invented) == (score.true, 0), (score.lost_texts, score.invented_texts)
    assert (score.recovered_percent, score.invented_percent) == (100.0, 0.0)


def test_a_lost_sentence_and_an_invented_one_are_counted_to_the_letter():
    first, second = A.split(". ", 1)
    lost = score_reading((A, B), f"{second}\n\n{B}")
    assert lost.true - lost.recovered == len(first) + len(". ") and lost.invented == 0
    extra = "Nobody ever wrote that."
    invented = score_reading((A, B), f"{A}\n\n{extra}\n\n{B}")
    assert invented.recovered == invented.true and invented.invented == len(extra.replace(" ", ""))
    inside = score_reading((A,), f"{first}. {extra} {second}")
    assert inside.recovered == inside.true and inside.invented == len(extra.replace(" ", ""))
    assert score_reading((A,), "").recovered == 0 and score_reading((), A).invented == len(A.replace(" ", ""))


def test_a_second_copy_is_invented_unless_it_is_optional():
    assert score_reading((A,), f"{A} {A}").invented == len(A.replace(" ", ""))
    assert score_reading((A,), f"{A} {A}", optional=(A,)).invented == 0
    assert score_reading((A,), A, optional=("Home",)) == score_reading(
        (A,), f"Home {A} Home", optional=("Home",)
    ).__class__(len(A), len(A), len(A), 0)


@pytest.mark.parametrize(
    ("true", "read", "lost", "invented"),
    [
        ("a long-term plan", "a longterm plan", 1, 0),
        ("the mill", "themill", 1, 0),
        ("die Genossenschaft prüft", "die Genos senschaft prüft", 0, 1),
        ("Følg måneskinnet hjem", "Fřlg mĺneskinnet hjem", 2, 2),
        ("it holds 10⁶ grains", "it holds 106 grains", 1, 0),
        ("it holds 10^6 grains", "it holds 10<sup>6</sup> grains", 0, 0),
        ("水車小屋は休む", "水車\n小屋は休む", 0, 0),
        ("tempera\u00adture of H₂O", "temperature of H2O", 0, 0),
        ("a*b*c and snake_case", "a\\*b\\*c and snake\\_case", 0, 0),
        ("of the first edition", "oﬀ the ﬁrst edition", 0, 1),
    ],
)
def test_letters_hyphens_and_spaces_count_one_each(true, read, lost, invented):
    score = score_reading((true,), read)
    assert (score.true - score.recovered, score.invented) == (lost, invented), score


def test_lines_of_two_columns_that_alternate_are_lost_and_blocks_may_change_places():
    left, right = ([text[at : at + 38] for at in range(0, len(text), 38)] for text in (A, B))
    mixed = " ".join(line for pair in zip(left, right, strict=False) for line in pair)
    assert score_reading((A, B), mixed).recovered_percent < 45
    assert score_reading((A, B, C), f"{C}\n{A}\n{B}").recovered_percent == 100
    # Over a page, with the title of the next one between.
    cut = len(A) // 2
    score = score_reading((A,), f"{A[:cut]}\n\nA running title\n\n{A[cut:]}", optional=("A running title",))
    assert (score.recovered, score.invented) == (score.true, 0)


def test_words_that_only_occur_somewhere_are_no_part_of_a_lost_text():
    score = score_reading((A,), B)
    assert score.recovered == 0 and score.invented == len(B.replace(" ", ""))


@pytest.fixture(scope="module")
def files() -> dict[str, TrueFile]:
    return {file.name: file for file in all_files()}


def test_the_collection_has_many_files_of_every_format(files):
    assert len(files) >= 60
    assert {suffix for suffix in READERS if suffix != ".text"} <= {file.suffix for file in files.values()}
    assert [file.name for file in files.values() if not file.truth] == ["no-map.pdf"]


def test_builders_write_what_they_call_the_truth(files):
    assert files["danish.txt"].content.decode("cp1252").split("\r\n\r\n") == list(FOREIGN["danish"])
    document = docx.Document(io.BytesIO(files["plain.docx"].content))
    assert tuple(paragraph.text for paragraph in document.paragraphs) == files["plain.docx"].truth
    (page,) = pypdf.PdfReader(io.BytesIO(files["prose.pdf"].content)).pages
    assert folded(page.extract_text()) == folded(" ".join(files["prose.pdf"].truth))
    sheet = openpyxl.load_workbook(io.BytesIO(files["berths.xlsx"].content)).worksheets[0]
    assert [cell.value for cell in sheet[1]] == ["Berth", "Length", "Paid on"]
    with zipfile.ZipFile(io.BytesIO(files["plant.odt"].content)) as archive:
        assert b"Deleted: code 7741" in archive.read("content.xml")
    assert any(b"7741" in file.content for file in files.values())
    assert not any("7741" in text for file in files.values() for text in file.truth), "hidden text is never the truth"


def test_files_are_read_as_a_corpus_and_scored():
    files = [
        TrueFile("a.txt", A.encode(), (A,)),
        TrueFile("b.pdf", b"%PDF-", (B,)),
        TrueFile("c.csv", b"text\nX y.\n", ()),
    ]
    texts, reasons = our_texts(files)
    assert texts == {"a.txt": A, "c.csv": "X y."} and set(reasons) == {"b.pdf"}
    scores = score_files(files, texts)
    assert [scores[name].recovered for name in ("a.txt", "b.pdf", "c.csv")] == [len(A), 0, 0]
    assert scores["c.csv"].invented == 3
