"""Answers that came back from a model over the oracle, against those that were expected."""

import pytest

from data.critic.round_trip import agreement, disagreement, oracle_prompt
from data.documents.chunks import Chunk
from data.questions.questions import Question


def asked(answer):
    return Question("q", "How tall is the mast?", answer, ("It is 48 metres.",), "d", ("c",), "given", "given")


@pytest.mark.parametrize(
    ("answer", "output", "f1"),
    [
        ("48 metres", "48 metres.", 1),
        ("48 metres", "##Reason: ##begin_quote##It is 48.##end_quote##\n##Answer: The 48 metres", 1),
        ("48 metres", "50 metres", 0.5),
        ("48 metres", "not in the documents", 0),
        ("48 metres", "", 0),
        ("工业革命", "工业革命。", 1),
        ("工业革命", "工业", 2 / 3),  # by character: precision 1, recall 1/2
    ],
)
def test_agreement(answer, output, f1):
    assert agreement(asked(answer), output).token_f1 == pytest.approx(f1)


def test_the_threshold_decides_and_says_what_came_back():
    trip = agreement(asked("48 metres"), "50 metres\n")
    assert disagreement(trip, 0.5, "here") is None
    rejected = disagreement(trip, 0.51, "here")
    assert rejected and rejected.reason == "another answer on the round trip" and rejected.source == "here"
    assert rejected.detail == "over its oracle the model answered '50 metres' instead of '48 metres'"


def test_the_prompt_shows_the_oracle_and_nothing_else():
    chunk = Chunk("c", "d", "mast.md", 0, 16, ("The mast",), "It is 48 metres.")
    prompt = oracle_prompt(asked("48 metres"), [chunk])
    assert prompt.input == "[1] The mast\nIt is 48 metres.\n\nQuestion: How tall is the mast?"
