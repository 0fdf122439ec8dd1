"""From documents alone to a RAFT dataset: the questions are written by a teacher."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data.files.jsonl import read_jsonl
from data.prompting.prompts import ABSTENTION, fold_space
from data.questions.questions import Question
from flows.cli.main import app
from flows.settings.config import RunConfig, load_config
from tasks.records.runs import read_latest
from testing.jobs_here import run_jobs_here
from testing.small_runs import SMALL, as_options, run_here, small_sources
from testing.teacher_server import serve


@pytest.mark.slow
def test_a_teacher_of_each_kind_to_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = small_sources(tmp_path, 3) | {"questions": str(tmp_path / "there_is_no_such_file.jsonl")}

    def config(*sets: str) -> RunConfig:
        return load_config(None, sources, (*SMALL, *sets))

    with serve() as server:
        sets = ("teacher.kind=endpoint", f"teacher.base_url={server.base_url}", "teacher.model=m")
        store = run_here(config(*sets, "teacher.kinds.unanswerable=4"), "dataset")
    artifacts, _ = read_latest(store.work_dir)
    questions = [
        question
        for part in ("train", "eval")
        for question in read_jsonl(store.path(artifacts["questions"]) / f"{part}.jsonl", Question)
    ]
    assert len(questions) > 0.9 * artifacts["raw_questions"].count("questions") > 30
    assert any(len(question.oracle_ids) == 2 for question in questions), "none that compares two chunks"
    unanswerable = [question for question in questions if question.answer == ABSTENTION]
    assert len(unanswerable) > 5
    assert all(not question.quotes and len(question.oracle_ids) == 1 for question in unanswerable)
    assert all(question.quotes for question in questions if question not in unanswerable)

    records = [
        json.loads(line) for line in (store.path(artifacts["dataset"]) / "dataset.jsonl").read_text().splitlines()
    ]
    for record in records:
        abstains = record["output"].endswith(ABSTENTION)
        quotes = record["output"].count("##begin_quote##")
        assert (quotes == 0) == abstains
        for part in record["output"].split("##begin_quote##")[1:]:
            assert fold_space(part.split("##end_quote##")[0]) in fold_space(record["input"])

    # A local teacher: this one is random, and its answers are of no use.
    run_jobs_here(monkeypatch)
    with pytest.raises(ValueError, match="the teacher wrote no usable question"):
        run_here(config("teacher.kind=local", "teacher.max_tokens=4", "teacher.max_questions=3"), "dataset")
    # No teacher: the file of questions is read.
    with pytest.raises(ValueError, match="there_is_no_such_file"):
        run_here(config("teacher.kind=given"), "dataset")


def test_a_dry_run_asks_nothing(tmp_path: Path) -> None:
    sources = small_sources(tmp_path)
    del sources["questions"]
    for kind in ("endpoint", "local"):
        sets = [f"teacher.kind={kind}", "teacher.base_url=http://127.0.0.1:1/v1", "teacher.model=embedded", *SMALL]
        result = CliRunner().invoke(app, ["build-dataset", "--dry-run", *as_options(sources, sets, "build-dataset")])
        assert result.exit_code == 0, result.output
        assert ("ask-teacher" if kind == "endpoint" else "teacher-prompts") in result.output
        assert "write-questions" in result.output
