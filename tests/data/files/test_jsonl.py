"""JSON lines of dataclasses: the same bytes, the same objects."""

import pytest

from data.documents.chunks import Chunk
from data.files.jsonl import read_jsonl, write_jsonl
from data.questions.questions import Question

CHUNK = Chunk("d-0-9", "d", "a.md", 0, 9, ("Über", "b"), "Line one\nline\u2028two \U0001f600 \x85")


def test_round_trip_is_exact(tmp_path):
    path = tmp_path / "chunks.jsonl"
    write_jsonl(path, [CHUNK, CHUNK])
    assert read_jsonl(path, Chunk) == [CHUNK, CHUNK]
    assert path.read_bytes().count(b"\n") == 2 and "Über" in path.read_text(encoding="utf-8")
    first = path.read_bytes()
    write_jsonl(path, read_jsonl(path, Chunk))
    assert path.read_bytes() == first


def test_nothing_is_an_empty_file(tmp_path):
    write_jsonl(tmp_path / "none.jsonl", [])
    assert (tmp_path / "none.jsonl").read_bytes() == b"" and read_jsonl(tmp_path / "none.jsonl", Chunk) == []


@pytest.mark.parametrize("line", [b"{", b"[1]", b'{"id": "x"}', b"", b"\xff"])
def test_a_broken_line_is_named(tmp_path, line):
    path = tmp_path / "broken.jsonl"
    write_jsonl(path, [CHUNK])
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(ValueError, match=r"broken\.jsonl line 2 is not a Chunk"):
        read_jsonl(path, Chunk)


def test_another_kind_of_file_is_refused(tmp_path):
    write_jsonl(tmp_path / "chunks.jsonl", [CHUNK])
    with pytest.raises(ValueError, match="line 1 is not a Question"):
        read_jsonl(tmp_path / "chunks.jsonl", Question)
    with pytest.raises(ValueError, match=r"missing\.jsonl cannot be read"):
        read_jsonl(tmp_path / "missing.jsonl", Question)
