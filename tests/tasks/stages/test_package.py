"""From documents to the packaged dataset: what is written, what can be read, and what a rebuild tells."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from data.files.jsonl import read_jsonl
from data.prompting.prompts import fold_space, parse_output
from data.raft.alpaca import AlpacaRecord
from flows.cli import main as cli
from flows.settings.config import RunConfig, load_config
from tasks.records.runs import read_latest
from tasks.stages.diff import compare, last_dataset
from tasks.stages.loading import open_chunks, open_questions
from tasks.stages.package import package_dataset, read_leaks
from tasks.stages.sources import snapshot_documents
from tasks.store.store import Store
from testing.command_line import jora
from testing.small_runs import SMALL, run_here, small_sources

SETS = (*SMALL, "split.validation_fraction=0.3", "raft.mix_fraction=0.1")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> RunConfig:
    folder = tmp_path_factory.mktemp("package")
    general = [{"instruction": f"Say {n}.", "input": "", "output": f"{n}."} for n in range(40)]
    (folder / "general.json").write_text(json.dumps(general))
    return load_config(None, small_sources(folder, 4), (*SETS, f"raft.mix_file={folder / 'general.json'}"))


@pytest.fixture(scope="module")
def store(config) -> Store:
    return run_here(config, "dataset")


@pytest.fixture(scope="module")
def package(store) -> Path:
    return store.work_dir / "latest" / "package"


def records_of(package: Path) -> dict[str, list[AlpacaRecord]]:
    return {
        name: read_jsonl(package / "data" / f"{name}.jsonl", AlpacaRecord) for name in ("train", "validation", "test")
    }


def test_splits_can_be_loaded_in_every_way(package, tmp_path):
    from datasets import load_dataset, load_from_disk

    records = records_of(package)
    by_card = load_dataset(str(package), cache_dir=str(tmp_path))
    by_folder = load_from_disk(package / "datasets")
    for loaded in (by_card, by_folder):
        assert {name: split["id"] for name, split in loaded.items()} == {
            name: [record.id for record in part] for name, part in records.items()
        }
        assert loaded["train"]["context_ids"] == [list(record.context_ids) for record in records["train"]]


def test_the_test_split_asks_the_evaluation_questions_over_their_oracles(store, package):
    artifacts, _ = read_latest(store.work_dir)
    questions = open_questions(store, artifacts["questions"], "eval")
    test = records_of(package)["test"]
    assert {record.question_id for record in test} == {question.id for question in questions}
    assert all(record.oracle_shown and record.source == "documents" for record in test)


def test_every_quote_stands_in_its_context(store, package):
    artifacts, _ = read_latest(store.work_dir)
    texts = {chunk.id: fold_space(chunk.text) for chunk in open_chunks(store, artifacts["chunks"])}
    quotes = 0
    for record in (record for part in records_of(package).values() for record in part):
        for quote in parse_output(record.output).quotes:
            quotes += 1
            assert any(fold_space(quote) in texts[id] for id in record.context_ids)
    assert quotes > 50


def test_nothing_leaks_and_general_records_stay_in_training(store, package):
    artifacts, _ = read_latest(store.work_dir)
    leaks = read_leaks(store, artifacts["dataset"])
    assert [part["part"] for part in leaks] == ["training", "validation"]
    assert all(part["leaks"] == [] and part["compared"]["held-out questions"] > 0 for part in leaks)
    records = records_of(package)
    general = [record for record in records["train"] if record.source == "general"]
    assert len(general) == round(0.1 * len(records["train"])) > 0
    assert not any(record.source == "general" for name in ("validation", "test") for record in records[name])


def test_every_export_has_every_split(package):
    records = records_of(package)
    folders = sorted(path.name for path in (package / "exports").iterdir())
    assert folders == ["gorilla-chat", "gorilla-completion", "gorilla-eval", "gorilla-hf", "messages", "sharegpt"]
    for folder in folders:
        for name, part in records.items():
            lines = (package / "exports" / folder / f"{name}.jsonl").read_text().splitlines()
            with_documents = sum(record.source == "documents" for record in part)
            assert len(lines) == (with_documents if folder in ("gorilla-hf", "gorilla-eval") else len(part))


def test_card_and_report(package):
    card = (package / "README.md").read_text()
    assert "path: data/test.parquet" in card and "size_categories:\n- n<1K" in card and ": 0. `report.html`" in card
    page = (package / "report.html").read_text()
    assert page.count("No leak") == 2 and page.count("<details") >= 10 and "<mark>" in page
    assert "train: examples built" in page
    counts = dict(read_latest(package.parents[1])[0]["documents"].counts)
    kept, left_out = counts["characters_kept"], counts["characters_left_out"]
    assert f"| characters kept | {kept:,} |\n| characters left out | {left_out:,} |" in card and "### documents" in card
    assert f"<b>{kept:,}</b><span>characters kept</span>" in page


def test_filters_and_the_retrievers_table_are_shown(store, config, package):
    page = (package / "report.html").read_text()
    for told in ("grounding", "split", "recall@5", "embeddings"):
        assert f">{told}</td>" in page or f">{told}</th>" in page
    artifacts, _ = read_latest(store.work_dir)
    names = ("documents", "questions", "chunks", "index", "embedder", "base", "dataset", "retrieval")
    again = package_dataset.fn(store, *(artifacts[name] for name in names), config.raft)
    assert again.digest == artifacts["package"].digest, "same inputs, same bytes"


def inspect(monkeypatch, capsys, store, *arguments) -> str:
    monkeypatch.setattr(sys, "argv", ["jora", "inspect", "--work-dir", str(store.work_dir), *arguments])
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    return capsys.readouterr().out


def test_inspect_shows_what_is_learnt(monkeypatch, capsys, store, package):
    records = records_of(package)
    printed = inspect(monkeypatch, capsys, store, "--n", "2")
    assert f"2 of {len(records['train'])} examples of train" in printed and printed.count("tokens are trained on") == 2
    record = next(record for record in records["train"] if record.oracle_shown)
    printed = inspect(monkeypatch, capsys, store, "--id", record.id)
    assert printed.count("ORACLE") == 1 and "oracle shown" in printed and record.question_id in printed
    by_token = inspect(monkeypatch, capsys, store, "--id", record.id, "--tokens")
    assert "</s>|" in by_token and "<s>|" in by_token
    test = inspect(monkeypatch, capsys, store, "--split", "test", "--n", "1")
    assert "expected output; not trained on" in test and "ORACLE" in test
    assert "examples of validation" in inspect(monkeypatch, capsys, store, "--split", "validation")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "dev"], "has no split 'dev': it has train, validation, test"),
        (["--id", "nothing"], "no example 'nothing' in train: give an id or a question's id, such as"),
    ],
)
def test_inspect_of_what_is_not_there(monkeypatch, capsys, store, arguments, message):
    code, line = jora(monkeypatch, capsys, "inspect", "--work-dir", store.work_dir, *arguments)
    assert code == 2 and message in line


def test_a_rebuild_tells_what_changed(store, config, tmp_path):
    before, _ = read_latest(store.work_dir)
    assert last_dataset(store, before) is None, "nothing changed"
    documents = tmp_path / "documents"
    shutil.copytree(config.corpus, documents)
    first = sorted(documents.iterdir())[0]
    first.write_text(first.read_text() + "\n\nA word more.\n")
    (documents / "new.md").write_text("# New\n\nNobody asks about this.\n")
    made = before | {"documents": snapshot_documents.fn(store, str(documents), config.documents)}
    last = last_dataset(store, made)
    assert last == (before["documents"], before["dataset"])
    diff = compare.fn(store, *last, made["documents"], made["dataset"])
    told = json.loads((store.path(diff) / "diff.json").read_text())
    assert told["documents_added"] == ["new.md"] and told["documents_changed"] == [first.name]
    line = (store.path(diff) / "diff.txt").read_text()
    assert re.match(r"documents: 1 added, 1 changed, 0 removed, 3 as before; examples: 0 new, 0 gone, ", line)
