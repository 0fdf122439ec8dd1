"""A corpus: what is read, in which order, under which ids; what is not read, with its reason, and what ends a run."""

import json
import logging
import os
import socket
from pathlib import Path

import datasets
import pytest

from data.documents.corpus import Unread, list_folder, read_corpus, read_documents
from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Unreadable
from data.documents.readers.memory import ReadingMemory
from testing.small_files import pdf

DEFAULT = DocumentSettings()


def reasons(folder: Path, **settings) -> dict[str, str]:
    return {item.path: item.reason for item in read_corpus(folder, DocumentSettings(**settings)).unreadable}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with one document."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "good.md").write_text("Text.")
    return folder


def test_the_questions_of_a_run_are_no_document_wherever_they_lie(corpus, tmp_path):
    questions = corpus / "questions.jsonl"
    questions.write_text('{"question": "Who keeps the lamp?", "answer": "Nils"}\n')
    (tmp_path / "link.jsonl").symlink_to(questions)
    for given in (questions, tmp_path / "link.jsonl", corpus / ".." / "corpus" / "questions.jsonl"):
        found = read_corpus(corpus, DEFAULT, other_inputs=[given, tmp_path / "missing.jsonl"])
        assert [document.path for document in found.documents] == ["good.md"]
        assert found.skipped == (Unread("questions.jsonl", "no document: an input of the run, such as its questions"),)
    assert len(read_corpus(corpus, DEFAULT).documents) == 2


def test_reads_texts_below_a_folder_sorted_with_stable_ids(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.md").write_bytes("\ufeff# Über uns\r\n\r\nText.\r\n".encode())
    (tmp_path / "a.TXT").write_text("Just text.")
    documents = read_documents(tmp_path)
    assert [document.path for document in documents] == ["a.TXT", "b/one.md"]
    assert documents[1].text == "# Über uns\n\nText.\n"
    assert [document.title for document in documents] == ["a", "Über uns"]
    assert documents == read_documents(tmp_path)
    assert all(len(document.id) == 16 for document in documents)


def test_every_kind_in_one_folder(corpus):
    (corpus / "a.pdf").write_bytes(pdf([["First page."], ["Second page."]]))
    (corpus / "table.csv").write_text("name,text\nOne,First row.\nTwo,Second row.\n")
    (corpus / "z.html").write_text("<p>Hypertext.</p>")
    documents = read_documents(corpus)
    assert [document.path for document in documents] == ["a.pdf", "good.md", "table.csv#1", "table.csv#2", "z.html"]
    assert documents[0].pages == (0, 13) and documents[1].pages == ()
    titled = read_corpus(corpus / "table.csv", DocumentSettings(title_column="name")).documents
    assert [(document.path, document.title) for document in titled] == [("table.csv#1", "One"), ("table.csv#2", "Two")]


def test_a_file_of_rows_and_a_datasets_folder_are_corpora(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "One."}\n{"text": "Two."}\n')
    assert [document.path for document in read_documents(tmp_path / "rows.jsonl")] == ["rows.jsonl#1", "rows.jsonl#2"]
    datasets.Dataset.from_dict({"text": ["One.", " "]}).save_to_disk(tmp_path / "saved")
    found = read_corpus(tmp_path / "saved", DEFAULT)
    assert [document.path for document in found.documents] == ["saved#1"]
    assert found.unreadable == (Unread("saved#2", "empty: write its text or remove it"),)
    with pytest.raises(ValueError, match=r"Unsupported file type: .*a\.zip\. Supported: Markdown"):
        (tmp_path / "a.zip").write_bytes(b"PK")
        read_corpus(tmp_path / "a.zip", DEFAULT)


def test_other_files_are_listed_and_logged_hidden_ones_are_not(corpus, caplog):
    (corpus / "picture.png").write_bytes(b"PNG")
    (corpus / ".hidden.md").write_text("Text.")
    (corpus / ".git").mkdir()
    (corpus / ".git" / "b.md").write_text("Text.")
    with caplog.at_level(logging.WARNING):
        found = read_corpus(corpus, DEFAULT)
    assert [document.path for document in found.documents] == ["good.md"]
    assert found.skipped == (Unread("picture.png", "unsupported file type (.png)"),)
    assert not found.unreadable
    assert "1 files or parts" in caplog.text and "picture.png" in caplog.text


def test_links_inside_are_followed_once_and_links_out_by_setting(tmp_path):
    inside = tmp_path / "corpus" / "inside"
    inside.mkdir(parents=True)
    (inside / "a.md").write_text("Text.")
    (inside / "up").symlink_to(tmp_path / "corpus")
    (inside / "alias.md").symlink_to("a.md")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.md").write_text("More.")
    (outside / "back").symlink_to(inside)
    (tmp_path / "corpus" / "linked").symlink_to(outside)
    (tmp_path / "corpus" / "nothing.md").symlink_to(tmp_path / "missing")
    (tmp_path / "corpus" / "circle.md").symlink_to("circle.md")
    listing = list_folder(tmp_path / "corpus", DEFAULT)
    assert [path.name for path in listing.files] == ["a.md", "alias.md"]
    assert [(item.path, item.reason.split(":")[0]) for item in listing.unreadable] == [
        ("circle.md", "broken or cyclic link"),
        ("linked", "link out of the folder"),
        ("nothing.md", "broken or cyclic link"),
    ]
    followed = list_folder(tmp_path / "corpus", DocumentSettings(follow_links=True))
    assert sorted(path.name for path in followed.files) == ["a.md", "alias.md", "b.md"]
    assert len(followed.unreadable) == 2
    assert len(followed.skipped) == 2  # two links to folders seen before


def test_a_file_that_cannot_be_read_is_listed_and_the_run_goes_on(corpus, caplog):
    (corpus / "binary.md").write_bytes(b"GIF89a\0\0")
    (corpus / "empty.txt").write_bytes(b" \r\n\t\n")
    (corpus / "broken.pdf").write_bytes(b"%PDF-")
    (corpus / "long.md").write_text("x" * 2000)
    (corpus / "large.md").write_text("x" * 9000)
    os.mkfifo(corpus / "pipe.md")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(corpus / "socket.md"))
        with caplog.at_level(logging.WARNING):
            found = reasons(corpus, max_document_characters=1000, max_file_bytes=8000)
    expected = {
        "binary.md": "binary file",
        "broken.pdf": "damaged PDF",
        "empty.txt": "empty",
        "large.md": "9,000 bytes, over documents.max_file_bytes=8,000",
        "long.md": "2,000 characters, over documents.max_document_characters=1,000",
        "pipe.md": "not a regular file",
        "socket.md": "cannot be opened",
    }
    assert list(found) == list(expected)
    for path, words in expected.items():
        assert found[path].startswith(words)
    assert "7 files or parts" in caplog.text and "pipe.md (not a regular file" in caplog.text


def test_devices_are_never_read(corpus):
    (corpus / "zero.md").symlink_to("/dev/zero")
    assert "link out of the folder" in reasons(corpus)["zero.md"]
    assert "not a regular file" in reasons(corpus, follow_links=True)["zero.md"]


def test_strict_makes_it_an_error(corpus):
    (corpus / "bad.md").write_bytes(b"GIF89a\0\0")
    with pytest.raises(ValueError, match=r"1 files or parts cannot be read: bad\.md \(binary file") as caught:
        read_corpus(corpus, DocumentSettings(strict=True))
    assert "\n" not in str(caught.value)
    (corpus / "bad.md").unlink()
    (corpus / "picture.png").write_bytes(b"PNG")  # of another kind: no fault
    assert len(read_corpus(corpus, DocumentSettings(strict=True)).documents) == 1


def test_a_detected_encoding_is_counted_and_told(corpus, caplog):
    (corpus / "old.txt").write_bytes(("Der Müller mahlt für die Genossenschaft, außer im März. " * 9).encode("cp1252"))
    with caplog.at_level(logging.WARNING):
        found = read_corpus(corpus, DEFAULT)
    assert "Müller" in found.documents[1].text and found.counts == {"detected_encodings": 1}
    assert "old.txt: no encoding is declared" in caplog.text


def test_names_with_line_breaks_and_without_utf_8(corpus):
    (corpus / "two\nlines.md").write_text("Text.")
    (corpus / os.fsdecode(b"caf\xe9.md")).write_text("Text.")
    found = read_corpus(corpus, DEFAULT)
    assert [document.path for document in found.documents] == ["good.md", "two\nlines.md"]
    assert found.unreadable == (Unread("caf\\udce9.md", "file name is not UTF-8: rename the file"),)


def test_half_a_character_is_replaced_and_counted(corpus):
    (corpus / "rows.jsonl").write_text(json.dumps({"text": "A \ud800 pair."}))
    found = read_corpus(corpus, DEFAULT)
    assert found.documents[1].text == "A \ufffd pair." and found.counts == {"half_characters_replaced": 1}


def test_a_corpus_must_be_there_and_hold_something_that_can_be_read(tmp_path):
    with pytest.raises(ValueError, match=r"no documents at .*missing: give a folder"):
        read_corpus(tmp_path / "missing", DEFAULT)
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(
        ValueError, match=r"no document can be read from .* \(1 files of unsupported types\): add Markdown"
    ):
        read_corpus(tmp_path, DEFAULT)
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(ValueError, match=r"no document can be read from .*: 1 files or parts .*a\.pdf \(damaged PDF"):
        read_corpus(tmp_path, DEFAULT)


def test_what_was_read_before_is_not_read_again(corpus, tmp_path, monkeypatch):
    (corpus / "a.pdf").write_bytes(pdf([["First."], ["Second."]]))
    (corpus / "broken.pdf").write_bytes(b"%PDF-")

    def found(code="1", **settings):
        return read_corpus(corpus, DocumentSettings(**settings), ReadingMemory(tmp_path / "memory", code))

    first = found()
    assert first == read_corpus(corpus, DEFAULT)
    (kept,) = (tmp_path / "memory").iterdir()

    def fails(child, suffix, raw, settings, here):
        if suffix == ".pdf":
            raise Unreadable("read again")
        return list(here())

    monkeypatch.setattr("data.documents.corpus.ReadingChild.read", fails)
    assert found().documents == first.documents
    for changed in (found("2"), found(max_unpacked_bytes=9)):
        assert [item.reason for item in changed.unreadable] == ["read again"] * 2
    kept.write_text("[{")
    assert len(found().unreadable) == 2, "what is damaged counts as forgotten"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("hex.html", b'<meta charset="hex"><p>caf\xe9</p>'),
        ("undefined.html", b'<meta charset="undefined"><p>caf\xe9</p>'),
        ("quoted.csv", b'text,"ti"tle\nOne.,Two.\n'),
        ("open.csv", b'text,"title\nOne.,Two.\n'),
    ],
)
def test_a_file_that_a_library_stumbles_over_ends_nothing(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.md").write_text("# Good\n\nIt is read.\n")
    corpus = read_corpus(tmp_path, DEFAULT)
    assert corpus.documents[0].path == "good.md"
    assert [item.path for item in corpus.unreadable] == [name] or corpus.documents[1].path == name
