"""Question files in all their forms, and what is said about broken lines."""

import json

import pytest

from data.questions.question_files import (
    UNREADABLE,
    QuestionFileSettings,
    read_question_file,
    read_questions,
)
from data.questions.questions import RawQuestion, Rejected


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_json_lines(tmp_path):
    path = write(
        tmp_path / "q.jsonl",
        '\ufeff{"question": "Who?", "answer": "Ann"}\n\n'
        '{"question": "When?", "answer": "1912", "quote": "In 1912.", "document": "a.md", "reason": "It says so."}\r\n'
        '{"question": "Both?", "answer": "x\u2028y", "quote": ["One.", "Two."], "document": null}',
    )
    assert read_questions(path) == [
        RawQuestion("Who?", "Ann", source="q.jsonl line 1"),
        RawQuestion("When?", "1912", ("In 1912.",), "a.md", "It says so.", "q.jsonl line 3"),
        RawQuestion("Both?", "x\u2028y", ("One.", "Two."), source="q.jsonl line 4"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 2 is not JSON \(.* at column 2\)"),
        ("[" * 100_000, "line 2 is nested too deeply"),
        ('"text"', "line 2 must be an object with the keys question, answer, quote, document, reason"),
        (
            '{"q": "Q", "reply": "A"}',
            r"line 2: no question and answer among the keys 'q', 'reply': .*fields=q=question,",
        ),
        ('{"question": "Q"}', 'line 2: "answer" must be a non-empty string'),
        ('{"question": " ", "answer": "A"}', 'line 2: "question" must be a non-empty string'),
        (
            '{"question": "Q", "response": "A"}',
            r'"answer" must be a non-empty string \(is .response. meant\? --set quest',
        ),
        ('{"question": "Q", "answer": null}', 'line 2: "answer" must be a non-empty string'),
        ('{"question": "Q", "answer": NaN}', 'line 2: "answer" must be a non-empty string'),
        ('{"question": "Q", "answer": []}', 'line 2: "answer" must be a non-empty string'),
        ('{"question": "Q", "answer": {"a": 1}}', 'line 2: "answer" must be a non-empty string'),
        ('{"question": 7, "answer": "A"}', 'line 2: "question" must be a non-empty string'),
        ('{"instruction": "Q", "input": "", "output": ""}', 'line 2: "output" must be a non-empty string'),
        ('{"messages": [{"role": "user", "content": "Q"}]}', '"messages" has 1 turns of the user and 0 of the assist'),
        ('{"question": "Q", "answer": "A", "quote": [1]}', 'line 2: "quote" must be a string or a list of strings'),
        ('{"question": "Q", "answer": "A", "document": 3}', 'line 2: "document" must be'),
        ('{"question": "Q", "answer": "\\ud800"}', 'line 2: "answer" holds an unpaired surrogate'),
        ('{"question": "Q", "answer": "A", "id": "\\ud800"}', "line 2 holds an unpaired surrogate"),
    ],
)
def test_a_broken_line_is_named_by_file_and_number(tmp_path, line, message):
    path = write(tmp_path / "q.jsonl", '{"question": "Who?", "answer": "Ann"}\n' + line + "\n")
    with pytest.raises(ValueError, match=message) as caught:
        read_questions(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_alpaca(tmp_path):
    path = write(
        tmp_path / "alpaca.json",
        [
            {"instruction": "Who?", "input": "", "output": "Ann"},
            {"instruction": "When?", "input": "UK", "output": "1912"},
        ],
    )
    assert read_questions(path) == [
        RawQuestion("Who?", "Ann", source="alpaca.json item 1"),
        RawQuestion("When?\nUK", "1912", source="alpaca.json item 2"),
    ]


def test_harmless_keys_are_kept_beside_the_question(tmp_path):
    lines = [
        {"question": "Who?", "answer": "Ann", "id": 7, "source": {"page": 3.5}, "history": []},
        {"question": "When?", "answer": "1912", "source": None, "documents": "a.md"},
        {"instruction": "Where?", "input": "", "output": "Here", "system": "Be brief.", "id": "x"},
    ]
    path = write(tmp_path / "q.jsonl", "\n".join(map(json.dumps, lines)))
    read = read_question_file(path)
    assert [raw.extra for raw in read.questions] == [
        {"id": 7, "source": {"page": 3.5}, "history": []},
        {"source": None, "documents": "a.md"},
        {"system": "Be brief.", "id": "x"},
    ]
    assert read.kept_keys == {"id": 2, "source": 2, "history": 1, "documents": 1, "system": 1}
    assert read.remarks() == [
        "keys that are kept beside the questions and not used: source (2), history (1), documents (1), system (1)",
        "is the key 'documents' meant as 'document'? set questions.fields=documents=document",
    ]
    assert (
        read_question_file(write(tmp_path / "plain.jsonl", '{"question": "Q", "answer": "A", "id": 1}')).remarks() == []
    )


@pytest.mark.parametrize(
    ("value", "answers"),
    [
        ("7", ("7",)),
        ("3.50", ("3.50",)),
        ("-1e3", ("-1e3",)),
        ("true", ("true",)),
        ("false", ("false",)),
        ('["Ann", "Ann Holt", "Ann"]', ("Ann", "Ann Holt")),
        ("[1912, 1913]", ("1912", "1913")),
        ('{"text": ["Ann", "Ann Holt"], "answer_start": [1, 1]}', ("Ann", "Ann Holt")),
        ('[{"text": "Ann"}, {"text": "Ann Holt"}]', ("Ann", "Ann Holt")),
    ],
)
@pytest.mark.parametrize("key", ["answer", "answers"])
def test_an_answer_may_be_a_number_a_truth_value_or_several(tmp_path, key, value, answers):
    (raw,) = read_questions(write(tmp_path / "q.jsonl", f'{{"question": "Q", "{key}": {value}}}'))
    assert (raw.answer, *raw.other_answers) == answers and raw.extra == {}


BAD = [
    '{"question": "Who?", "answer": "Ann"}',
    '{"question": "Who',
    '{"instruction": "When?", "output": ""}',
    '{"instruction": "When?", "input": "UK", "output": 1912}',
    '{"question": "Where?"}',
    '{"question": "Why?", "answer": true, "quote": "So."}',
]


def test_bad_lines_are_named_and_the_others_go_on(tmp_path):
    path = write(tmp_path / "q.jsonl", "\n".join(BAD))
    read = read_question_file(path)
    assert [(raw.question, raw.answer) for raw in read.questions] == [
        ("Who?", "Ann"),
        ("When?\nUK", "1912"),
        ("Why?", "true"),
    ]
    assert [(item.reason, item.source) for item in read.unreadable] == [
        (UNREADABLE, f"q.jsonl line {number}") for number in (2, 3, 5)
    ]
    assert read.unreadable[0].detail.startswith("is not JSON (")
    assert read.unreadable[1] == Rejected("", UNREADABLE, '"output" must be a non-empty string', "q.jsonl line 3")
    as_list = write(tmp_path / "q.json", [json.loads(line) for line in BAD if not line.endswith("Who")])
    assert [item.source for item in read_question_file(as_list).unreadable] == ["q.json item 2", "q.json item 4"]


def test_strict_names_all_bad_lines(tmp_path):
    path = write(tmp_path / "q.jsonl", "\n".join([*BAD, *BAD, *BAD]))
    with pytest.raises(
        ValueError, match=r"line 2 is not JSON .*line 3: .*line 5: .*line 8 .*and 4 more. Correct them"
    ) as caught:
        read_question_file(path, QuestionFileSettings(strict=True))
    assert "\n" not in str(caught.value)


def test_a_byte_that_is_no_text_costs_its_line(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_bytes(b'{"question": "Who?", "answer": "Ann"}\r\n{"question": "\xff", "answer": "A"}\n')
    read = read_question_file(path)
    assert [raw.question for raw in read.questions] == ["Who?"]
    assert "is not UTF-8 text (byte 0xff at column 15)" in read.unreadable[0].detail
    path.write_bytes('{"question": "Wer?", "answer": "Bär"}\n'.encode("utf-16"))
    assert read_questions(path)[0].answer == "Bär"


@pytest.mark.parametrize(
    "fields",
    [
        "prompt=question,completion=answer,file=document",
        "prompt = question, completion=answer ,file=document",
        ["prompt=question", "completion=answer", "file=document"],
        {"prompt": "question", "completion": "answer", "file": "document"},
    ],
)
def test_fields_may_have_other_names(tmp_path, fields):
    row = {"prompt": "Who?", "completion": "Ann", "file": "a.md", "question": "4", "n": 1}
    settings = QuestionFileSettings(fields=fields)
    (raw,) = read_question_file(write(tmp_path / "q.jsonl", json.dumps(row)), settings).questions
    assert (raw.question, raw.answer, raw.document) == ("Who?", "Ann", "a.md")
    assert raw.extra == {"other question": "4", "n": 1}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("question=prompt", r"'prompt' is no field of a question \(is prompt=question meant\?\)"),
        ("prompt", "write pairs of NAME=FIELD"),
        ("a=answer,b=answer", "'answer' is given several names"),
    ],
)
def test_other_names_that_make_no_sense(fields, message):
    with pytest.raises(ValueError, match=message):
        QuestionFileSettings(fields=fields)


def test_chats_of_one_turn(tmp_path):
    rows = [
        {"messages": [{"role": "system", "content": "Be brief."}, *chat("Who?", "Ann")], "document": "a.md"},
        {"conversations": [{"from": "human", "value": "When?"}, {"from": "gpt", "value": "1912"}], "id": 3},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Where?"}]}, *chat("", "Here")[1:]]},
        {"messages": [*chat("Who?", "Ann"), *chat("And when?", "1912")]},
    ]
    read = read_question_file(write(tmp_path / "q.jsonl", "\n".join(map(json.dumps, rows))))
    assert read.questions == (
        RawQuestion("Who?", "Ann", document="a.md", source="q.jsonl line 1", extra={"system": "Be brief."}),
        RawQuestion("When?", "1912", source="q.jsonl line 2", extra={"id": 3}),
        RawQuestion("Where?", "Here", source="q.jsonl line 3"),
    )
    assert "2 turns of the user and 2 of the assistant: give one question" in read.unreadable[0].detail


def chat(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def test_json_lines_named_json_and_a_list_of_questions(tmp_path):
    rows = [{"question": "Who?", "answer": "Ann"}, {"question": "When?", "answer": "1912"}]
    for name, content in (("a.json", "\n".join(map(json.dumps, rows))), ("b.JSON", rows), ("c.json", {"data": rows})):
        assert [raw.answer for raw in read_questions(write(tmp_path / name, content))] == ["Ann", "1912"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.csv", "a,b", "Unsupported question file: "),
        ("q.jsonl", "\n", "holds no questions"),
        ("q.json", "[]", "holds no questions"),
        ("q.json", "[1", "is not JSON"),
        ("q.json", {"rows": []}, "is neither Alpaca nor SQuAD JSON"),
        ("q.parquet", "text", "cannot be read as Parquet"),
        ("q.json", {"data": [{"title": "T"}]}, 'data item 1: "paragraphs" must be a list'),
        ("q.json", {"data": [{"title": "T", "paragraphs": ["text"]}]}, "data item 1 paragraph 1 must be an object"),
        ("q.json", {"data": [{"title": "T", "paragraphs": [{"context": "C"}]}]}, '"qas" must be a list'),
    ],
)
def test_other_broken_files(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        read_questions(write(tmp_path / name, content))


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(ValueError, match=r"none\.jsonl cannot be read"):
        read_questions(tmp_path / "none.jsonl")
    (tmp_path / "q.jsonl").write_bytes(b'{"question": "\xff"}')
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read_questions(tmp_path / "q.jsonl")
    (tmp_path / "q.jsonl").write_bytes(b'{"question": "\0"}')
    with pytest.raises(ValueError, match="is a binary file"):
        read_questions(tmp_path / "q.jsonl")
    with pytest.raises(ValueError, match="Unsupported question file"):
        read_questions(tmp_path)
