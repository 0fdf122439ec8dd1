"""The whole ladder on a tiny model, once: what is asked, shared and written, and what robustness adds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.evaluation.ladder import RUNGS
from data.files.jsonl import read_jsonl
from data.raft.sequences import GRAMMARS_NAME, read_prompts, read_sequences
from data.scoring.evaluated import Answered, Comparison, StudyPoint
from data.scoring.scores import METRICS
from jora_model.generation.prompt_files import read_grammars
from tasks.stages.evaluation import AskedRung
from tasks.stages.loading import open_tokenizer
from tasks.stages.robustness import Tried
from tasks.store.artifacts import Artifact
from testing.jobs_here import run_jobs_here
from testing.workshop import Workshop

NAMES = [rung.name for rung in RUNGS]
SETTINGS = (
    "evaluation.dsf=true",
    f"evaluation.rungs=[{', '.join(NAMES)}]",
    "evaluation.robustness.enabled=true",
    "evaluation.robustness.max_questions=2",
    "evaluation.robustness.distractors=[0, 2]",
    "evaluation.robustness.top_k=[1, 2]",
)


class Run:
    """The artifacts of the run by name, and of each stage."""

    def __init__(self, folder: Path) -> None:
        self.workshop = Workshop(folder)
        self.stages: dict[str, list[Artifact]] = {}
        pipeline = self.workshop.pipeline(self.workshop.config(*SETTINGS), self.stages)
        pipeline.until("evaluation")
        self.artifacts = pipeline.artifacts

    def folder(self, name: str) -> Path:
        return self.workshop.store.path(self.artifacts[name])

    def json(self, name: str, file: str) -> Any:
        return json.loads((self.folder(name) / file).read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with pytest.MonkeyPatch.context() as patch:
        run_jobs_here(patch)
        yield Run(tmp_path_factory.mktemp("ladder"))


def test_prompts_come_with_the_tokens_that_end_an_answer_and_those_that_are_no_text(run: Run) -> None:
    tokenizer = open_tokenizer(run.workshop.store, run.artifacts["base"])
    for prompts in run.stages["build-prompts"]:
        found = json.loads((run.workshop.store.path(prompts) / "end.json").read_text())
        assert found == {"end_ids": list(tokenizer.end_ids("chat")), "control_ids": list(tokenizer.control_ids)}


def test_every_rung_answers_the_same_questions(run: Run) -> None:
    summary = run.json("evaluation", "summary.json")
    assert [rung["name"] for rung in summary] == NAMES
    assert all(set(METRICS) < set(rung) and rung["questions"] == 3 for rung in summary)
    answers = read_jsonl(run.folder("evaluation") / "answers.jsonl", Answered)
    by_rung = {name: [answered for answered in answers if answered.rung == name] for name in NAMES}
    assert len({tuple(answered.question_id for answered in rows) for rows in by_rung.values()}) == 1
    assert len(run.stages["generate-answers"]) == 4, "a process for each model, and one for robustness"
    for answered in answers:
        assert answered.kind and answered.document.endswith((".md", ".txt")) and answered.output_tokens > 0
        assert (answered.cause is None) == (answered.exact_match == 1)
    for rung in ("base + oracle", "tuned + oracle"):
        assert all(answered.oracle_retrieved and len(answered.context_ids) == 2 for answered in by_rung[rung])


def test_rungs_that_show_the_same_share_a_prompt(run: Run) -> None:
    store = run.workshop.store
    for prompts in run.stages["build-prompts"]:
        asked = read_jsonl(store.path(prompts) / "asked.jsonl", AskedRung)
        written = read_prompts(store.path(prompts))
        # A context and a question are one prompt, whatever the rung.
        wordings = {(item.question_id, item.context_ids): item.prompt for item in asked}
        assert sorted(wordings.values()) == list(range(len(written)))
        assert all(wordings[item.question_id, item.context_ids] == item.prompt for item in asked)


def test_only_prompts_of_the_tuned_model_have_a_grammar(run: Run) -> None:
    for prompts in run.stages["build-prompts"]:
        folder = run.workshop.store.path(prompts)
        grammars = read_grammars(folder / GRAMMARS_NAME, prompts.count("prompts"))
        for item in read_jsonl(folder / "asked.jsonl", AskedRung):
            held = item.rung.startswith("tuned") and bool(item.context_ids)
            assert (grammars[item.prompt] is not None) == held


def test_dsf_learns_as_many_examples_without_documents(run: Run) -> None:
    store = run.workshop.store
    (plain,) = run.stages["build-plain-dataset"]
    sequences, documents = (
        read_sequences(store.path(artifact) / "sequences") for artifact in (plain, run.artifacts["dataset"])
    )
    assert [one.id for one in sequences] == [one.id for one in documents]
    assert plain.count("examples") == len(sequences)
    assert max(len(one.tokens) for one in sequences) < min(len(one.tokens) for one in documents)
    assert run.artifacts["dsf_adapter"] != run.artifacts["adapter"]


def test_comparisons_and_breakdown_are_over_all_rungs(run: Run) -> None:
    comparisons = [Comparison(**item) for item in run.json("evaluation", "comparisons.json")]
    pairs = {(item.rung, item.against) for item in comparisons}
    assert len(pairs) == len(NAMES) * (len(NAMES) - 1) // 2
    assert all(NAMES.index(above) > NAMES.index(below) for above, below in pairs)
    breakdown = run.json("evaluation", "breakdown.json")
    for part in ("by_document", "by_kind"):
        assert list(breakdown[part]) == sorted(NAMES)
        assert all(sum(row["questions"] for row in rows.values()) == 3 for rows in breakdown[part].values())


def test_robustness_varies_what_is_shown(run: Run) -> None:
    points = [StudyPoint(**item) for item in run.json("robustness", "points.json")]
    values = {(point.study, point.value) for point in points}
    assert values == {
        ("distractors", 0),
        ("distractors", 2),
        *((s, v) for s in ("oracle_position", "top_k") for v in (1, 2)),
    }
    assert (run.folder("robustness") / "robustness.png").read_bytes().startswith(b"\x89PNG")
    (prompts,) = run.stages["robustness-prompts"]
    tried = read_jsonl(run.workshop.store.path(prompts) / "tried.jsonl", Tried)
    assert len({item.question_id for item in tried}) == 2
    assert prompts.count("prompts") < len(tried), "what two studies share is asked once"
