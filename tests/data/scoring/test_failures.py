from dataclasses import replace

import pytest

from data.prompting.prompts import ABSTENTION, parse_output, raft_output
from data.questions.question_kinds import question_kind
from data.scoring.failures import failure_cause
from testing.raft_corpus import make_chunk, make_question

ORACLE = make_chunk("o", "The wheel turns\nnine times. It is old, and made of oak.")
DISTRACTOR = make_chunk("d", "The bell rings at noon. It is of bronze.")
QUESTION = make_question("q", ("o",), "nine times", ("The wheel turns\nnine times.",))
UNANSWERABLE = make_question("u", (), ABSTENTION, ())


@pytest.mark.parametrize(
    ("output", "shown", "cause"),
    [
        (raft_output("Nine times.", QUESTION.quotes), "do", None),
        (raft_output("Nine times.", ("made up",)), "d", None),
        (raft_output("It turns nine times a day.", QUESTION.quotes), "do", "badly formatted"),
        ("The wheel turns nine times, as the handbook says", "do", "badly formatted"),
        # The words stand in the quote, and not in the answer.
        (raft_output("oak", QUESTION.quotes), "do", "wrong"),
        (raft_output("noon", ("The bell rings at noon.",)), "d", "not retrieved"),
        (raft_output(ABSTENTION, ()), "d", "not retrieved"),
        (raft_output(ABSTENTION, ()), "do", "abstained wrongly"),
        (raft_output(ABSTENTION, ()), "", "abstained wrongly"),
        (raft_output("noon", ("The bell rings  at noon.",)), "do", "distractor believed"),
        ("bronze", "do", "distractor believed"),
        ("oak", "do", "wrong"),
        (raft_output("noon", ("The bell rang.",)), "do", "retrieved and ignored"),
        ("ten times", "do", "retrieved and ignored"),
        ("", "do", "retrieved and ignored"),
        ("ten times", "", "wrong"),
    ],
)
def test_the_cause_of_a_failure(output, shown, cause):
    chunks = [{"o": ORACLE, "d": DISTRACTOR}[name] for name in shown]
    assert failure_cause(QUESTION, parse_output(output), chunks) == cause


def test_every_right_answer_counts():
    question = replace(QUESTION, other_answers=("9",))
    assert failure_cause(question, parse_output("9"), [ORACLE]) is None
    assert failure_cause(question, parse_output("9 of them"), [ORACLE]) == "badly formatted"


def test_what_has_no_answer_is_to_be_told_so():
    assert failure_cause(UNANSWERABLE, parse_output(raft_output(ABSTENTION, ())), [DISTRACTOR]) is None
    assert failure_cause(UNANSWERABLE, parse_output("noon"), [DISTRACTOR]) == "should have abstained"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Who keeps the keys?", "who"),
        ("In whose house is it?", "who"),
        ("On what day does it open?", "what"),
        ("How many gears are there?", "how many"),
        ("How is it cleaned?", "how"),
        ("Is the mill open when it rains?", "yes or no"),
        ("Name the keeper.", "other"),
    ],
)
def test_the_kind_of_a_question(text, kind):
    assert question_kind(replace(QUESTION, question=text)) == kind
    assert question_kind(replace(UNANSWERABLE, question=text)) == "unanswerable"
