"""Questions said to be unanswerable that another chunk answers."""

import logging

import numpy as np
import pytest

from data.prompting.prompts import ABSTENTION
from data.questions.unanswerable import reject_answered
from testing.raft_corpus import make_chunk, make_question

CHUNKS = [
    make_chunk("hours", "The museum of Ousel is open from 9 to 17. On Sundays it is shut.", headings=("Hours",)),
    make_chunk("prices", "Entry costs four crowns for adults. Children pay nothing.", headings=("Prices",)),
    make_chunk(
        "history", "The museum was founded in 1931 by Jonas Reik. The roof was painted red.", headings=("Past",)
    ),
]


def ask(name, question, oracle="hours", answer=ABSTENTION):
    asked = make_question(name, (oracle,), answer, ())
    return type(asked)(**{**{field: getattr(asked, field) for field in asked.__slots__}, "question": question})


def same(texts):
    """Vectors by the set of words: a question in another order is the same."""
    words = sorted({word for text in texts for word in text.lower().strip("?").split()})
    rows = np.array([[float(word in text.lower().strip("?").split()) for word in words] for text in texts], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def check(*questions, score=None, depth=3):
    kept, rejected = reject_answered(
        questions, CHUNKS, depth, same, lambda texts, k: [[chunk.id for chunk in CHUNKS][:k]] * len(texts), score
    )
    return [question.id for question in kept], [(item.question, item.reason, item.detail) for item in rejected]


@pytest.mark.parametrize(
    ("question", "oracle", "answered"),
    [
        ("What does entry cost?", "hours", "doc.md: 'Entry costs four crowns for adults.'"),
        ("When was the museum founded?", "prices", "doc.md: 'The museum was founded in 1931 by Jonas Reik.'"),
        ("What does entry cost?", "prices", None),  # its writer saw that chunk
        ("When was the roof painted?", "hours", None),  # painted, but no time is said
        ("Who painted the roof of the museum?", "hours", None),  # no sentence has all the words
        ("Who?", "hours", None),
    ],
)
def test_a_sentence_of_another_chunk_answers(question, oracle, answered):
    kept, rejected = check(ask("q", question, oracle))
    expected = [] if answered is None else [(question, "answered elsewhere in the corpus", answered)]
    assert rejected == expected and kept == ([] if answered else ["q"])


def test_an_answered_question_of_another_chunk_asks_the_same(caplog):
    twin = ask("known", "Which person keeps the key now?", "prices", "Ivo Ness")
    with caplog.at_level(logging.INFO):
        kept, rejected = check(ask("q", "Now which person keeps the key?"), twin)
    assert kept == ["known"] and "'Ivo Ness'" in rejected[0][2]
    assert "1 unanswerable questions were checked" in caplog.text and "by their words alone" in caplog.text
    own = ask("known", "Which person keeps the key now?", "hours", "Ivo Ness")
    assert check(ask("q", "Now which person keeps the key?"), own)[0] == ["q", "known"]


def test_a_cross_encoder_finds_what_words_do_not():
    def score(pairs):
        return np.array([0.8 if "crowns" in text else 0.3 for _, text in pairs])

    question = ask("q", "How expensive is a ticket?")
    assert check(question)[0] == ["q"]
    assert check(question, score=score)[0] == []
    assert check(question, score=score, depth=1)[0] == ["q"], "only what is retrieved is looked at"
    assert check(question, score=lambda pairs: np.full(len(pairs), 0.4))[0] == ["q"]
