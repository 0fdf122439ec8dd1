"""The order of the stages. Flows run it; a dry run goes through it without building.

documents, questions, base, embedder -> chunks -> index -> questions by split -> retrieval measured, dataset
    -> adapter -> evaluation ladder -> export

If no questions are given, a teacher writes them from the chunks.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.evaluation.ladder import LadderModel
from flows.settings.checks import (
    check_dataset,
    check_export,
    check_prompts,
    check_training,
    model_facts,
    rounding_note,
)
from flows.settings.config import RunConfig
from jora_model.formats.base import base_license, resolve_base
from jora_model.formats.lora import check_adapter, check_start, read_adapter_settings
from jora_model.spec.config import ModelConfig
from tasks.engine.cache import Stage
from tasks.stages.adapters import import_adapter, snapshot_adapter
from tasks.stages.critic import ask_again, ask_server_again, keep_answered
from tasks.stages.dataset import build_dataset, build_plain_dataset
from tasks.stages.evaluation import build_prompts, generate_answers, score_answers
from tasks.stages.export import export_model
from tasks.stages.judge import judge_answers
from tasks.stages.package import package_dataset
from tasks.stages.questions import check_questions, prepare_questions
from tasks.stages.retrieval import check_measured, cut_chunks, index_chunks, measure
from tasks.stages.robustness import robustness_prompts, score_robustness
from tasks.stages.sources import (
    import_base,
    snapshot_base,
    snapshot_documents,
    snapshot_embedder,
    snapshot_general,
    snapshot_questions,
    snapshot_reranker,
)
from tasks.stages.teacher import ask_prompts, ask_server, local_generation, write_questions
from tasks.stages.training import continue_adapter, train_adapter, train_plain_adapter
from tasks.store.artifacts import Artifact
from tasks.store.store import Store

GOALS = ("dataset", "adapter", "evaluation", "export", "everything")
# Runs a stage, or only checks whether it would run.
Call = Callable[..., Any]


def execute(stage: Stage[Any], *args: Any) -> Artifact:
    """Run a stage as a task of the current flow."""
    return stage(*args)


@dataclass
class Pipeline:
    """The stages of one run; `artifacts` holds their results so far by name, `rounding` how training rounds weights,
    `exports` and `evaluates` whether the goal includes an export and the evaluation."""

    store: Store
    config: RunConfig
    call: Call = execute
    artifacts: dict[str, Any] = field(default_factory=dict)
    model: ModelConfig = field(init=False)
    rounding: str | None = field(init=False, default=None)
    exports: bool = field(init=False, default=False)
    evaluates: bool = field(init=False, default=False)

    def sources(self, trains: bool = True) -> None:
        """Read the sources and check settings that would fail later.

        Args:
            trains: whether training follows; a dataset alone does not need its settings to be valid.
        """
        c, a = self.config, self.artifacts
        others = tuple(file for file in (c.questions, c.raft.mix_file) if file is not None)
        a["documents"] = self._run(snapshot_documents, c.corpus, c.documents, others)
        if c.teacher.kind == "given":
            a["raw_questions"] = self._run(snapshot_questions, c.questions, c.question_file)
        check_questions(self.store, a.get("raw_questions"), a["documents"], c.split)
        a["base"] = self._run(snapshot_base, c.base_model)
        self.model = model_facts(self.store, a["base"])
        self.rounding = rounding_note(self.store, a["base"], c.training.compute_dtype)
        check_dataset(c)
        if trains:
            check_training(c, self.model, self.evaluates)
        if a["base"].kind == "gguf":
            a["base"] = self._run(import_base, a["base"])
        if isinstance(a["base"], Artifact):  # else it is still to be imported
            check_prompts(self.store, a["base"], self.model.vocab_size, c.raft.prompt_format)
            if self.exports:
                check_export(self.store, a["base"], self.model, c.export)
        if c.adapter.folder is not None:
            foreign = self._run(snapshot_adapter, c.adapter.folder)
            check_adapter(self.store.path(foreign), self.model)
            if c.adapter.train:
                own, lora = read_adapter_settings(self.store.path(foreign)), c.lora.of_model(self.model)
                check_start(Path(c.adapter.folder), own, lora)
            a["start"] = self._run(import_adapter, a["base"], foreign)
        a["embedder"] = self._run(snapshot_embedder, c.embedding.embedder)
        if c.teacher.kind == "local":
            a["teacher"] = self._local_teacher() if c.teacher.model else a["base"]
        if c.retrieval.reranker is not None:
            a["reranker"] = self._run(snapshot_reranker, c.retrieval.reranker)
        if c.raft.mix_file is not None:
            a["general"] = self._run(snapshot_general, c.raft.mix_file)
        if c.raft.guard_reranker is not None:
            a["guard"] = self._run(snapshot_reranker, c.raft.guard_reranker)

    def dataset(self) -> None:
        """Build the RAFT dataset, its exports and its report."""
        self.examples(trains=False)
        self._package()

    def examples(self, trains: bool = True) -> None:
        """Build the examples that training reads; `trains` as in `sources`."""
        self.sources(trains)
        c, a = self.config, self.artifacts
        a["chunks"] = self._run(cut_chunks, a["documents"], a["base"], c.chunking)
        a["index"] = self._run(index_chunks, a["chunks"], a["embedder"], c.embedding, c.index, c.retrieval.hybrid)
        if c.teacher.kind != "given":
            self._teach()
        a["questions"] = self._run(
            prepare_questions,
            a["raw_questions"],
            a["documents"],
            *self.search,
            c.retrieval,
            c.grounding,
            c.critic,
            c.split,
        )
        if c.critic.round_trip is not None:
            self._round_trip()
        a["retrieval"] = self._run(measure, a["questions"], *self.search, c.retrieval)
        if isinstance(a["retrieval"], Artifact):  # else it is still to be measured
            check_measured(self.store, a["retrieval"], c.retrieval.min_recall, warns=self.call is execute)
        a["dataset"] = self._run(
            build_dataset,
            a["questions"],
            a["chunks"],
            a["index"],
            a["embedder"],
            a["base"],
            c.raft,
            c.split.near_duplicate,
            a.get("general"),
            a.get("guard"),
        )

    @property
    def search(self) -> tuple[Any, Any, Any, Any]:
        """What retrieval reads: chunks, index, embedder and, if there is one, re-ranker."""
        a = self.artifacts
        return a["chunks"], a["index"], a["embedder"], a.get("reranker")

    def _round_trip(self) -> None:
        """Ask the questions again over their oracles; drop those that get another answer."""
        c, a = self.config, self.artifacts
        judged = (a["raw_questions"], a["questions"], a["chunks"])
        by_teacher = c.critic.round_trip_by == "teacher"
        if by_teacher and c.teacher.kind == "endpoint":
            model, asked = None, None
            answers = self._run(ask_server_again, *judged, c.critic, c.teacher)
        else:
            model = a["teacher"] if by_teacher else a["base"]
            asked = self._run(ask_again, *judged, model, c.critic, c.raft.prompt_format)
            answers = self._run(generate_answers, model, None, asked, c.generation)
        a["questions"] = self._run(keep_answered, a["questions"], asked, answers, model, c.critic)

    def _local_teacher(self) -> Any:
        """The model that writes questions if it is not the base model."""
        model = self._run(snapshot_base, self.config.teacher.model)
        if model.kind == "gguf":
            return self._run(import_base, model)
        check_prompts(self.store, model, model_facts(self.store, model).vocab_size, self.config.raft.prompt_format)
        return model

    def _teach(self) -> None:
        """Let a teacher write questions from the chunks."""
        c, a = self.config, self.artifacts
        if c.teacher.kind == "endpoint":
            answers = self._run(ask_server, a["chunks"], c.teacher)
        else:
            prompts = self._run(ask_prompts, a["chunks"], a["teacher"], c.teacher, c.raft.prompt_format)
            answers = self._run(generate_answers, a["teacher"], None, prompts, local_generation(c.teacher))
        a["raw_questions"] = self._run(write_questions, a["chunks"], answers, a.get("teacher"), c.teacher)

    def adapter(self) -> None:
        """Train the adapter, or take the given one."""
        self.examples()
        c, a = self.config, self.artifacts
        if c.adapter.folder is None:
            a["adapter"] = self._run(train_adapter, a["base"], a["dataset"], c.lora, c.mesh, c.training)
        elif c.adapter.train:
            a["adapter"] = self._run(continue_adapter, a["base"], a["start"], a["dataset"], c.lora, c.mesh, c.training)
        else:
            a["adapter"] = a["start"]

    def evaluation(self) -> None:
        """Answer the questions of unseen documents on every rung, and score."""
        self.evaluates = True
        self.adapter()
        c, a = self.config, self.artifacts
        adapters: dict[LadderModel, Any] = {"base": None, "tuned": a["adapter"]}
        if c.evaluation.dsf:
            plain = self._run(build_plain_dataset, a["questions"], a["dataset"], a["base"], c.raft.prompt_format)
            a["dsf_adapter"] = adapters["DSF"] = self._run(
                train_plain_adapter, a["base"], plain, c.lora, c.mesh, c.training
            )
        prompts, answers = [], []
        for model, adapter in adapters.items():
            asked = self._run(
                build_prompts,
                c.evaluation.rungs_of(model),
                a["questions"],
                *self.search,
                a["base"],
                c.retrieval,
                c.evaluation,
                c.raft.prompt_format,
            )
            answers.append(self._run(generate_answers, a["base"], adapter, asked, c.generation))
            prompts.append(asked)
        a["evaluation"] = self._run(
            score_answers,
            a["questions"],
            a["chunks"],
            a["base"],
            tuple(rung.name for rung in c.evaluation.ladder),
            tuple(prompts),
            tuple(answers),
            c.evaluation,
        )
        if c.evaluation.judge.enabled:
            a["verdicts"] = self._run(
                judge_answers, a["evaluation"], a["chunks"], c.evaluation.judge, c.evaluation.seed
            )
        if c.evaluation.robustness.enabled:
            self._robustness()

    def _robustness(self) -> None:
        """Score the tuned model over varied contexts, all answered in one process."""
        c, a = self.config, self.artifacts
        asked = self._run(
            robustness_prompts,
            a["questions"],
            *self.search,
            a["base"],
            c.retrieval,
            c.evaluation.top_k,
            c.evaluation.robustness,
            c.raft.prompt_format,
        )
        answers = self._run(generate_answers, a["base"], a["adapter"], asked, c.generation)
        a["robustness"] = self._run(
            score_robustness, a["questions"], a["chunks"], a["base"], asked, answers, c.evaluation.robustness
        )

    def export(self) -> None:
        """Export PEFT adapter and merged model without evaluation."""
        self.exports = True
        self.adapter()
        self._export()

    def until(self, goal: str) -> None:
        """Run up to a goal, one of GOALS."""
        getattr(self, goal)()

    def everything(self) -> None:
        """Run the full pipeline."""
        self.exports = True
        self.evaluation()
        self._export()
        self._package()

    def _package(self) -> None:
        c, a = self.config, self.artifacts
        a["package"] = self._run(
            package_dataset,
            a["documents"],
            a["questions"],
            a["chunks"],
            a["index"],
            a["embedder"],
            a["base"],
            a["dataset"],
            a["retrieval"],
            c.raft,
        )

    def _export(self) -> None:
        c, a = self.config, self.artifacts
        a["export"] = self._run(
            export_model,
            a["base"],
            a["adapter"],
            a["dataset"],
            a.get("evaluation"),
            c.base_model,
            c.export,
            c.raft.prompt_format,
            base_license(c.base_model, resolve_base(c.base_model)),
        )

    def _run(self, stage: Stage[Any], *args: Any) -> Any:
        return self.call(stage, self.store, *args)
