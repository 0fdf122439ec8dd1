"""What a person did wrong is one line that says what to do, and exit code 2."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows import cli

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data" / "samples"


@pytest.fixture
def corpus(tmp_path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for path in sorted((SAMPLES / "documents").iterdir())[:3]:
        shutil.copy(path, folder)
    return folder


def jora(monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    """Exit code and the last line on stderr."""
    monkeypatch.setattr(sys, "argv", ["jora", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    lines = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) <= 1
    return int(ended.value.code or 0), errors[0] if errors else ""


def break_nothing(folder: Path) -> None:
    pass


def empty_document(folder: Path) -> None:
    (folder / "empty.md").write_text(" \n")


def binary_document(folder: Path) -> None:
    (folder / "picture.txt").write_bytes(b"\x89PNG\0\0")


def latin_document(folder: Path) -> None:
    (folder / "old.txt").write_bytes("caf\u00e9".encode("latin-1"))


def broken_line(folder: Path) -> None:
    (folder.parent / "questions.jsonl").write_text('{"question": "a", "answer": "b"}\n{"question": \n')


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (break_nothing, ["--corpus", "nowhere"], "no folder of documents at nowhere"),
        (empty_document, [], "empty.md is empty"),
        (binary_document, [], "picture.txt is a binary file"),
        (latin_document, [], "old.txt is not UTF-8 text (byte 0xe9 at offset 3)"),
        (broken_line, [], "questions.jsonl line 2"),
        (break_nothing, ["--questions", "nowhere.jsonl"], "nowhere.jsonl"),
        (break_nothing, ["--base-model", "no/such-model"], "no/such-model"),
        (break_nothing, ["--set", "lora.target_modules=query"], "query match no layer"),
        (break_nothing, ["--set", "mesh.tp=2"], "mesh tp=2 does not divide the model's attention heads (9); allowed"),
        (break_nothing, ["--set", "raft.max_tokens=200"], "context over the budget"),
        (break_nothing, ["--set", "training.row_length=1024", "--set", "raft.max_tokens=1500"], "training.row_length"),
        (break_nothing, ["--set", "evaluation.top_k=99"], "8192 positions"),
        (break_nothing, ["--set", "training.patience=2"], "needs validation examples; set split.validation_fraction"),
        (break_nothing, ["--set", "trainin.epochs=2"], "the nearest is training"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_bad_input(monkeypatch, capsys, tmp_path, corpus, spoil, arguments, message, dry):
    shutil.copy(SAMPLES / "questions.jsonl", tmp_path / "questions.jsonl")
    spoil(corpus)
    given = ["--corpus", corpus, "--questions", tmp_path / "questions.jsonl", "--work-dir", tmp_path / "work"]
    code, line = jora(monkeypatch, capsys, "run", *given, *arguments, *(["--dry-run"] if dry else []))
    assert code == 2
    assert message in line


def test_work_directory_that_cannot_be_written(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, line = jora(monkeypatch, capsys, "run", "--work-dir", tmp_path / "file" / "work")
    assert code == 2
    assert "choose another with --work-dir" in line


def test_ask_before_any_run(monkeypatch, capsys, tmp_path):
    code, line = jora(monkeypatch, capsys, "ask", "Who?", "--work-dir", tmp_path)
    assert code == 2
    assert "no finished run" in line


def test_help_imports_nothing_heavy():
    code = "import sys, flows.cli; print([m for m in ('jax','torch','prefect','pydantic','numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
    shown = subprocess.run([sys.executable, "-m", "flows.cli", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert shown.returncode == 0
    for command in ("run", "build-dataset", "train", "evaluate", "export", "ask", "plan"):
        assert command in shown.stdout
