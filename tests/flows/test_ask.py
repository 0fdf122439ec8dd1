"""`jora ask` on a finished run: an answer, and one clear line for whatever is not there or damaged."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import jora
from small_runs import SMALL, copy_samples, run_here, tiny_base

from data.chunks import Chunk
from data.prompts import Parsed
from flows.ask import _show
from flows.config import load_config


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a run that built a dataset."""
    folder = tmp_path_factory.mktemp("ask")
    documents, questions = copy_samples(folder, 2)
    names = {"corpus": documents, "questions": questions, "base_model": tiny_base(folder / "base")}
    options = {name: str(path) for name, path in {**names, "work_dir": folder / "work"}.items()}
    return run_here(load_config(None, options, SMALL), "dataset").work_dir


@pytest.fixture
def work(made: Path, tmp_path: Path) -> Path:
    """A copy of it elsewhere: a work directory may be moved."""
    shutil.copytree(made, tmp_path / "moved", symlinks=True)
    return tmp_path / "moved"


def test_base_answers_from_a_moved_work_directory(monkeypatch, capsys, work):
    code, line = jora(monkeypatch, capsys, "ask", "Who broke a collarbone?", "--work-dir", work, "--base")
    assert (code, line) == (0, "")


def test_no_adapter_yet(monkeypatch, capsys, work):
    code, line = jora(monkeypatch, capsys, "ask", "Who?", "--work-dir", work)
    assert code == 2
    assert f"trained no adapter; run: jora train --work-dir {work}" in line


def test_a_quote_is_shown_with_its_page(capsys):
    chunk = Chunk("c", "d", "handbook.pdf", 0, 20, ("The mill",), "It rests in March.", pages=(3, 4))
    _show(Parsed("in March", ("It rests in March.",), abstained=False), [chunk])
    assert "handbook.pdf, pages 3 to 4, The mill" in capsys.readouterr().out


@pytest.mark.parametrize("question", ["", "  \n"])
def test_empty_question(monkeypatch, capsys, work, question):
    code, line = jora(monkeypatch, capsys, "ask", question, "--work-dir", work)
    assert code == 2
    assert "the question is empty" in line


def test_corrupt_index(monkeypatch, capsys, work):
    (index,) = (work / "artifacts" / "index").glob("*/index.faiss")
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 1
    index.write_bytes(content)
    code, line = jora(monkeypatch, capsys, "ask", "Who?", "--work-dir", work, "--base")
    assert code == 2
    assert "index.faiss has other content than was written; run the flow again" in line


@pytest.mark.parametrize("content", [b"{", b"{}", b"[]", b"\x80", b'{"artifacts": {"base": 1}, "settings": {}}'])
def test_damaged_record_of_the_run(monkeypatch, capsys, work, content):
    (work / "latest" / "run.json").write_bytes(content)
    code, line = jora(monkeypatch, capsys, "ask", "Who?", "--work-dir", work, "--base")
    assert code == 2
    assert "run.json is damaged" in line


def test_settings_of_another_version(monkeypatch, capsys, work):
    record = json.loads((work / "latest" / "run.json").read_text())
    record["settings"]["evaluation"]["rungs"] = 7
    (work / "latest" / "run.json").write_text(json.dumps(record))
    code, line = jora(monkeypatch, capsys, "ask", "Who?", "--work-dir", work, "--base")
    assert code == 2
    assert "settings that are not known here (evaluation.rungs:" in line


@pytest.mark.parametrize("name", ["folder", "file", "nowhere"])
def test_no_run_there(monkeypatch, capsys, tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    code, line = jora(monkeypatch, capsys, "ask", "Who?", "--work-dir", tmp_path / name)
    assert code == 2
    assert "no finished run in" in line
    assert not list((tmp_path / "folder").iterdir()), "a question leaves nothing in somebody's folder"
