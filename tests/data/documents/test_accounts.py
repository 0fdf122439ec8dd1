"""The account of a corpus: one line a file, with its state, what was kept and left out, remarks and reasons."""

import json
import logging
import os
from collections.abc import Iterator

import pytest

from data.documents.accounts import EMPTY, FileAccount, count_files
from data.documents.corpus import read_corpus
from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart
from data.documents.readers.memory import ReadingMemory
from data.files.jsonl import read_jsonl, write_jsonl
from testing.small_files import pdf

DEFAULT = DocumentSettings()


def reads(monkeypatch: pytest.MonkeyPatch, *items: Extracted | UnreadPart) -> list[str]:
    """Makes the reader of PDFs return these items, in this process; returns a list that counts its calls."""
    calls: list[str] = []

    def reader(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
        calls.append("read")
        yield from items

    monkeypatch.setattr("data.documents.corpus.READERS", {".pdf": reader, ".md": reader})
    monkeypatch.setattr("data.documents.corpus.ReadingChild.read", lambda *given: list(given[-1]()))
    return calls


def test_every_file_has_one_line_with_its_state(tmp_path):
    (tmp_path / "a.md").write_text("Text.\n")
    (tmp_path / "b.pdf").write_bytes(b"%PDF-")
    (tmp_path / "c.txt").write_text(" \n")
    (tmp_path / "d.csv").write_text("text\nOne.\n \nThree.\n")
    (tmp_path / "e.csv").write_text("text\n")
    (tmp_path / "f.png").write_bytes(b"PNG")
    (tmp_path / "g.md").symlink_to("nowhere")
    (tmp_path / "h.pdf").write_bytes(pdf([["A page."], ["Another."]]))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "i.md").write_text("x" * 99)
    corpus = read_corpus(tmp_path, DocumentSettings(max_document_characters=50))
    found = {file.path: (file.state, file.documents, file.kept, file.unread_parts) for file in corpus.files}
    assert found == {
        "a.md": ("read", 1, 6, 0),
        "b.pdf": ("unreadable", 0, 0, 0),
        "c.txt": ("empty", 0, 0, 0),
        "d.csv": ("partly read", 2, 10, 1),
        "deep/i.md": ("unreadable", 0, 0, 0),
        "e.csv": ("empty", 0, 0, 0),
        "f.png": ("skipped", 0, 0, 0),
        "g.md": ("unreadable", 0, 0, 0),
        "h.pdf": ("read", 1, len(corpus.documents[-1].text), 0),
    }
    assert [file.path for file in corpus.files] == sorted(found)
    of = {file.path: file for file in corpus.files}
    assert of["d.csv"].reason == f"#2: {EMPTY}" and "damaged PDF" in of["b.pdf"].reason
    assert "over documents.max_document_characters" in of["deep/i.md"].reason
    assert {"e.csv", "c.txt", "d.csv#2"} <= {item.path for item in corpus.unreadable}, "a file without rows is listed"
    assert count_files(corpus.files) == {
        "files": 9,
        "partly_read_files": 1,
        "empty_files": 2,
        "unreadable_files": 3,
        "skipped_files": 1,
        "characters_kept": sum(len(document.text) for document in corpus.documents),
        "characters_left_out": 0,
    }


def test_what_readers_leave_out_and_remark_is_summed_by_file(tmp_path, monkeypatch, caplog):
    (tmp_path / "a.pdf").write_bytes(b"x")
    reads(
        monkeypatch,
        Extracted("One.", part="1", left_out={"menus": 7}, remarks=("a guess",), counts={"joined": 2}),
        Extracted("Two \ud800", part="2", left_out={"menus": 3, "comments": 1}, remarks=("a guess", "another")),
        Extracted(" ", part="3", left_out={"comments": 10}),
        UnreadPart("4", "a picture"),
    )
    with caplog.at_level(logging.WARNING):
        corpus = read_corpus(tmp_path, DEFAULT, complete_list="work/latest/documents.html")
    (file,) = corpus.files
    assert file == FileAccount(
        "a.pdf",
        "partly read",
        documents=2,
        kept=9,
        left_out={"comments": 11, "menus": 10},
        changes={"half_characters_replaced": 1, "joined": 2},
        remarks=("a guess", "another"),
        reason=f"#3: {EMPTY}; #4: a picture",
        unread_parts=2,
    )
    assert file.left_out_characters == 21 == count_files([file])["characters_left_out"]
    assert "9 characters were kept, and left out: comments 11, menus 10; all files: work/latest/" in caplog.text
    assert "a.pdf: a guess" in caplog.text
    assert caplog.text.count("all files: work/latest/documents.html") == 2


def test_a_second_reading_from_memory_gives_the_same_account(tmp_path, monkeypatch):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(b"x")
    item = Extracted("One.", pages=(0,), left_out={"menus": 7}, remarks=("a guess", "b"), counts={"joined": 2})
    calls = reads(monkeypatch, item, UnreadPart("2", "a picture"))
    first, second = (read_corpus(folder, DEFAULT, ReadingMemory(tmp_path / "memory", "1")).files for _ in range(2))
    assert first == second and len(calls) == 1
    assert second[0].remarks == ("a guess", "b") and second[0].left_out == {"menus": 7}
    assert second[0].changes == {"joined": 2} and second[0].reason == "#2: a picture"


def test_the_account_of_rows_of_a_large_file_stays_short(tmp_path, monkeypatch):
    (tmp_path / "a.pdf").write_bytes(b"x")
    items = [UnreadPart(str(n), "bad") for n in range(1, 5_001)]
    reads(monkeypatch, *items, *(Extracted("x", part=str(n), remarks=(f"remark {n}",)) for n in range(6_000, 6_050)))
    (file,) = read_corpus(tmp_path, DEFAULT).files
    assert file.reason == "#1: bad; #2: bad; #3: bad; and 4,997 more" and file.unread_parts == 5_000
    assert len(file.remarks) == 21 and file.remarks[-1] == "30 more remarks"


def test_accounts_are_written_and_read_back_also_with_hostile_names(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "two\nlines.md").write_text("Text.")
    (folder / os.fsdecode(b"caf\xe9.md")).write_text("Text.")
    (folder / "<b>&.txt").write_bytes("Müller mahlt für die Genossenschaft, außer im März.".encode("cp1252"))
    files = read_corpus(folder, DEFAULT).files
    assert {file.path: file.state for file in files} == {
        "<b>&.txt": "read",
        "caf\\udce9.md": "unreadable",
        "two\nlines.md": "read",
    }
    write_jsonl(tmp_path / "files.jsonl", files)
    assert read_jsonl(tmp_path / "files.jsonl", FileAccount) == list(files)
    assert files[0].remarks, "a guessed encoding is told"
    json.loads((tmp_path / "files.jsonl").read_text().splitlines()[0])


def test_a_data_set_and_a_single_file_are_one_line_each(tmp_path):
    import datasets

    datasets.Dataset.from_dict({"text": ["One.", " ", "Three."]}).save_to_disk(tmp_path / "saved")
    (file,) = read_corpus(tmp_path / "saved", DEFAULT).files
    assert (file.path, file.state, file.documents, file.kept) == ("saved", "partly read", 2, 10)
    (tmp_path / "a.jsonl").write_text('{"text": "One."}\n{"text": "Two."}\n')
    (file,) = read_corpus(tmp_path / "a.jsonl", DEFAULT).files
    assert (file.path, file.state, file.documents, file.kept) == ("a.jsonl", "read", 2, 8)


def test_more_remarks_than_the_console_shows_are_in_the_list(tmp_path, monkeypatch, caplog):
    for number in range(14):
        (tmp_path / f"{number:02}.md").write_text("x")
    reads(monkeypatch, Extracted("x", remarks=("guessed",)))
    with caplog.at_level(logging.WARNING):
        files = read_corpus(tmp_path, DEFAULT, complete_list="latest/documents.html").files
    assert caplog.text.count(": guessed") == 10
    assert "4 more remarks of this kind; all files: latest/documents.html" in caplog.text
    assert all(file.remarks == ("guessed",) for file in files)


def test_an_error_is_no_account(tmp_path, monkeypatch):
    (tmp_path / "a.md").write_text("x")

    def fails(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
        raise Unreadable("it is broken")

    monkeypatch.setattr("data.documents.corpus.READERS", {".md": fails})
    with pytest.raises(ValueError, match=r"no document can be read from .*a\.md \(it is broken"):
        read_corpus(tmp_path, DEFAULT)
