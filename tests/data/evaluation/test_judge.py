"""What a judge is asked, and what is read of its verdicts; the asking is in tests/tasks/stages/test_judge.py."""

import json

import pytest

from data.evaluation.judge import (
    Verdict,
    chosen_answers,
    cohens_kappa,
    read_verdict,
    summarize_verdicts,
    to_call,
    verdict_table,
)
from data.evaluation.judge_settings import JudgeSettings
from data.evaluation.ladder import BASE, TUNED
from testing.answered import answered

SHOWN = answered(TUNED, 1, 1.0, answer="She does", context_ids=("b", "a"))
CLOSED = answered("base closed-book", 1, 0.0)


def test_the_prompt_holds_documents_question_and_both_answers():
    prompt = to_call(SHOWN, {"a": "First text.", "b": "Second text."}).prompt
    assert "Document 1:\nSecond text.\n\nDocument 2:\nFirst text.\n\nQuestion: Who is 1?" in prompt.input
    assert prompt.input.endswith("Expected answer: She\nAnswer of the model: She does")
    assert "No documents were shown." in to_call(CLOSED, {}).prompt.input


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('{"reason": "Same.", "faithful": true, "correct": false}', (False, True, "Same.")),
        ('Well:\n```json\n{"correct": true, "reason": "x",}\n```', (True, None, "x")),
        ('{"reason": "", "correct": false} {"reason": "", "correct": true}', (True, None, "")),
        ('{"correct": "yes"}', (None, None, '{"correct": "yes"}')),
        ("It is right.", (None, None, "It is right.")),
        ("", (None, None, "")),
    ],
)
def test_a_verdict_is_found_in_what_a_judge_writes(text, verdict):
    found = read_verdict(SHOWN, text)
    assert (found.correct, found.faithful, found.reason) == verdict
    assert not found.closed_book and read_verdict(CLOSED, text).closed_book


def test_rungs_and_questions_are_chosen_alike_for_all():
    answers = [answered(rung, n, 0.0) for rung in (BASE, TUNED, "tuned + oracle") for n in range(9)]
    chosen = chosen_answers(answers, JudgeSettings(max_questions=4), 0)
    ids = {rung: [a.question_id for a in chosen if a.rung == rung] for rung in (BASE, TUNED)}
    assert len(chosen) == 8 and ids[BASE] == ids[TUNED]
    assert chosen_answers(answers, JudgeSettings(rungs=()), 0) == answers


def test_agreement_with_exact_match_is_cohens_kappa():
    """By hand: of 10 answers 4 match and 5 are said to be right, 3 of them both; chance would agree on half."""
    pairs = [(1, True)] * 3 + [(1, False)] + [(0, True)] * 2 + [(0, False)] * 4
    verdicts = [Verdict(TUNED, f"q{n}", said, True, "", match, False) for n, (match, said) in enumerate(pairs)]
    unreadable = Verdict(TUNED, "q10", None, None, "?", 1, False)
    closed = Verdict("base closed-book", "q0", True, False, "", 1, True)
    tuned, book = summarize_verdicts([*verdicts, unreadable, closed])
    assert (tuned["judged"], tuned["unreadable"], tuned["correct"]["value"]) == (10, 1, 0.5)
    chance = 0.4 * 0.5 + 0.6 * 0.5
    assert tuned["agreement"] == 0.7 and tuned["kappa"] == pytest.approx((0.7 - chance) / (1 - chance))
    assert (book["faithful"], book["agreement"], book["kappa"]) == (None, 1, None)
    json.dumps([tuned, book])
    table = verdict_table([tuned, book], "some-model")
    assert table.startswith("judged by some-model\n") and "0.40" in table and "70.0" in table


@pytest.mark.parametrize(
    ("both", "first_only", "second_only", "neither", "kappa"),
    [
        # The worked examples of en.wikipedia.org/wiki/Cohen's_kappa.
        (20, 5, 10, 15, 0.4),
        (45, 15, 25, 15, 0.1304),
        (25, 35, 5, 35, 0.2593),
        (3, 0, 0, 2, 1.0),
        (0, 1, 1, 0, -1.0),
        (0, 1, 0, 0, 0.0),
        (3, 0, 0, 0, None),
        (0, 0, 0, 3, None),
    ],
)
def test_kappa_of_known_tables(both, first_only, second_only, neither, kappa):
    pairs = [(True, True)] * both + [(True, False)] * first_only + [(False, True)] * second_only
    one, other = zip(*pairs, *[(False, False)] * neither, strict=True)
    assert cohens_kappa(one, other) == (kappa if kappa is None else pytest.approx(kappa, abs=5e-5))
