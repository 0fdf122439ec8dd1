"""Answers of every shape, read into questions or rejected with a reason."""

import json

import pytest

from data.teacher.parse import MAX_CHARACTERS, find_items, read_answer
from data.teacher.plan import TeacherCall
from data.teacher.settings import Kind
from testing.raft_corpus import make_chunk

CHUNK = make_chunk("c", "The mill opened in 1931. It grinds rye.", "mill")
ONE = {
    "kind": "fact",
    "question": "When did the mill open?",
    "reason": "It says so.",
    "quotes": ["The mill opened in 1931."],
    "answer": "1931",
}
TWO = {"kind": "why", "question": "Why?", "reason": "So.", "quotes": ["It grinds rye."], "answer": 'rye, {1} "2"'}
WHOLE = json.dumps({"questions": [ONE, TWO]})


def call(*kinds: Kind) -> TeacherCall:
    return TeacherCall((CHUNK,), kinds)


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        json.dumps({"questions": [ONE, TWO]}, indent=2),
        json.dumps([ONE, TWO]),
        f"{json.dumps(ONE)}\n{json.dumps(TWO)}",
        f"Sure! Here are the {{questions}} you want:\n```json\n{WHOLE}\n```\nI hope [this] helps :}}",
        f"<think>{{maybe}}</think>{WHOLE}",
        WHOLE.replace("}]}", "},]}").replace('"]', '",]'),
        WHOLE[:-2],
        WHOLE.replace("It says so.", "It says\nso."),
        json.dumps({"data": {"items": [ONE, TWO]}}),
    ],
    ids=["whole", "indented", "list", "lines", "fenced", "thoughts", "commas", "cut_after", "line_break", "wrapped"],
)
def test_both_questions_are_found(text: str) -> None:
    questions, rejected = read_answer(call("fact", "why"), text)
    assert not rejected
    assert [question.question for question in questions] == [ONE["question"], TWO["question"]]
    assert questions[1].answer == TWO["answer"]
    assert questions[0].quotes == ("The mill opened in 1931.",)
    assert (questions[0].reason, questions[0].document) == ("It says so.", "mill.md")


def test_an_answer_that_is_cut_off_keeps_its_whole_questions() -> None:
    questions, rejected = read_answer(call("fact", "why"), WHOLE[: WHOLE.index("Why?") + 2])
    assert [question.question for question in questions] == [ONE["question"]]
    assert [(item.reason, item.detail) for item in rejected] == [("fewer questions than asked for", "1 fewer")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"question": " "}, "no question"),
        ({"question": ["When?"]}, "no question"),
        ({"answer": ""}, "no answer"),
        ({"answer": None}, "no answer"),
        ({"answer": "not in the documents"}, "no answer"),
        ({"answer": "\ud800"}, "no answer"),
        ({"quotes": []}, "no quote"),
        ({"quotes": [" "]}, "no quote"),
        ({"quotes": {"a": 1}}, "quotes are no list of texts"),
        ({"quotes": [1931]}, "quotes are no list of texts"),
        ({"quotes": ["\ud800"]}, "quotes are no list of texts"),
        ({"kind": "unanswerable"}, "an answer to an unanswerable question"),
    ],
)
def test_what_cannot_be_used_is_rejected_with_its_reason(change: dict[str, object], reason: str) -> None:
    questions, rejected = read_answer(call("fact"), json.dumps({"questions": [ONE | change]}))
    assert not questions
    assert [item.reason for item in rejected] == [reason]
    json.dumps([item.detail for item in rejected], ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty answer"),
        ("  \n", "empty answer"),
        ("I cannot help with that.", "no question in the answer"),
        ('{"q": "When?", "a": "1931"}', "no question in the answer"),
        ("[" * 20_000, "no question in the answer"),
        ('{"a":' * 10_000, "no question in the answer"),
        ("{" * MAX_CHARACTERS, "no question in the answer"),
        ("x" * (MAX_CHARACTERS + 1), "answer too long"),
    ],
)
def test_answers_without_a_question(text: str, reason: str) -> None:
    questions, rejected = read_answer(call("fact"), text)
    assert not questions
    assert [item.reason for item in rejected] == [reason]


def test_more_questions_than_asked_for_are_listed() -> None:
    questions, rejected = read_answer(call("fact"), WHOLE)
    assert len(questions) == 1
    assert [(item.reason, item.question) for item in rejected] == [("more questions than asked for", "Why?")]


def test_one_quote_and_a_number_are_forgiven() -> None:
    item = {"question": "When?", "quote": "The mill opened in 1931.", "answer": 1931}
    questions, rejected = read_answer(call("fact"), json.dumps(item))
    assert not rejected
    assert (questions[0].quotes, questions[0].answer, questions[0].reason) == (
        ("The mill opened in 1931.",),
        "1931",
        None,
    )


@pytest.mark.parametrize("change", [{}, {"answer": ""}, {"answer": "Not in the documents."}, {"kind": "fact"}])
def test_an_unanswerable_question_abstains_and_is_tied_to_its_chunk(change: dict[str, object]) -> None:
    item = {"kind": "unanswerable", "question": "Who built it?", "quotes": [], "answer": "not in the documents"}
    questions, rejected = read_answer(call("unanswerable"), json.dumps(item | change))
    assert not rejected
    assert (questions[0].answer, questions[0].quotes) == ("not in the documents", (CHUNK.text,))


def test_a_question_that_was_to_be_unanswerable_and_has_an_answer_is_one_of_facts() -> None:
    questions, _ = read_answer(call("unanswerable"), json.dumps(ONE))
    assert questions[0].answer == "1931"


def test_a_comma_inside_a_text_stays() -> None:
    assert find_items('{"question": "a,]b,}", "answer": "x",}') == [{"question": "a,]b,}", "answer": "x"}]
