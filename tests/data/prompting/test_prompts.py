import pytest

from data.prompting.output_stream import OutputStream
from data.prompting.prompts import (
    ABSTENTION,
    Prompt,
    between_markers,
    closed_book_prompt,
    holds_marker,
    parse_output,
    raft_output,
    raft_prompt,
    retrieval_prompt,
)
from testing.raft_corpus import make_chunk


def test_an_output_reads_as_it_was_meant():
    output = raft_output("1931", ("It opened in 1931.",))
    assert output == "##Reason: ##begin_quote##It opened in 1931.##end_quote##\n##Answer: 1931"


@pytest.mark.parametrize("quotes", [(), ("One.",), ("One,\nwrapped.", "Two # ## three.")])
@pytest.mark.parametrize("answer", ["nine", "a ## b", "1931: the year"])
@pytest.mark.parametrize("reason", [None, "Because it says so:"])
def test_parsing_gives_back_what_was_written(answer, quotes, reason):
    parsed = parse_output(raft_output(answer, quotes, reason))
    assert (parsed.answer, parsed.quotes, parsed.abstained) == (answer, quotes, False)


def test_an_answer_over_two_lines_becomes_one_line_so_that_it_is_parsed_whole():
    assert parse_output(raft_output("nine\n  turns", ())).answer == "nine turns"


def test_the_abstention_is_recognised():
    output = raft_output(ABSTENTION, ())
    assert "The documents do not say." in output
    assert parse_output(output).abstained
    assert parse_output("Not in the documents.").abstained
    assert not parse_output("##Answer: in the documents").abstained


@pytest.mark.parametrize(
    ("text", "answer", "quotes"),
    [
        ("  Paris.\n", "Paris.", ()),
        ("##Answer: a\n##Answer: b\nmore", "b", ()),
        ("##Answer:", "", ()),
        ("##begin_quote##cut off", "##begin_quote##cut off", ("cut off",)),
        ("##begin_quote##never closed\n##Answer: x", "x", ("never closed",)),
        ("##begin_quote##a ##begin_quote##b##end_quote##\n##Answer: x", "x", ("a", "b")),
        ("##end_quote##\n##Answer: x", "x", ()),
        # A sentence that begins with "Answer:" makes no marker with the one before it.
        ("##begin_quote##Answer: no.##end_quote##", "##begin_quote##Answer: no.##end_quote##", ("Answer: no.",)),
        ("##begin_quote##C###end_quote##\n##Answer: C#", "C#", ("C#",)),
        ("", "", ()),
    ],
)
def test_any_output_can_be_parsed(text, answer, quotes):
    parsed = parse_output(text)
    assert (parsed.answer, parsed.quotes) == (answer, quotes)


def test_documents_come_first_and_the_question_last():
    titled = make_chunk("a", "It turns.", headings=("The mill", "Wheel"))
    plain = make_chunk("b", "It rings.", document="notes/bell")
    for build in (raft_prompt, retrieval_prompt):
        prompt = build([titled, plain], "How  fast?")
        assert prompt.input == ("[1] The mill > Wheel\nIt turns.\n\n[2] bell\nIt rings.\n\nQuestion: How fast?")
        assert prompt.message.startswith(prompt.instruction) and prompt.message.endswith(prompt.input)
    assert "documents" not in closed_book_prompt("How fast?").message


def test_alpaca_template_with_and_without_an_input():
    paired = Prompt("Add.", "1 and 2").alpaca
    assert paired.startswith(
        "Below is an instruction that describes a task, paired with an input that provides further"
    )
    assert paired.endswith("### Instruction:\nAdd.\n\n### Input:\n1 and 2\n\n### Response:\n")
    alone = Prompt("Sing {loudly}.", "").alpaca
    assert alone.startswith("Below is an instruction that describes a task. Write")
    assert alone.endswith("### Instruction:\nSing {loudly}.\n\n### Response:\n")


def test_the_stream_and_the_parser_read_alike():
    for text in ("##begin_quote##Answer: no.##end_quote##\n##Answer: no", "##Reason: ##begin_quote##a##Reason: b"):
        stream = OutputStream(tuned=True)
        for character in text:
            stream.feed(character)
        stream.finish()
        assert stream.parsed.quotes == parse_output(text).quotes


def test_a_marker_separates_what_may_be_quoted():
    text = "One.##end_quote## Two ##begin_quote"
    assert [text[start:end] for start, end in between_markers(text)] == ["One.", " Two ", ""]
    assert between_markers("One.") == [(0, 4)]


def test_markers_are_seen_in_texts():
    # Before "##end_quote##" the half is a marker.
    assert holds_marker("so ##begin_quote") and holds_marker("##end_quote")
    assert holds_marker("so ##Answer: x") and holds_marker("##begin_quote##") and not holds_marker("## Answer")
