"""A question asked twice of a document is a duplicate, another right answer, or a contradiction that is told."""

import pytest

from data.prompting.prompts import ABSTENTION
from data.questions.asked_twice import CONTRADICTION, DUPLICATE, settle
from data.questions.questions import RawQuestion


def settled(*answers, key="k"):
    raws = [RawQuestion("Who?", answer, source=f"q.jsonl line {n}") for n, answer in enumerate(answers, start=1)]
    return settle([(key, raw) for raw in raws])


@pytest.mark.parametrize("other", ["Jonas Reik", "jonas  reik.", "\u201cJonas Reik\u201d", "The Jonas Reik"])
def test_the_same_answer_is_a_duplicate(other):
    result = settled("Jonas Reik", other)
    assert result.rejected == {1: (DUPLICATE, "of the same document asked elsewhere (q.jsonl line 1)")}
    assert result.more_answers == {}


@pytest.mark.parametrize(("first", "second"), [("Jonas Reik", "Reik"), ("Reik", "Jonas Reik"), ("工业", "工业革命")])
def test_an_answer_in_more_words_is_right_too(first, second):
    result = settled(first, second, second.upper())
    assert [result.rejected[index][0] for index in (1, 2)] == [DUPLICATE, DUPLICATE]
    assert result.more_answers == {0: (second,)}


@pytest.mark.parametrize("other", ["Ola By", "Reikland", ABSTENTION, "!"])
def test_another_answer_is_a_contradiction_that_names_both(other):
    result = settled("Reik", other)
    reason, detail = result.rejected[1]
    assert reason == CONTRADICTION and result.more_answers == {}
    assert repr(other) in detail and "'Reik' in q.jsonl line 1" in detail


def test_an_answered_question_is_kept_rather_than_an_unanswerable_one():
    result = settled(ABSTENTION, "Reik", ABSTENTION.capitalize())
    assert set(result.rejected) == {0, 2} and result.rejected[0][0] == CONTRADICTION
    both = settled(ABSTENTION, ABSTENTION.capitalize() + ".")
    assert both.rejected[1][0] == DUPLICATE and both.more_answers == {}


def test_all_right_answers_are_compared():
    first = RawQuestion("Who?", "Reik", other_answers=("the miller",), source="a")
    second = RawQuestion("Who?", "The Miller", other_answers=("J. R.",), source="b")
    result = settle([("k", first), ("other", first), ("k", second)])
    assert result.rejected == {2: (DUPLICATE, "of the same document asked elsewhere (a)")}
    assert result.more_answers == {0: ("J. R.",)}
