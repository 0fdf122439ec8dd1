"""Two models over the same questions: which of them count, and what is written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from data.evaluation.champion import PromotionSettings
from data.evaluation.ladder import TUNED
from data.files.jsonl import write_jsonl
from data.questions.questions import Question
from tasks.stages.champion import compare_models, read_decision
from tasks.stages.json_files import write_json
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from testing.registered import evaluation_of

COUNT = 40
ASKED = [Question(f"q{n}", f"Who is {n}?", "She", ("She.",), f"d{n}", ("c",), "given", "given") for n in range(COUNT)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "work")


def questions(store: Store, by: str = "document", **parts: list[Question]) -> Artifact:
    with store.build("questions") as build:
        write_json(build.folder / "split.json", {"by": by, "note": ""})
        for part in ("train", "validation", "eval"):
            write_jsonl(build.folder / f"{part}.jsonl", parts.get(part, []))
    return build.artifact


def judge(
    store: Store,
    trained: Artifact,
    new: float = 0.5,
    standing: float = 0.4,
    by: str = "document",
    **settings: object,
) -> dict:
    asked = questions(store, by, eval=ASKED)
    # Those that the standing model was trained on it answers without a fault.
    learnt = [1.0 if n < 8 else standing for n in range(COUNT)]
    sides = [evaluation_of(store, scores) for scores in ([new] * COUNT, learnt)]
    rule = PromotionSettings(**settings)
    compared = compare_models.fn(store, asked, sides[0], TUNED, sides[1], TUNED, "other", trained, rule, 0)
    content = json.loads((store.path(compared) / "comparison.json").read_text())
    verdict = read_decision(store, compared)
    assert (verdict.promoted, verdict.reason) == (content["promoted"], content["reason"])
    assert content["reason"] in (store.path(compared) / "comparison.md").read_text()
    return content


def test_questions_that_the_standing_model_was_trained_on_do_not_count(store: Store) -> None:
    """Neither those of its documents (d0 to d3) nor the same questions about other versions of a document."""
    same = [replace(question, document_id="another", id="x") for question in ASKED[4:8]]
    others = [replace(question, question="Why?") for question in ASKED[:4]]
    found = judge(store, questions(store, train=same, validation=others))
    assert found["questions"] == 32 and found["promoted"]
    assert "over 32 questions against other (8 that it was trained on left out)" in found["reason"]


def test_where_questions_are_split_their_documents_do_not_tell_what_was_trained_on(store: Store) -> None:
    others = [replace(question, question="Why?") for question in ASKED[8:]]
    found = judge(store, questions(store, "question", train=[*ASKED[:8], *others]), by="question")
    assert found["questions"] == 32 and "8 that it was trained on left out" in found["reason"]


def test_where_too_few_would_remain_all_count_and_that_is_said(store: Store) -> None:
    found = judge(store, questions(store, train=ASKED[:8]), min_questions=33)
    assert found["questions"] == 40 and not found["promoted"]
    assert "over 40 questions against other (which was trained on 8 of them)" in found["reason"]


def test_nothing_seen_nothing_said(store: Store) -> None:
    assert "over 40 questions against other: " in judge(store, questions(store))["reason"]
