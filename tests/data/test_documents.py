"""Folders of documents: what is read, in which order, under which ids, and what is refused."""

import logging
import os

import pytest

from data.documents import list_folder, make_document, read_documents


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


def test_id_depends_on_path_and_text_only():
    document = make_document("a.md", "Text.")
    assert document.id == make_document("a.md", "Text.", "Another title").id
    assert len({document.id, make_document("b.md", "Text.").id, make_document("a.md", "Text!").id}) == 3


@pytest.mark.parametrize(
    ("path", "text", "title"),
    [
        ("x/stem.md", "No heading here.\n", "stem"),
        ("stem.md", "Text\n\n## Later ##\n", "Later"),
        ("stem.md", "Underlined\n=====\n\nText.", "Underlined"),
        ("stem.md", "```\n# a comment\n```\n", "stem"),
        ("stem.md", "---\nkey: value\n---\n\n# Real\n", "Real"),
        ("stem.txt", "THE ICE HOUSE\nfor apprentices\n\nIt is cold.", "THE ICE HOUSE"),
        ("stem.txt", "It is cold there.\n\nVery cold.", "stem"),
    ],
)
def test_title_is_the_first_heading_or_the_stem(path, text, title):
    assert make_document(path, text).title == title


def test_other_files_are_listed_and_logged_hidden_ones_are_not(tmp_path, caplog):
    (tmp_path / "a.md").write_text("Text.")
    (tmp_path / "table.csv").write_text("1,2")
    (tmp_path / ".hidden.md").write_text("Text.")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "b.md").write_text("Text.")
    listing = list_folder(tmp_path)
    assert [path.name for path in listing.documents] == ["a.md"]
    assert [path.name for path in listing.skipped] == ["table.csv"]
    with caplog.at_level(logging.WARNING):
        read_documents(tmp_path)
    assert "1 files" in caplog.text and "table.csv" in caplog.text


def test_links_are_followed_once(tmp_path):
    inside = tmp_path / "corpus" / "inside"
    inside.mkdir(parents=True)
    (inside / "a.md").write_text("Text.")
    (inside / "up").symlink_to(tmp_path / "corpus")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.md").write_text("More.")
    (outside / "back").symlink_to(inside)
    (tmp_path / "corpus" / "linked").symlink_to(outside)
    (tmp_path / "corpus" / "nothing.md").symlink_to(tmp_path / "missing")
    listing = list_folder(tmp_path / "corpus")
    assert sorted(path.name for path in listing.documents) == ["a.md", "b.md"]
    assert len(listing.skipped) == 3  # two links to folders seen before, one to nothing


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \r\n\t\n", "is empty"),
        (b"caf\xe9", r"bad\.md is not UTF-8 text \(byte 0xe9 at offset 3\)"),
        (b"GIF89a\0\0", r"bad\.md is a binary file or UTF-16 \(NUL byte at offset 6\)"),
    ],
)
def test_bad_files_are_refused_by_name_in_one_line(tmp_path, content, message):
    (tmp_path / "bad.md").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_documents(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_must_be_there_and_hold_documents(tmp_path):
    with pytest.raises(ValueError, match=r"no folder of documents at .*missing"):
        read_documents(tmp_path / "missing")
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(ValueError, match=r"no documents in .* \(1 other files\): put \.md or \.txt files there"):
        read_documents(tmp_path)


def test_a_file_name_that_is_no_text_is_refused(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.md")).write_text("Text.")
    with pytest.raises(ValueError, match="is not UTF-8: rename the file"):
        read_documents(tmp_path)
