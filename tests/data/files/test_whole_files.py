"""Files written by rename: complete or absent, and no temporary file is left."""

import os

import pytest

from data.files.whole_files import write_whole


@pytest.mark.parametrize("durable", [False, True])
def test_text_and_bytes_replace_what_was_there(tmp_path, durable):
    path = tmp_path / "new" / "folder" / "file"
    for content, expected in (("Über\n", "Über\n".encode()), (b"\xff", b"\xff")):
        write_whole(path, content, durable=durable)
        assert path.read_bytes() == expected and list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new", durable=True)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
