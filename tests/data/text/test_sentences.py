"""The sentence splitter on the cases that break simple ones."""

import pytest

from data.text.sentences import sentence_spans


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    "pieces",
    [
        ["It holds 3.5 tonnes.", "It was built in 1912."],
        ["Dr. A. J. Mott met Mrs. Hale at 9 a.m. on Monday.", "They spoke."],
        ["It was said by J. A. Hobson.", "A goat heard it."],
        ["See Fig. 3 and No. 7, i.e. the old map.", "The answer was no.", "They left."],
        ['"Is it cold?" she asked.', "Nobody knew!", "(It was cold.)", "Then: nothing."],
        ["Ropes, nets, floats, etc. are kept here.", "We sell ropes, etc.", "The shop is shut."],
        ["It belongs to Smith & Co. of Hull.", "J. Smith owns it.", "So does the U.S. Navy.", "Version 2.0. is old."],
        ["He waited... and waited.", "Then he left…", "Why?!", "No one knows."],
        ['He said "Stop."', "Then he stopped.", "It opened on Jan. 5 at noon.", "12 people came."],
        ["寒い。", "とても寒い。"],
        ["यह चक्की 1874 में बनी।", "इसे रमेश ने बनाया।"],
        ["ဒီစက်ကို ၁၈၇၄ မှာ ဆောက်ခဲ့တယ်။", "မြစ်နားမှာ ရှိတယ်။"],
    ],
)
def test_splits_prose(pieces):
    assert sentences(" ".join(pieces)) == pieces


def test_a_line_break_alone_never_splits():
    text = "The keeper lights the\nlamp at dusk. It burns\nuntil dawn."
    assert sentences(text) == ["The keeper lights the\nlamp at dusk.", "It burns\nuntil dawn."]


def test_blank_lines_lists_headings_and_tables_split():
    text = "# Title\nText without an end\n\n- one\n- two\n  wrapped\n1. First. Second.\n| a | b |\n| 1 | 2 |\nEnd"
    assert sentences(text) == [
        "# Title",
        "Text without an end",
        "- one",
        "- two\n  wrapped",
        "1. First.",
        "Second.",
        "| a | b |",
        "| 1 | 2 |",
        "End",
    ]


@pytest.mark.parametrize("text", ["", "  \n\n ", "...", "a. b. C. D", "x\u2028Y. Z\n\n\n- \n-", "\tA!  \n B?\u00a0C."])
def test_every_character_that_is_not_white_space_is_in_one_span(text):
    spans = sentence_spans(text)
    covered = [i for start, end in spans for i in range(start, end)]
    assert covered == sorted(set(covered))
    assert {i for i, c in enumerate(text) if not c.isspace()} <= set(covered)
    assert all(text[start:end] == text[start:end].strip() for start, end in spans)
