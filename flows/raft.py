"""The flows that are deployed. Their parameters are the groups of `RunConfig`, so that Prefect's UI draws the form."""

from dataclasses import replace
from typing import Any, Literal

from prefect import flow
from prefect.logging import get_run_logger

from data.champion import PromotionSettings
from data.chunks import ChunkSettings
from data.critic_settings import CriticSettings
from data.documents import DocumentSettings
from data.embeddings import EmbeddingSettings
from data.index_kinds import IndexSettings
from data.ladder import EvaluationSettings
from data.questions import QuestionSettings
from data.raft_settings import RaftSettings
from data.retriever import RetrievalSettings
from data.split import SplitSettings
from data.teacher import TeacherSettings
from flows.config import RunConfig
from flows.pages import show_in_prefect
from flows.pipeline import Pipeline
from flows.promotion import promote
from jora_model.job import TrainSettings
from jora_model.settings import ExportSettings, GenerationSettings, LoraSettings, MeshSettings
from tasks.diff import compare, last_dataset
from tasks.runs import Results, publish_latest
from tasks.store import Store

_DEFAULTS = RunConfig()


def _run(goal: str, **parameters: Any) -> Results:
    config = RunConfig(**parameters)
    store = Store(config.work_dir)
    pipeline = Pipeline(store, config)
    pipeline.until(goal)
    if (last := last_dataset(store, pipeline.artifacts)) is not None:
        made = pipeline.artifacts
        made["diff"] = compare(store, *last, made["documents"], made["dataset"])
    note = ""
    if "export" in pipeline.artifacts:
        note = promote(pipeline)
        get_run_logger().info("%s", note)
    results = replace(publish_latest(store, pipeline.artifacts, config.model_dump(mode="json")), note=note)
    show_in_prefect(store, results)
    return results


@flow(name="raft-finetune", flow_run_name="raft-finetune {base_model} on {corpus}")
def raft_finetune(
    corpus: str = _DEFAULTS.corpus,
    questions: str = _DEFAULTS.questions,
    base_model: str = _DEFAULTS.base_model,
    work_dir: str = _DEFAULTS.work_dir,
    documents: DocumentSettings = _DEFAULTS.documents,
    chunking: ChunkSettings = _DEFAULTS.chunking,
    embedding: EmbeddingSettings = _DEFAULTS.embedding,
    teacher: TeacherSettings = _DEFAULTS.teacher,
    index: IndexSettings = _DEFAULTS.index,
    retrieval: RetrievalSettings = _DEFAULTS.retrieval,
    grounding: QuestionSettings = _DEFAULTS.grounding,
    critic: CriticSettings = _DEFAULTS.critic,
    split: SplitSettings = _DEFAULTS.split,
    raft: RaftSettings = _DEFAULTS.raft,
    lora: LoraSettings = _DEFAULTS.lora,
    mesh: MeshSettings = _DEFAULTS.mesh,
    training: TrainSettings = _DEFAULTS.training,
    generation: GenerationSettings = _DEFAULTS.generation,
    evaluation: EvaluationSettings = _DEFAULTS.evaluation,
    export: ExportSettings = _DEFAULTS.export,
    promotion: PromotionSettings = _DEFAULTS.promotion,
    until: Literal["evaluation", "export", "everything"] = "everything",
) -> Results:
    """Documents in, a better model out: dataset, training, evaluation ladder, PEFT adapter and merged model.

    What is exported is registered, and becomes the champion under the rule of `promotion`.
    """
    return _run(
        until,
        corpus=corpus,
        questions=questions,
        base_model=base_model,
        work_dir=work_dir,
        documents=documents,
        chunking=chunking,
        embedding=embedding,
        teacher=teacher,
        index=index,
        retrieval=retrieval,
        grounding=grounding,
        critic=critic,
        split=split,
        raft=raft,
        lora=lora,
        mesh=mesh,
        training=training,
        generation=generation,
        evaluation=evaluation,
        export=export,
        promotion=promotion,
    )


@flow(name="build-dataset", flow_run_name="build-dataset from {corpus}")
def build_dataset(
    corpus: str = _DEFAULTS.corpus,
    questions: str = _DEFAULTS.questions,
    base_model: str = _DEFAULTS.base_model,
    work_dir: str = _DEFAULTS.work_dir,
    documents: DocumentSettings = _DEFAULTS.documents,
    chunking: ChunkSettings = _DEFAULTS.chunking,
    embedding: EmbeddingSettings = _DEFAULTS.embedding,
    teacher: TeacherSettings = _DEFAULTS.teacher,
    index: IndexSettings = _DEFAULTS.index,
    retrieval: RetrievalSettings = _DEFAULTS.retrieval,
    grounding: QuestionSettings = _DEFAULTS.grounding,
    critic: CriticSettings = _DEFAULTS.critic,
    split: SplitSettings = _DEFAULTS.split,
    raft: RaftSettings = _DEFAULTS.raft,
    generation: GenerationSettings = _DEFAULTS.generation,
) -> Results:
    """Documents and questions to a RAFT dataset in Alpaca format."""
    return _run(
        "dataset",
        corpus=corpus,
        questions=questions,
        base_model=base_model,
        work_dir=work_dir,
        documents=documents,
        chunking=chunking,
        embedding=embedding,
        teacher=teacher,
        index=index,
        retrieval=retrieval,
        grounding=grounding,
        critic=critic,
        split=split,
        raft=raft,
        generation=generation,
    )


@flow(name="train-adapter", flow_run_name="train-adapter {base_model} on {corpus}")
def train_adapter(
    corpus: str = _DEFAULTS.corpus,
    questions: str = _DEFAULTS.questions,
    base_model: str = _DEFAULTS.base_model,
    work_dir: str = _DEFAULTS.work_dir,
    documents: DocumentSettings = _DEFAULTS.documents,
    chunking: ChunkSettings = _DEFAULTS.chunking,
    embedding: EmbeddingSettings = _DEFAULTS.embedding,
    teacher: TeacherSettings = _DEFAULTS.teacher,
    index: IndexSettings = _DEFAULTS.index,
    retrieval: RetrievalSettings = _DEFAULTS.retrieval,
    grounding: QuestionSettings = _DEFAULTS.grounding,
    critic: CriticSettings = _DEFAULTS.critic,
    split: SplitSettings = _DEFAULTS.split,
    raft: RaftSettings = _DEFAULTS.raft,
    lora: LoraSettings = _DEFAULTS.lora,
    mesh: MeshSettings = _DEFAULTS.mesh,
    training: TrainSettings = _DEFAULTS.training,
    generation: GenerationSettings = _DEFAULTS.generation,
) -> Results:
    """As far as the trained adapter; a dataset that is there already is not built again."""
    return _run(
        "adapter",
        corpus=corpus,
        questions=questions,
        base_model=base_model,
        work_dir=work_dir,
        documents=documents,
        chunking=chunking,
        embedding=embedding,
        teacher=teacher,
        index=index,
        retrieval=retrieval,
        grounding=grounding,
        critic=critic,
        split=split,
        raft=raft,
        lora=lora,
        mesh=mesh,
        training=training,
        generation=generation,
    )
