"""Files whose parsers never end, or die: each is given up by itself, and the others are read."""

import threading
import time
from pathlib import Path

import pytest

from data.documents.corpus import read_corpus
from data.documents.documents import DocumentSettings
from data.documents.readers.child import ReadingChild
from data.documents.readers.extracted import Extracted, Unreadable
from data.documents.readers.memory import ReadingMemory
from testing.hostile_files import laughing_pdf
from testing.small_files import pdf


def never() -> list[Extracted]:
    pytest.fail("read in this process")


def test_a_parser_that_never_ends_is_killed(tmp_path: Path) -> None:
    corpus, memory = tmp_path / "corpus", ReadingMemory(tmp_path / "readings", "code")
    corpus.mkdir()
    (corpus / "a.pdf").write_bytes(pdf([["The first."]]))
    (corpus / "b.pdf").write_bytes(laughing_pdf())
    (corpus / "c.pdf").write_bytes(pdf([["The last."]]))
    begun = time.monotonic()
    read = read_corpus(corpus, DocumentSettings(seconds_per_file=2), memory)
    assert 2 < time.monotonic() - begun < 30
    assert [(document.path, document.text) for document in read.documents] == [
        ("a.pdf", "The first."),
        ("c.pdf", "The last."),
    ]
    assert [item.path for item in read.unreadable] == ["b.pdf"]
    assert "not read within documents.seconds_per_file=2 s: raise it" in read.unreadable[0].reason
    # That it took too long is not remembered: with more time, or on another machine, it may be read.
    assert len(list((tmp_path / "readings").iterdir())) == 2
    (corpus / "b.pdf").write_bytes(laughing_pdf(2, pages=1))
    assert (
        read_corpus(corpus, DocumentSettings(strict=True), memory).documents[1].text == "Ha"
    )  # four times in one place
    with pytest.raises(ValueError, match=r"b.pdf .not read within"):
        (corpus / "b.pdf").write_bytes(laughing_pdf())
        read_corpus(corpus, DocumentSettings(seconds_per_file=0.5, strict=True), memory)


def test_a_parser_that_crashes_is_told(tmp_path: Path) -> None:
    with ReadingChild() as child:
        settings = DocumentSettings()
        assert child.read(".pdf", pdf([["Text."]]), settings, never) == [Extracted("Text.", pages=(0,))]
        process = child._process
        assert process is not None
        threading.Timer(0.5, process.kill).start()
        with pytest.raises(Unreadable, match=r"its parser crashed .SIGKILL."):
            child.read(".pdf", laughing_pdf(), settings, never)
        assert child.read(".pdf", pdf([["More."]]), settings, never) == [Extracted("More.", pages=(0,))]
        again = child._process
        assert again is not None and again.pid != process.pid
    assert again.poll() == 0


def test_what_has_no_parser_is_read_apart_only_where_it_is_large() -> None:
    with ReadingChild() as child:
        settings = DocumentSettings()
        assert child.read(".md", b"Text.", settings, lambda: [Extracted("here")]) == [Extracted("here")]
        assert child._process is None
        text = "Üben. " * 200_000
        assert child.read(".md", text.encode(), settings, never) == [Extracted(text)]
