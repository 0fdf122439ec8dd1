"""SQuAD's files in every form: all right answers, impossible questions, parts without a title, flat rows."""

import json

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from data.documents.documents import make_document
from data.prompting.prompts import ABSTENTION
from data.questions.question_files import is_squad, read_question_file, read_questions, squad_documents
from data.questions.squad import named_or_quoted

CONTEXT = "It sank. It was found in 1912. It sank again in 1913."
SECOND = "A second paragraph. It is long."
QAS = [
    {"id": "1", "question": "When found?", "answers": [{"text": "1912", "answer_start": 25}]},
    {"id": "2", "question": "When?", "answers": [{"text": "sank", "answer_start": 34}]},
    {
        "id": "3",
        "question": "Who found it?",
        "answers": [],
        "is_impossible": True,
        "plausible_answers": [{"text": "1913", "answer_start": 48}],
    },
    {"id": "4", "question": "Was it found whole?", "answers": [], "is_impossible": True},
]
GOLDS = [
    {"text": "in 1913", "answer_start": 45},
    {"text": "1913", "answer_start": 48},
    {"text": "1913", "answer_start": 48},
    {"text": " ", "answer_start": 0},
]
NESTED = {
    "version": "v2.0",
    "data": [
        {
            "title": "Ships",
            "paragraphs": [
                {"context": CONTEXT, "qas": [*QAS, {"id": "5", "question": "When again?", "answers": GOLDS}]},
                {"context": SECOND, "qas": []},
                {"context": CONTEXT, "qas": []},
            ],
        }
    ],
}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_questions_quote_the_sentence_around_the_answer(tmp_path):
    questions = read_questions(write(tmp_path / "squad.json", NESTED))
    assert [(q.question, q.answer, q.other_answers, q.quotes, q.document) for q in questions] == [
        ("When found?", "1912", (), ("It was found in 1912.",), "Ships"),
        ("When?", "sank", (), ("It sank again in 1913.",), "Ships"),
        # The plausible answer is none; it says where the question belongs.
        ("Who found it?", ABSTENTION, (), ("It sank again in 1913.",), "Ships"),
        ("Was it found whole?", ABSTENTION, (), ("It was found in 1912.",), "Ships"),
        # The most frequent of the answers is the one to train on; all are right.
        ("When again?", "1913", ("in 1913",), ("It sank again in 1913.",), "Ships"),
    ]
    assert questions[0].source == "squad.json data item 1 paragraph 1"
    assert [q.extra for q in questions] == [{"id": str(number)} for number in range(1, 6)]
    assert read_question_file(tmp_path / "squad.json").remarks() == []


def test_documents_hold_each_paragraph_once(tmp_path):
    (document,) = squad_documents(write(tmp_path / "squad.json", NESTED))
    assert (document.path, document.title) == ("Ships.txt", "Ships")
    assert document.text == f"{CONTEXT}\n\n{SECOND}"


def test_parts_without_a_title_are_named_by_file_and_number(tmp_path):
    parts = [{"paragraphs": [{"context": text, "qas": QAS[:1]}]} for text in (CONTEXT, SECOND)]
    path = write(tmp_path / "squad.json", {"data": parts})
    names = ["squad.json#1.txt", "squad.json#2.txt"]
    documents = squad_documents(path)
    assert [document.path for document in documents] == names == [q.document for q in read_questions(path)]
    assert [document.title for document in documents] == ["squad.json#1", "squad.json#2"]


def test_a_name_made_up_for_a_part_binds_no_other_corpus(tmp_path):
    path = write(tmp_path / "squad.json", {"data": [{"paragraphs": [{"context": CONTEXT, "qas": QAS}]}]})
    questions = read_questions(path)
    assert named_or_quoted(questions, squad_documents(path)) == questions
    elsewhere = [make_document("ship.md", CONTEXT)]
    assert {q.document for q in named_or_quoted(questions, elsewhere)} == {None}
    titled = read_questions(write(tmp_path / "titled.json", NESTED))
    assert named_or_quoted(titled, elsewhere) == titled


def row(id, title, context, question, *answers):
    texts, starts = [text for text, _ in answers], [start for _, start in answers]
    given = {"text": texts, "answer_start": starts}
    return {"id": id, "title": title, "context": context, "question": question, "answers": given}


ROWS = [
    row("a", "Ships", CONTEXT, "When found?", ("1912", 25), ("1912", 25), ("in 1912", 22)),
    row("b", "Ships", SECOND, "Is it long?"),
    row("c", "Boats", "Boats float. They are of oak.", "Of what?", ("oak", 24)),
]


def saved(folder, form, rows):
    path = folder / f"rows.{form}"
    if form == "json":
        return write(path, rows)
    if form == "jsonl":
        return write(path, "\n".join(map(json.dumps, rows)))
    if form == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    elif form == "datasets":
        datasets.Dataset.from_list(rows).save_to_disk(path)
    else:
        datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(path)
    return path


@pytest.mark.parametrize("form", ["json", "jsonl", "parquet", "datasets", "dict"])
def test_flat_rows(tmp_path, form):
    path = saved(tmp_path, form, ROWS)
    assert is_squad(path)
    questions = read_questions(path)
    assert [(q.question, q.answer, q.other_answers, q.quotes, q.document, q.extra) for q in questions] == [
        ("When found?", "1912", ("in 1912",), ("It was found in 1912.",), "Ships", {"id": "a"}),
        ("Is it long?", ABSTENTION, (), ("It is long.",), "Ships", {"id": "b"}),
        ("Of what?", "oak", (), ("They are of oak.",), "Boats", {"id": "c"}),
    ]
    assert [(document.path, document.text) for document in squad_documents(path)] == [
        ("Ships.txt", f"{CONTEXT}\n\n{SECOND}"),
        ("Boats.txt", ROWS[2]["context"]),
    ]
    untitled = [{key: value for key, value in row.items() if key != "title"} for row in [*ROWS, ROWS[0]]]
    path = saved(tmp_path, "json", untitled)
    names = [f"rows.json#{number}.txt" for number in (1, 2, 3)]
    assert [document.path for document in squad_documents(path)] == names
    assert [q.document for q in read_questions(path)] == [*names, names[0]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("alpaca.json", [{"instruction": "Q", "output": "A"}]),
        ("questions.json", [{"question": "Q", "answer": "A", "context": "C"}]),
        ("object.json", {"rows": []}),
        ("texts.jsonl", '{"text": "T"}'),
        ("texts.jsonl", '{"text": "T", "context": "C", "question": "Q", "answers": {"text": ["C"]}}'),
        ("broken.jsonl", "{"),
        ("empty.jsonl", ""),
        ("table.csv", "text\nT"),
    ],
)
def test_what_is_no_squad(tmp_path, name, content):
    assert not is_squad(write(tmp_path / name, content))


def test_a_context_that_is_no_text_of_squad_is_a_key_like_others(tmp_path):
    path = write(tmp_path / "q.jsonl", '{"question": "Q", "answer": "A", "context": "Some words."}')
    (raw,) = read_questions(path)
    assert raw.document is None and raw.quotes == () and raw.extra == {"context": "Some words."}


def test_one_bad_question_is_left_out(tmp_path):
    qas = [QAS[0], {"id": "x", "question": "", "answers": []}, {"id": "y", "question": "Who?", "answers": "Ann"}]
    read = read_question_file(
        write(tmp_path / "s.json", {"data": [{"paragraphs": [{"context": CONTEXT, "qas": qas}]}]})
    )
    assert [raw.question for raw in read.questions] == ["When found?", "Who?"]
    assert [item.source for item in read.unreadable] == ["s.json data item 1 paragraph 1"]
