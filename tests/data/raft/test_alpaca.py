import json

import pytest

from data.raft.alpaca import read_records, to_records
from data.raft.dataset_folder import write_dataset
from data.raft.examples import build_examples
from data.raft.settings import RaftSettings
from testing.raft_corpus import make_corpus
from testing.small_tokenizers import smollm2


@pytest.fixture(scope="module")
def written():
    def write(folder, settings):
        corpus = make_corpus(documents=3)
        built = build_examples(corpus.questions, corpus.chunks, corpus.vectors, settings, smollm2())
        records = to_records(built.examples, corpus.chunks)
        folder.mkdir()
        write_dataset(folder, records, settings, built.counts)
        return built.examples, records

    return write


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path, written):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        written(tmp_path / name, RaftSettings(seed=seed))
    one, two, other = (files_of(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert set(one) == set(other) and {"dataset.jsonl", "README.md", "datasets/state.json"} < set(one)
    assert one["dataset.jsonl"] != other["dataset.jsonl"]
    assert one["datasets/state.json"] != other["datasets/state.json"]


def test_records_can_be_loaded_in_every_way(tmp_path, written):
    from datasets import load_dataset, load_from_disk

    folder = tmp_path / "data"
    examples, records = written(folder, RaftSettings())
    assert read_records(folder) == records
    cache = str(tmp_path / "cache")
    loaded = [
        load_dataset("json", data_files=str(folder / "dataset.jsonl"), split="train", cache_dir=cache),
        load_dataset(str(folder), split="train", cache_dir=cache),  # by the card
        load_from_disk(folder / "datasets"),
    ]
    for dataset in loaded:
        assert dataset["id"] == [example.id for example in examples]
        assert dataset["output"] == [example.output for example in examples]
        assert dataset["context_ids"] == [list(example.context_ids) for example in examples]
        assert dataset["oracle_shown"] == [example.oracle_shown for example in examples]


def test_a_record_holds_the_task_and_where_it_comes_from(tmp_path, written):
    folder = tmp_path / "data"
    examples, _ = written(folder, RaftSettings())
    lines = (folder / "dataset.jsonl").read_text(encoding="utf-8").splitlines()
    for line, example in zip(lines, examples, strict=True):
        record = json.loads(line)
        assert record["input"].endswith(f"Question: {example.question}") and record["output"] == example.output
        assert record["question_id"] == example.question_id and record["group_id"] == example.group_id
    assert len({json.loads(line)["instruction"] for line in lines}) == 1


def test_the_card_tells_counts_and_settings(tmp_path, written):
    written(tmp_path / "data", RaftSettings(oracle_fraction=0.75))
    card = (tmp_path / "data" / "README.md").read_text(encoding="utf-8")
    assert "| examples | 24 |" in card and "| `oracle_fraction` | `0.75` |" in card and "load_dataset" in card


def test_a_broken_line_is_named(tmp_path, written):
    written(tmp_path / "data", RaftSettings())
    path = tmp_path / "data" / "dataset.jsonl"
    path.write_text(path.read_text().replace('"id"', '"idd"', 1))
    with pytest.raises(ValueError, match=r"dataset.jsonl line 1 is not a AlpacaRecord"):
        read_records(tmp_path / "data")


def test_a_plain_record_has_the_question_and_its_answer_alone(tmp_path, written):
    """Also where RAFT learns to abstain; what was mixed in stays."""
    from dataclasses import replace

    from data.raft.alpaca import GENERAL, plain_record

    _, records = written(tmp_path / "data", RaftSettings(oracle_fraction=0.5))
    questions = {question.id: question for question in make_corpus(documents=3).questions}
    for record in records:
        plain, question = plain_record(record, questions), questions[record.question_id]
        assert plain.prompt.input == f"Question: {question.question}" and plain.output == question.answer
        assert (plain.id, plain.context_ids) == (record.id, ())
    general = replace(records[0], source=GENERAL, question_id="")
    assert plain_record(general, questions) == general
