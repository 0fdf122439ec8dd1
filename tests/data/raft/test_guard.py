"""The guard against false negatives, by answers of all kinds, and examples of answers without a quote."""

from dataclasses import replace

import numpy as np
import pytest

from data.prompting.prompts import ABSTENTION, parse_output
from data.raft.examples import build_examples
from data.raft.settings import RaftSettings
from data.raft.space import ChunkSpace
from testing.raft_corpus import make_chunk, make_corpus, make_question
from testing.small_tokenizers import smollm2

TEXTS = (
    "The oracle.",
    "There is no lamp, and no gate!",
    "It costs 3.5 marks and 1,300 at most, on the 3rd day.",
    "Rope is 3 metres long.",
    "Zoe\u0308 Mu\u0308ller keeps it.",
    "Her son was in the war, and may die.",
    "工业革命首先在英国开始。",
    "The fee is 1300 marks.",
    "The Broncos won.",
)


@pytest.fixture
def space():
    chunks = [make_chunk(str(number), text) for number, text in enumerate(TEXTS)]
    return ChunkSpace(chunks, np.eye(len(TEXTS), dtype=np.float32), 0.95)


@pytest.mark.parametrize(
    ("answer", "banned"),
    [
        ("No.", []),
        ("yes", []),
        ("!", []),
        ("it is", []),
        ("3", [3]),
        ("300", []),
        ("1300", [2, 7]),
        ("1,300", [2, 7]),
        ("3.5", [2]),
        ("Zo\u00eb Müller", [4]),
        ("war", [5]),
        ("the son", [5]),
        ("英国", [6]),
        (ABSTENTION, []),
    ],
)
def test_a_chunk_is_banned_by_what_its_words_answer(space, answer, banned):
    question = make_question("x", ("0",), answer, ())
    assert [row for row in range(1, len(TEXTS)) if not space.allows(question, row)] == banned


def test_any_right_answer_and_any_quote_bans(space):
    question = make_question("x", ("0",), "Denver Broncos", ("There is no  lamp, and no gate!",))
    question = replace(question, other_answers=("Broncos",))
    assert [row for row in range(1, len(TEXTS)) if not space.allows(question, row)] == [1, 8]


def test_an_answer_that_nothing_proves_is_trained_without_a_quote_and_counted():
    corpus = make_corpus()
    bare = [
        replace(question, quotes=(), quote_source="none", answer="yes") if number % 2 else question
        for number, question in enumerate(corpus.questions)
    ]
    settings = RaftSettings(oracle_fraction=0.5, no_oracle="abstain", max_tokens=2000)
    built = build_examples(bare, corpus.chunks, corpus.vectors, settings, smollm2())
    by_id = {question.id: question for question in bare}
    shown = [example for example in built.examples if example.oracle_shown]
    unquoted = [example for example in shown if by_id[example.question_id].quote_source == "none"]
    assert unquoted and len(unquoted) < len(shown)
    for example in unquoted:
        parsed = parse_output(example.output)
        assert parsed.answer == "yes" and not parsed.quotes
        assert "The documents say so." in example.output and "do not say" not in example.output
    for example in built.examples:
        assert example.oracle_shown or "The documents do not say." in example.output
    assert built.counts["evidence: none"] == len(unquoted)
    assert built.counts["evidence: given"] == len(shown) - len(unquoted)
