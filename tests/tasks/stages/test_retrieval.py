"""The measured recall of retrieval, and what a run does about a low one."""

import json
import logging
from pathlib import Path

import pytest

from flows.pipeline import stages
from flows.pipeline.stages import Pipeline
from flows.settings.config import RunConfig, load_config
from tasks.store.store import Store
from testing.api_cards import api_cards
from testing.small_runs import SMALL, tiny_base
from user_error import UserError


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, str]:
    """Cards that fit in a chunk each, and questions that do not say which card they are about."""
    folder = tmp_path_factory.mktemp("cards")
    texts, questions = api_cards(32, short=True)
    (folder / "docs").mkdir()
    for path, text in texts.items():
        (folder / "docs" / path).write_text(text)
    owned = [q for q in questions if q.question.startswith("Who owns")]
    lines = [{"question": "Who owns this endpoint?", "answer": q.answer, "document": q.path} for q in owned]
    (folder / "q.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {
        "corpus": str(folder / "docs"),
        "questions": str(folder / "q.jsonl"),
        "base_model": str(tiny_base(folder / "base")),
        "work_dir": str(folder / "work"),
    }


SETS = (*SMALL, "chunking.max_tokens=160")


def run(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Path]:
    """The stages that ran, in this process, and where the recall was measured."""
    ran: list[str] = []

    def execute(stage, store, *args):
        ran.append(stage.name)
        if stage.name == "build-dataset":
            raise InterruptedError("the dataset is not needed")
        return stage.fn(store, *args)

    monkeypatch.setattr(stages, "execute", execute)
    pipeline = Pipeline(Store(config.work_dir), config, execute)
    with pytest.raises((InterruptedError, UserError)) as ended:
        pipeline.until("dataset")
    ran += [str(ended.value)]
    return ran, pipeline.store.path(pipeline.artifacts["retrieval"])


def test_a_low_recall_is_told_before_the_dataset_is_built_and_refused_below_the_floor(sources, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    ran, folder = run(load_config(None, sources, SETS), monkeypatch)
    assert ran[-2] == "build-dataset"
    (line,) = [record.getMessage() for record in caplog.records if "among the first 5" in record.getMessage()]
    assert "so they do not say what they are about: name it in the questions" in line
    assert "document recall@5" in (folder / "retrieval.txt").read_text()
    assert "Low recall: among the first 5 chunks" in (folder / "retrieval.txt").read_text()
    misses = json.loads((folder / "misses.json").read_text())
    assert 0 < misses["unnamed"] == misses["missed"] < misses["questions"]

    caplog.clear()
    ran, _ = run(load_config(None, sources, (*SETS, "retrieval.min_recall=0.9")), monkeypatch)
    assert "build-dataset" not in ran
    assert ran[-1].endswith("or lower retrieval.min_recall=0.9")
    ran, _ = run(load_config(None, sources, (*SETS, "retrieval.min_recall=0.01")), monkeypatch)
    assert ran[-2] == "build-dataset" and not caplog.records, "a number is the floor, and no warning is given above it"
