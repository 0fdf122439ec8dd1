"""What a person did wrong is one line that says what to do, and exit code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.cli import main as cli
from testing.command_line import JORA, ROOT, jora
from testing.small_runs import copy_samples
from testing.small_tokenizers import llama2_of_samples
from testing.tiny_models import hf_folder


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Three sample documents; the questions about them lie beside the folder."""
    return copy_samples(tmp_path, 3)[0]


def break_nothing(folder: Path) -> None:
    pass


def empty_document(folder: Path) -> None:
    (folder / "empty.md").write_text(" \n")


def binary_document(folder: Path) -> None:
    (folder / "picture.txt").write_bytes(b"\x89PNG\0\0")


def no_documents(folder: Path) -> None:
    for path in folder.iterdir():
        path.rename(path.with_suffix(".zip"))


def no_such_documents(folder: Path) -> None:
    for path in folder.iterdir():
        path.rename(path.with_stem(f"new-{path.stem}"))


def broken_settings(folder: Path) -> None:
    (folder.parent / "raft.yaml").write_text("corpus: [a, b\n")
    (folder.parent / "typed.yaml").write_text("training:\n  epochs: many\n")
    (folder.parent / "model.gguf").write_bytes(b"no model")


def long_base(folder: Path, vocab_size: int = 3000) -> Path:
    """A tiny base model beside the corpus, with positions enough for the default settings."""
    base = hf_folder(
        folder.parent / "base",
        vocab_size=vocab_size,
        max_position_embeddings=8192,
    )
    llama2_of_samples()._tokenizer.save_pretrained(base)
    return base


def broken_template(folder: Path) -> None:
    (long_base(folder) / "chat_template.jinja").write_text("{{ raise_exception('no system') }}")


def newer_tokenizer(folder: Path) -> None:
    path = long_base(folder) / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pre_tokenizer": {"type": "NewFangled"}}))


def text_as_end(folder: Path) -> None:
    (long_base(folder) / "generation_config.json").write_text('{"eos_token_id": "2"}')


def small_embedding(folder: Path) -> None:
    long_base(folder, 2000)


def one_document(folder: Path) -> None:
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()


def broken_line(folder: Path) -> None:
    (folder.parent / "questions.jsonl").write_text('{"question": "a", "answer": "b"}\n{"question": \n')


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (break_nothing, ["--corpus", "nowhere"], "no documents at nowhere: give a folder, a file"),
        (empty_document, ["--strict"], "1 files or parts cannot be read: empty.md (empty"),
        (binary_document, ["--strict"], "picture.txt (binary file (NUL byte at offset 4)"),
        (binary_document, ["--set", "documents.strict=true"], "or unset documents.strict to skip them"),
        (broken_line, ["--strict"], "questions.jsonl line 2"),
        (broken_line, ["--set", "questions.strict=true"], "questions.jsonl line 2"),
        (one_document, [], "1 document has questions: give at least 2, one to train on and one to evaluate on"),
        (break_nothing, ["--questions", "nowhere.jsonl"], "nowhere.jsonl"),
        (break_nothing, ["--base-model", "no/such-model"], "no/such-model"),
        (break_nothing, ["--set", "lora.target_modules=query"], "query match no layer"),
        (break_nothing, ["--set", "mesh.tp=2"], "mesh tp=2 does not divide the model's attention heads (9); allowed"),
        (break_nothing, ["--set", "raft.max_tokens=200"], "context over the budget"),
        (
            break_nothing,
            ["--set", "raft.mix_fraction=0.2"],
            "raft: mix_file and mix_fraction go together: give mix_file",
        ),
        (break_nothing, ["--set", "raft.hardness=[9, 2]"], "raft: hardness=[9, 2] must be a first and a last rank"),
        (break_nothing, ["--set", "raft.guard_reranker=./nowhere"], "no folder ./nowhere: name a cross-encoder's"),
        (
            break_nothing,
            ["--set", "raft.mix_fraction=0.2", "--set", "raft.mix_file=nowhere.json"],
            "nowhere.json cannot be read",
        ),
        (break_nothing, ["--set", "training.row_length=1024", "--set", "raft.max_tokens=1500"], "training.row_length"),
        (break_nothing, ["--set", "evaluation.top_k=99"], "8192 positions"),
        (break_nothing, ["--set", "training.patience=2"], "needs validation examples; set split.validation_fraction"),
        (break_nothing, ["--set", "trainin.epochs=2"], "the nearest is training"),
        (break_nothing, ["--set", "training.epochs"], "write it as group.key=value"),
        (break_nothing, ["--set", "training.learning_rate=.inf"], "training.learning_rate: give a finite number"),
        (break_nothing, ["--set", "lora.alpha=inf"], "lora.alpha: give a finite number"),
        (break_nothing, ["--set", "generation.top_k=3"], "top_k and top_p have no effect at temperature 0"),
        (break_nothing, ["--set", "mesh.data=2"], "rows_per_microbatch=1 is no multiple of data x fsdp = 2; set it to"),
        (break_nothing, ["--corpus", ""], "corpus: String should have at least 1 character"),
        (break_nothing, ["--work-dir", ""], "work_dir: String should have at least 1 character"),
        (break_nothing, ["--questions", ROOT], "Supported: .jsonl (JSON lines), .json"),
        (break_nothing, ["--base-model", "./nowhere"], "unknown base model './nowhere'; allowed are"),
        (break_nothing, ["--config", "nowhere.yaml"], "no settings file nowhere.yaml; give a YAML file to --config"),
        (break_nothing, ["--config", ROOT], "cannot be read (Is a directory); give a YAML file to --config"),
        (broken_settings, ["--config", "{folder}/raft.yaml"], "raft.yaml is not valid YAML"),
        (broken_settings, ["--config", "{folder}/typed.yaml"], "training.epochs: Input should be a valid integer"),
        # The person's file is named, not our link to it.
        (broken_settings, ["--base-model", "{folder}/model.gguf"], "error: {folder}/model.gguf cannot be read as GGUF"),
        (broken_template, ["--base-model", "{folder}/base"], "{folder}/base/chat_template.jinja: the chat template of"),
        (broken_template, ["--base-model", "{folder}/base"], "it raises TemplateError: no system; mend it, or use"),
        (
            newer_tokenizer,
            ["--base-model", "{folder}/base"],
            "{folder}/base/tokenizer.json has a part that the installed",
        ),
        (text_as_end, ["--base-model", "{folder}/base"], "generation_config.json: eos_token_id is '2', and must be an"),
        (small_embedding, ["--base-model", "{folder}/base"], "does not fit the model: a text may become token 2999"),
        (
            break_nothing,
            ["--set", "raft.prompt_date=26.7.2024"],
            "raft.prompt_date: give a date as YYYY-MM-DD, such as",
        ),
        (no_documents, [], "(3 files of unsupported types): add Markdown, text, HTML, PDF"),
        (no_such_documents, [], "names a document of the corpus: the first names 'accident-and-near-miss"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_bad_input(monkeypatch, capsys, tmp_path, corpus, smollm2, spoil, arguments, message, dry):
    spoil(corpus)
    arguments = [str(argument).format(folder=tmp_path) for argument in arguments]
    given = ["--corpus", corpus, "--questions", tmp_path / "questions.jsonl", "--base-model", smollm2]
    given += ["--work-dir", tmp_path / "work"]
    code, line = jora(monkeypatch, capsys, "run", *given, *arguments, *(["--dry-run"] if dry else []))
    assert code == 2
    assert message.format(folder=tmp_path) in line


@pytest.mark.parametrize(
    ("command", "item", "users"),
    [
        ("build-dataset", "training.epochs=7", "run, train, evaluate, export, sweep, plan"),
        ("build-dataset", "when_busy=cancel", "run, train, evaluate, export, sweep"),
        ("train", "evaluation.top_k=3", "run, evaluate, export, sweep"),
        ("evaluate", "promotion.rule=always", "run, export"),
        ("sweep rank", "export.gguf = f16", "run, export"),
        ("plan llama-2-7b", "raft.max_tokens=900", "run, build-dataset, train, evaluate, export, sweep"),
    ],
)
def test_a_setting_that_the_command_does_not_use(monkeypatch, capsys, tmp_path, command, item, users):
    """By hand it is a mistake; in a file, which serves several commands, it is not."""
    given = [] if command.startswith("plan") else ["--work-dir", tmp_path / "work"]
    code, line = jora(monkeypatch, capsys, *command.split(), *given, "--set", item)
    name, group = command.split()[0], item.split("=")[0].split(".")[0]
    assert code == 2 and line.startswith(f"error: --set {item}: jora {name} does not use {group}, so that it would")
    assert line.endswith(", ".join(f"jora {user}" for user in users.split(", "))) and not (tmp_path / "work").exists()


def test_an_unknown_setting_is_told_first(monkeypatch, capsys):
    code, line = jora(monkeypatch, capsys, "build-dataset", "--set", "training.epoch=7")
    assert code == 2 and "unknown setting training.epoch; the nearest is training.epochs" in line


def test_profile_of_a_command_that_does_not_train(monkeypatch, capsys, tmp_path):
    code, line = jora(monkeypatch, capsys, "build-dataset", "--profile", "--work-dir", tmp_path)
    assert code == 2
    assert line == "error: --profile traces training, and this command has none; give it to: jora train"


def test_work_directory_that_cannot_be_written(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    code, line = jora(monkeypatch, capsys, "run", "--work-dir", tmp_path / "file" / "work")
    assert code == 2
    assert "choose another with --work-dir" in line


@pytest.mark.parametrize("dry", [True, False])
def test_read_only_work_directory(tmp_path, dry):
    """A folder without the right to write; root would write all the same, so it starts without that capability."""
    folder = tmp_path / "work"
    folder.mkdir(mode=0o555)
    bounded = ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"] if os.geteuid() == 0 else []
    command = [*bounded, *JORA, "run", "--work-dir", str(folder), *(["--dry-run"] if dry else [])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == f"error: cannot write to {folder}: Permission denied; choose another with --work-dir\n"
    assert done.stdout == ""


@pytest.mark.slow
def test_a_temporary_server_that_does_not_start_in_time_is_one_line(tmp_path, corpus):
    """Prefect's limit is 20 s wherever no pyproject.toml says more; here it is none at all."""
    command = [*JORA, "build-dataset", "--corpus", corpus, "--questions", corpus.parent / "questions.jsonl"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "0"}
    environment.pop("PREFECT_API_URL", None)
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "error: Prefect's temporary server did not start within 0 s: run the command again" in done.stderr


@pytest.mark.slow
def test_prefect_server_that_is_not_there(tmp_path):
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    command = [*JORA, "build-dataset", "--work-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no Prefect server answers at http://127.0.0.1:9/api; start it with")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["run", "--frob"], "No such option: --frob"),
        (["run", "--set"], "Option '--set' requires an argument"),
        (["run", "documents"], "unexpected extra argument(s) (documents)"),
        (["sweep"], "Missing argument"),
        ([], "Usage: jora"),
    ],
)
def test_usage_errors(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["jora", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert message in " ".join((shown.out + shown.err).replace("│", " ").split())


@pytest.mark.parametrize("arguments", [["--debug", "runs"], ["runs", "--debug"]])
def test_debug_adds_the_traceback(monkeypatch, capsys, tmp_path, arguments):
    monkeypatch.setattr(sys, "argv", ["jora", *arguments, "--work-dir", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    *traceback, last = capsys.readouterr().err.splitlines()
    assert traceback[0] == "Traceback (most recent call last):"
    assert last.startswith(f"error: no run in {tmp_path}; start one with")


@pytest.mark.parametrize("fault", ["ValueError('shapes do not match')", "KeyError('loss')", "OSError('pipe')"])
def test_a_fault_of_the_code_keeps_its_traceback(tmp_path, fault):
    """Even a ValueError: libraries raise it for what no person gave."""
    code = f"""
import sys
from flows.cli import history, main
def show_runs(work_dir, last): raise {fault}
history.show_runs = show_runs
sys.argv = ["jora", "runs"]
main.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.splitlines()[-1].startswith(fault.partition("(")[0])
    assert "error: " not in done.stderr.splitlines()


def test_an_interrupt_says_how_to_continue(monkeypatch, capsys):
    def interrupted(work_dir: str, last: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.cli.history.show_runs", interrupted)
    monkeypatch.setattr(sys, "argv", ["jora", "runs"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\nstopped; the same command continues from the last checkpoint\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ask", "Who?"], "run.json is damaged (JSONDecodeError); run the flow again"),
        (["serve"], "run.json is damaged (JSONDecodeError); run the flow again"),
        (["serve", "--host", "0.0.0.0"], "JORA_API_KEY"),
        (["serve", "--port", "70000"], "--port: Input should be less than or equal to 65535 (given: 70000)"),
        (["serve", "--max-tokens", "0"], "--max-tokens: Input should be greater than or equal to 1 (given: 0)"),
        (["inspect"], "run.json is damaged (JSONDecodeError); run the flow again"),
        (["export", "--to", "{work}/new"], "run.json is damaged (JSONDecodeError); run the flow again"),
        (["export", "--to", "{work}/new", "--dtype", "f64"], "export.dtype: Input should be"),
        (["export", "--to", "{work}/new", "--dry-run"], "--to exports an existing model"),
        (["export", "--model", "champion"], "say where to export it: --to DIR"),
        (["models"], "model.json is damaged"),
        (["models", "compare", "abc"], "model.json is damaged"),
        (["models", "promote", "abc"], "model.json is damaged"),
        (["models", "rollback"], "no previous champion"),
        (["runs"], "no run in"),
        (["show", "abc"], "no run in"),
        (["report"], "no run in"),
        (["pin"], "no run in"),
        (["gc", "--work-dir", "{work}/latest"], "is no work directory"),
    ],
)
def test_what_is_damaged_or_missing_in_a_work_directory(monkeypatch, capsys, tmp_path, arguments, message):
    for name in ("latest/run.json", "models/abc/model.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("{")
    arguments = [argument.format(work=tmp_path) for argument in arguments]
    given = [] if "--work-dir" in arguments else ["--work-dir", tmp_path]
    code, line = jora(monkeypatch, capsys, *arguments, *given)
    assert code == 2
    assert message in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rank", "--values", "a,b"], "--values 'a,b': for rank write whole numbers"),
        (["rank", "--values", "4,4"], "give it once"),
        (["rank", "--set", "lora.rank=3"], "use --values"),
        (["rank", "--plot", "/nowhere/x.png"], "--plot /nowhere/x.png: give a file that ends in .png"),
        (["everything"], "a sweep over 'everything' is not known; allowed are rank"),
    ],
)
def test_bad_sweeps(monkeypatch, capsys, arguments, message):
    code, line = jora(monkeypatch, capsys, "sweep", *arguments)
    assert code == 2
    assert message in line


def test_help_imports_nothing_heavy():
    heavy = ("jax", "torch", "prefect", "pydantic", "numpy")
    code = f"import sys, flows.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
    shown = subprocess.run([sys.executable, "-m", "flows.cli.main", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert shown.returncode == 0
    for command in (
        "run",
        "build-dataset",
        "train",
        "evaluate",
        "export",
        "ask",
        "inspect",
        "sweep",
        "plan",
        "--debug",
    ):
        assert command in shown.stdout
