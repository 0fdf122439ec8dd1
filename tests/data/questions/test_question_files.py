"""Question files in their three formats, and what is said about broken ones."""

import json

import pytest

from data.questions.question_files import read_questions, squad_documents
from data.questions.questions import RawQuestion


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
            '{"question": "Q", "answer": "A", "context": "C"}',
            "unknown key 'context': allowed are question, answer, quote",
        ),
        ('{"question": "Q"}', 'line 2: "answer" must be a non-empty string'),
        ('{"question": " ", "answer": "A"}', 'line 2: "question" must be a non-empty string'),
        ('{"question": "Q", "answer": 7}', 'line 2: "answer" must be a non-empty string'),
        ('{"question": "Q", "answer": "A", "quote": [1]}', 'line 2: "quote" must be a string or a list of strings'),
        ('{"question": "Q", "answer": "A", "document": 3}', 'line 2: "document" must be'),
        ('{"question": "Q", "answer": "\\ud800"}', 'line 2: "answer" holds an unpaired surrogate'),
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


SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "Ships",
            "paragraphs": [
                {
                    "context": "It sank. It was found in 1912. It sank again in 1913.",
                    "qas": [
                        {"id": "1", "question": "When found?", "answers": [{"text": "1912", "answer_start": 25}]},
                        {"id": "2", "question": "When?", "answers": [{"text": "sank", "answer_start": 34}]},
                        {"id": "3", "question": "Why?", "answers": [], "is_impossible": True},
                    ],
                },
                {"context": "A second paragraph.", "qas": []},
            ],
        }
    ],
}


def test_squad_questions_quote_the_sentence_around_the_answer(tmp_path):
    questions = read_questions(write(tmp_path / "squad.json", SQUAD))
    assert [(q.question, q.answer, q.quotes, q.document) for q in questions] == [
        ("When found?", "1912", ("It was found in 1912.",), "Ships"),
        ("When?", "sank", ("It sank again in 1913.",), "Ships"),
        ("Why?", "", (), "Ships"),
    ]
    assert questions[0].source == "squad.json data item 1 paragraph 1"


def test_squad_documents(tmp_path):
    (document,) = squad_documents(write(tmp_path / "squad.json", SQUAD))
    assert (document.path, document.title) == ("Ships.txt", "Ships")
    assert document.text == "It sank. It was found in 1912. It sank again in 1913.\n\nA second paragraph."


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.csv", "a,b", "Unsupported question file: "),
        ("q.jsonl", "\n", "holds no questions"),
        ("q.json", "[]", "holds no questions"),
        ("q.json", "[1", "is not JSON"),
        ("q.json", {"rows": []}, "is neither Alpaca nor SQuAD JSON"),
        (
            "q.json",
            [{"instruction": "Q", "output": "A", "id": 1}],
            "item 1 has the unknown key 'id': allowed are instruction",
        ),
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
