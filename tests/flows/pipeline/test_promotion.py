"""The end of a run that exports: models are registered, judged over the same questions, promoted, rolled back.

Each test begins without a model; what its runs build is there already, where another test had the same settings.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli.model_tables import compare_models, list_models
from flows.pipeline.promotion import promote
from tasks.records.models import MODELS, Registry
from tasks.records.runs import publish_latest
from tasks.store.artifacts import Artifact
from testing.command_line import jora
from testing.jobs_here import run_jobs_here
from testing.small_runs import tiny_base
from testing.workshop import Workshop

JUDGED = "promotion.min_questions=1"
SECOND = ("training.max_updates=2", JUDGED, "promotion.rule=not_worse")


class Shop(Workshop):
    """A workshop that remembers what the stages of its last run gave, and how many answered a set of prompts."""

    made: dict[str, list[Artifact]]
    answered: int

    def finish(self, *sets: str, goal: str = "everything", **given: str) -> str:
        """A run as far as a goal, and what it says of its model."""
        self.made = {}
        config = self.config(*sets).model_copy(update=given)
        before = self._answers()
        pipeline = self.pipeline(config, self.made)
        pipeline.until(goal)
        told = promote(pipeline)
        self.answered = self._answers() - before
        publish_latest(self.store, pipeline.artifacts, config.model_dump(mode="json"))
        return told

    def first(self) -> str:
        """The name of a first model, which is made the champion."""
        assert ": the new champion: it is the first" in self.finish("promotion.first=always")
        champion = self.models.champion()
        assert champion is not None
        return champion.name

    @property
    def models(self) -> Registry:
        return Registry(self.store.work_dir)

    def _answers(self) -> int:
        return sum(key.startswith("generate-answers") for key in self.kept)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with pytest.MonkeyPatch.context() as patch:
        run_jobs_here(patch)
        yield Shop(tmp_path_factory.mktemp("promotion"))


@pytest.fixture
def shop(filled: Shop) -> Shop:
    shutil.rmtree(filled.store.work_dir / MODELS, ignore_errors=True)
    return filled


def test_the_first_model_must_beat_the_base(shop: Shop) -> None:
    assert shop.finish(goal="export").endswith(": not promoted: not evaluated")
    assert shop.finish(JUDGED).endswith("against base + retrieval: no better")
    (record,) = shop.models.all()
    assert record.questions == 3 and record.scores["token_f1"] is not None
    assert shop.finish(JUDGED).endswith(f": already judged: {record.decision.reason}")
    assert "3 questions are too few: promotion.min_questions is 30" in shop.finish()
    assert shop.models.champion() is None
    assert shop.first() == record.name
    assert shop.finish(JUDGED).endswith(": already the champion")


def test_another_is_judged_over_the_same_answers(shop: Shop) -> None:
    first = shop.first()
    told = shop.finish("training.max_updates=2", JUDGED)
    assert f"against {first}: no better; the champion is still {first}" in told
    assert shop.answered <= 1, "the champion has answered these questions in its own run"
    assert ": already judged: " in shop.finish("training.max_updates=2", JUDGED)
    # Another rule is another judgement.
    assert ": the new champion: token F1 +0.0" in shop.finish(*SECOND)
    champion = shop.models.champion()
    assert champion.name != first and champion.decision.promoted
    comparison = json.loads((shop.store.work_dir / "latest" / "comparison" / "comparison.json").read_text())
    assert (comparison["against"], comparison["questions"], comparison["promoted"]) == (first, 3, True)
    merged = shop.store.work_dir / "champion" / "merged" / "config.json"
    assert merged.resolve().parent == shop.store.path(champion.artifacts["export"]) / "merged"


def test_a_rollback_holds_against_the_next_run(shop: Shop, monkeypatch, capsys) -> None:
    first = shop.first()
    shop.finish(*SECOND)
    second = shop.models.champion().name
    # The folder may be named before or after the command.
    work_dir = ("--work-dir", shop.store.work_dir)
    assert jora(monkeypatch, capsys, "models", *work_dir, "rollback", "--reason", "it sings") == (0, "")
    assert shop.models.champion().name == first
    told = shop.finish(*SECOND)
    assert "not promoted: it was rolled back from (it sings)" in told and f"jora models promote {second}" in told
    assert shop.models.champion().name == first
    assert jora(monkeypatch, capsys, "models", "promote", second, *work_dir) == (0, "")
    assert shop.models.champion().name == second
    code, line = jora(monkeypatch, capsys, "models", "promote", second, *work_dir)
    assert (code, line) == (2, f"error: {second} is already the champion")


@pytest.mark.slow
def test_the_champion_answers_new_questions_itself(shop: Shop) -> None:
    first = shop.first()
    assert f"against {first}" in shop.finish("training.max_updates=2", "evaluation.top_k=1", JUDGED)
    assert shop.answered == 3, "the base model, the new one, and the champion over what the new one is shown"


@pytest.mark.slow
def test_a_champion_of_another_base_reads_its_own_prompts(shop: Shop, tmp_path: Path) -> None:
    first = shop.first()
    assert f"against {first}" in shop.finish(JUDGED, base_model=str(tiny_base(tmp_path / "other", seed=1)))
    *_, new, champion = shop.made["generate-answers"]
    bases = [shop.store.manifest(answers).inputs[0] for answers in (new, champion)]
    assert bases == [shop.made["snapshot-base"][0], shop.models.champion().artifacts["base"]] and bases[0] != bases[1]


def test_a_champion_that_cannot_be_asked_stays(shop: Shop) -> None:
    first = shop.first()
    weights = shop.store.path(shop.models.champion().artifacts["adapter"]) / "adapter_model.safetensors"
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-1])
    try:
        assert f"not promoted: {first} cannot be asked: " in shop.finish(*SECOND)
    finally:
        weights.write_bytes(sound)
    assert f"against {first}" in shop.finish(*SECOND), "it is judged once the champion is whole"


def test_models_in_the_terminal(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    first = shop.first()
    shop.finish("training.max_updates=2", JUDGED)
    second = next(model.name for model in shop.models.all() if model.name != first)
    list_models(str(shop.store.work_dir))
    listed = capsys.readouterr().out
    assert f"| champion | {first}" in listed and f"|          | {second}" in listed
    assert f"  {first}  champion by run: it is the first" in listed and f"  {second}  not promoted: token F1" in listed
    compare_models(str(shop.store.work_dir), second[:8], "champion")
    compared = capsys.readouterr().out
    assert f"| {second} | {first} | change" in compared and "3 questions in common" in compared


def test_ask_another_model_than_the_last(shop: Shop, monkeypatch, capsys) -> None:
    first = shop.first()
    shop.finish("training.max_updates=2", JUDGED)
    work_dir = ("--work-dir", shop.store.work_dir)
    for model in ("champion", "latest", first[:6]):
        said = jora(monkeypatch, capsys, "ask", "Who?", *work_dir, "--model", model)
        assert said == (0, ""), said[1][:600]
    code, line = jora(monkeypatch, capsys, "ask", "Who?", *work_dir, "--model", "xyz")
    assert code == 2 and "there is no model 'xyz'; known are " in line
