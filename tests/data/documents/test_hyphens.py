"""Words that are broken at the ends of lines of a PDF: joined, or with their hyphen."""

import pytest

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted
from data.documents.readers.pdf import read_pdf
from testing.small_pdf import below, drawn_pdf


def read(*pages: str) -> Extracted:
    (item,) = read_pdf(drawn_pdf(pages), DocumentSettings())
    assert isinstance(item, Extracted)
    return item


# Both halves are words, as in an English compound.
GERMAN = "Die Mühle und das Wasser sind in der Stadt, und mit dem Rad ist es nicht zu verwechseln, das von der Wasser-"


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["A well-known wheel, and a well-", "known miller."], "A well-known wheel, and a well-known miller."),
        (["He signed a long-", "term lease."], "He signed a long-term lease."),
        (["The state-of-the-", "art wheel."], "The state-of-the-art wheel."),
        (["A self-", "employed engi-", "neer."], "A self-employed engineer."),
        (["Open from 1931-", "1932 in Sogn-", "Fjordane."], "Open from 1931-1932 in Sogn-Fjordane."),
        (["All under-", "stand the coo-", "kie."], "All understand the cookie."),
        (["The millrace, and the mill-", "race again."], "The millrace, and the millrace again."),
        (["The quern and the stone; a quern-", "stone."], "The quern and the stone; a quern-stone."),
        ([GERMAN, "mühle."], f"{GERMAN[:-1]}mühle."),
        (["Our two-", "and three-year thous-", "and plans."], "Our two-\nand three-year thousand plans."),
        (
            ["An e-", "mail, twenty-", "four crowns, a child-", "like set-", "up."],
            "An e-mail, twenty-four crowns, a child-like set-up.",
        ),
        (["A page ends with a dash -", "and goes on."], "A page ends with a dash -\nand goes on."),
    ],
)
def test_words_broken_at_line_ends(lines, text):
    assert read(below(lines, 50, 700)).text == text


def test_a_word_broken_between_pages_is_whole_on_the_first():
    item = read(below(["The mill grinds the grain of its mem-"], 50, 100), below(["bers and others."], 50, 700))
    assert item.text == "The mill grinds the grain of its members\nand others."
    assert item.text[item.pages[1] :] == "and others."
