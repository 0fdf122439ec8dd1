"""Outputs taken apart while they are written: pieces do not depend on how a text is cut, and agree with the parser."""

import random
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import pytest

from data.prompting.growing_answer import GrowingAnswer, StopAt
from data.prompting.output_stream import OutputStream, TextStream
from data.prompting.prompts import parse_output, raft_output
from testing.small_tokenizers import llama2_of_samples, smollm2

QUOTE = "It rests in March,\n and in #3 of April."
OUTPUTS = {
    raft_output("in March", [QUOTE]): [("quote", QUOTE), ("end of quote", ""), ("answer", "in March")],
    raft_output("9", ["One.", "Two."], "Both say so."): [
        ("reason", "Both say so."),
        ("quote", "One."),
        ("end of quote", ""),
        ("quote", "Two."),
        ("end of quote", ""),
        ("answer", "9"),
    ],
    raft_output("not in the documents", []): [
        ("reason", "The documents do not say."),
        ("answer", "not in the documents"),
    ],
    "##Reason: ##begin_quote##never closed ##Answer: yes": [
        ("quote", "never closed"),
        ("end of quote", ""),
        ("answer", "yes"),
    ],
    "##Reason: ##begin_quote##cut at the bud": [("quote", "cut at the bud"), ("end of quote", "")],
    "##Answer: one ##": [("answer", "one ##")],
    "##Answer: one\nand more ##Answer: two": [("answer", "one")],
    "##Answer: one ##Answer: two": [("answer", "one")],
    "##Answer:\nnothing": [],
    " plain, with # and\nlines ": [("answer", "plain, with # and\nlines")],
    "": [],
}


def cut(text: str, seed: int) -> list[str]:
    draw = random.Random(seed)
    places = sorted({0, len(text), *(draw.randrange(len(text) + 1) for _ in range(draw.randrange(12)))})
    return [text[start:end] for start, end in pairwise(places)]


def joined(stream: OutputStream, parts: list[str]) -> list[tuple[str, str]]:
    found: list[list[str]] = []
    for pieces in [*map(stream.feed, parts), stream.finish()]:
        for kind, text in pieces:
            if (found and found[-1][0] == kind and kind in ("reason", "answer")) or (
                found and found[-1][0] == kind == "quote"
            ):
                found[-1][1] += text
            else:
                found.append([kind, text])
    return [(kind, text) for kind, text in found]


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("output", OUTPUTS)
def test_pieces(output: str, tuned: bool) -> None:
    for seed in range(60):
        stream = OutputStream(tuned=tuned)
        parts = cut(output, seed) if seed else list(output)
        assert joined(stream, parts) == OUTPUTS[output]
        answers = [text for kind, text in OUTPUTS[output] if kind == "answer"]
        assert stream.parsed.answer == "".join(answers)
        assert list(stream.parsed.quotes) == [text for kind, text in OUTPUTS[output] if kind == "quote"]
        if output.count("##Answer:") == 1:
            assert stream.parsed == parse_output(output)


def test_the_end_of_the_answers_line_is_the_end() -> None:
    stream = OutputStream(tuned=True)
    stream.feed("##Answer: one")
    assert not stream.done
    stream.feed("\n")
    assert stream.done and stream.feed("more") == [] and stream.parsed.answer == "one"


def test_what_a_tuned_model_writes_before_the_format_is_no_answer() -> None:
    stream = OutputStream(tuned=True)
    assert stream.feed("It says: ") == []
    assert joined(stream, ["x ##Answer: 5"]) == [("reason", "It says: x"), ("answer", "5")]
    plain = OutputStream(tuned=False)
    assert plain.feed("It says: ") == [("answer", "It says:")]


# What a tuned model writes -> reason, quotes, answer, and whether a stop string ("END", "x##", "ly E") has ended it.
UNMARKED = {
    "It was slowly END ##Answer: 5": ("", "", "It was slow", True),
    "It was END": ("", "", "It was", True),
    "END": ("", "", "", True),
    "  END of it": ("", "", "", True),
    "##Reason: END ##Answer: in END": ("END", "", "in", True),
    "It says x##Answer: 5": ("", "", "It says", True),
    "It says ##Answer: 5 END": ("It says", "", "5", True),
    "It says ##begin_quote##END##end_quote##": ("It says", "END", "", False),
    "So ##end_quote## it is": ("So it is", "", "", False),
    "##Answer: 5 ##end_quote## END": ("", "", "5", False),
    "It was EN": ("", "", "It was EN", False),
}


def text_of(parts: Sequence[str], tokens: Sequence[int]) -> str:
    return "".join(parts[token] for token in tokens)


@pytest.mark.parametrize("output", UNMARKED)
def test_stop_strings_end_a_tuned_model_that_writes_no_marker(output: str) -> None:
    """However the text arrives; and no piece has a marker."""
    for seed in range(60):
        parts = cut(output, seed) if seed else list(output)
        growing = GrowingAnswer(partial(text_of, parts), tuned=True, stops=["END", "x##", "ly E"])
        pieces = [piece for token in range(len(parts)) for piece in growing.feed(token)] + growing.finish()
        found = ["".join(text for kind, text in pieces if kind == wanted) for wanted in ("reason", "quote", "answer")]
        reason, quote, answer, stopped = UNMARKED[output]
        assert found[0].replace(" ", "") == reason.replace(" ", "") and found[1] == quote
        assert found[2].rstrip() == growing.parsed.answer.rstrip() == answer
        assert growing.stopped == stopped and growing.done


@pytest.mark.parametrize("tokenizer", [smollm2, llama2_of_samples])
def test_text_of_tokens(tokenizer) -> None:  # type: ignore[no-untyped-def]
    text = "The mill’s wheel — 😀 — turns naïvely 9 times.\n\n  Ünder ##Answer: a"
    tokens = tokenizer().encode(text)
    stream = TextStream(tokenizer().decode)
    parts = [*map(stream.feed, tokens), stream.finish()]
    assert "".join(parts) == tokenizer().decode(tokens)
    assert not any("\ufffd" in part for part in parts) and sum(map(bool, parts)) > 8


def test_half_a_character_at_the_end_is_given_in_the_end() -> None:
    tokens = smollm2().encode("a 😀")[:-1]
    stream = TextStream(smollm2().decode)
    assert "".join([*map(stream.feed, tokens), stream.finish()]) == smollm2().decode(tokens)


def test_stop_strings() -> None:
    for seed in range(40):
        stop = StopAt(["ly", "END"])
        text = "".join(map(stop.feed, cut("slow EN route, slowly END", seed)))
        assert text == "slow EN route, slow" and stop.stopped and stop.finish() == ""
    stop = StopAt(["END"])
    assert stop.feed("so EN") + stop.finish() == "so EN" and not stop.stopped


def test_a_growing_answer() -> None:
    tokenizer = smollm2()
    tokens = tokenizer.encode(raft_output("in late March, END", ["It rests in March. END"]) + "\nmore and more")
    growing = GrowingAnswer(tokenizer.decode, tuned=True, stops=["END", "never"])
    pieces = [piece for token in tokens for piece in growing.feed(token)] + growing.finish()
    assert growing.done and growing.tokens < len(tokens) - 2
    assert growing.parsed.answer == "in late March, "
    assert growing.parsed.quotes == ("It rests in March. END",), "a stop string ends the answer, not the quote"
    assert "".join(text for kind, text in pieces if kind == "answer") == "in late March, "


def test_a_stop_string_that_does_not_come_is_given() -> None:
    tokenizer = smollm2()
    growing = GrowingAnswer(tokenizer.decode, tuned=False, stops=["END."])
    pieces = [piece for token in tokenizer.encode("It was the END") for piece in growing.feed(token)]
    assert "".join(text for _, text in pieces + growing.finish()) == growing.parsed.answer == "It was the END"
