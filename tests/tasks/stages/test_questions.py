"""Questions as they are read: bad lines are listed and the others go on; what cannot be split is told at once."""

import json
import logging
from pathlib import Path

import pytest

from data.documents.documents import DocumentSettings
from data.files.jsonl import read_jsonl
from data.questions.question_files import QuestionFileSettings
from data.questions.questions import RawQuestion, Rejected
from data.questions.split import SplitSettings
from tasks.stages.questions import check_questions
from tasks.stages.sources import UNREADABLE_QUESTIONS, snapshot_documents, snapshot_questions
from tasks.store.artifacts import Artifact
from tasks.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "work")


def asked(store: Store, folder: Path, *rows: object) -> Artifact:
    path = folder / "q.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return snapshot_questions.fn(store, str(path), QuestionFileSettings())


def documents(store: Store, folder: Path, *names: str) -> Artifact:
    (folder / "docs").mkdir()
    for name in names:
        (folder / "docs" / name).write_text(f"Text of {name}.")
    return snapshot_documents.fn(store, str(folder / "docs"), DocumentSettings())


def test_bad_lines_are_listed_beside_the_questions(store: Store, tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO)
    good = {"question": "Who?", "answer": 7, "id": 1, "topic": "x"}
    raw = asked(store, tmp_path, good, "{", {"question": "Who?", "answer": ""})
    assert raw.count("questions") == 1 and raw.count("unreadable_lines") == 2
    (question,) = read_jsonl(store.path(raw) / "raw_questions.jsonl", RawQuestion)
    assert question.answer == "7" and question.extra == {"id": 1, "topic": "x"}
    listed = read_jsonl(store.path(raw) / UNREADABLE_QUESTIONS, Rejected)
    assert [item.source for item in listed] == ["q.jsonl line 2", "q.jsonl line 3"]
    said = caplog.text
    assert "q.jsonl: keys that are kept beside the questions and not used: topic (1)" in said
    assert "2 lines of questions cannot be read: q.jsonl line 2 is not JSON" in said


WHO, WHEN = {"question": "Who?", "answer": "Ann"}, {"question": "When?", "answer": "1912"}


@pytest.mark.parametrize(
    ("names", "rows", "settings"),
    [
        (["a.md"], [WHO, WHEN], {}),
        (["a.md"], None, {}),
        (["a.md", "b.md"], [WHO | {"document": "a.md"}, WHEN | {"document": "A"}], {}),
        (["a.md", "b.md"], [WHO, WHEN], {"validation_fraction": 0.2}),
        (["a.md", "b.md"], None, {"validation_fraction": 0.2}),
    ],
)
def test_too_few_documents_are_told_before_anything_is_built(store, tmp_path, names, rows, settings) -> None:
    corpus = documents(store, tmp_path, *names)
    raw = None if rows is None else asked(store, tmp_path, *rows)
    with pytest.raises(ValueError, match="questions: give at least"):
        check_questions(store, raw, corpus, SplitSettings(**settings))
    check_questions(store, raw, corpus, SplitSettings(by="question", **settings))


def test_documents_that_may_be_enough_pass(store: Store, tmp_path: Path) -> None:
    corpus = documents(store, tmp_path, "a.md", "b.md")
    check_questions(store, None, corpus, SplitSettings())
    check_questions(store, asked(store, tmp_path, WHO | {"document": "a.md"}, WHEN), corpus, SplitSettings())


def test_names_that_no_document_has(store: Store, tmp_path: Path) -> None:
    corpus = documents(store, tmp_path, "a.md", "b.md")
    with pytest.raises(ValueError, match="none of 1 questions names a document of the corpus"):
        check_questions(store, asked(store, tmp_path, WHO | {"document": "c.md"}), corpus, SplitSettings())
