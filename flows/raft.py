"""The flows that are deployed. Their parameters are the groups of `RunConfig`, so that Prefect's UI draws the form."""

from collections.abc import Callable
from typing import Any, Literal

from prefect import State, flow

from data.critic.settings import CriticSettings
from data.documents.chunks import ChunkSettings
from data.documents.documents import DocumentSettings
from data.evaluation.champion import PromotionSettings
from data.evaluation.ladder import EvaluationSettings
from data.questions.questions import QuestionSettings
from data.questions.split import SplitSettings
from data.raft.settings import RaftSettings
from data.retrieval.embeddings import EmbeddingSettings
from data.retrieval.index_kinds import IndexSettings
from data.retrieval.retriever import RetrievalSettings
from data.teacher.settings import TeacherSettings
from flows.run import run, run_name
from flows.settings.config import RunConfig, Verify, WhenBusy
from jora_model.spec.job import TrainSettings
from jora_model.spec.settings import AdapterSettings, ExportSettings, GenerationSettings, LoraSettings, MeshSettings
from tasks.records.runs import Results

_DEFAULTS = RunConfig()


def described(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a flow's parameters the words of `RunConfig`; Prefect's form reads them from the docstring."""
    fields = RunConfig.model_fields.items()
    words = {name: field.description for name, field in fields if field.description}
    lines = [f"    {name}: {text}" for name, text in {**words, "until": "How far the run goes."}.items()]
    function.__doc__ = "\n".join([f"{function.__doc__}\n", "Args:", *lines])
    return function


@flow(name="raft-finetune", flow_run_name=run_name, validate_parameters=False)
@described
def raft_finetune(
    corpus: str = _DEFAULTS.corpus,
    questions: str = _DEFAULTS.questions,
    base_model: str = _DEFAULTS.base_model,
    work_dir: str = _DEFAULTS.work_dir,
    when_busy: WhenBusy = _DEFAULTS.when_busy,
    verify: Verify = _DEFAULTS.verify,
    storage: str | None = _DEFAULTS.storage,
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
    adapter: AdapterSettings = _DEFAULTS.adapter,
    lora: LoraSettings = _DEFAULTS.lora,
    mesh: MeshSettings = _DEFAULTS.mesh,
    training: TrainSettings = _DEFAULTS.training,
    generation: GenerationSettings = _DEFAULTS.generation,
    evaluation: EvaluationSettings = _DEFAULTS.evaluation,
    export: ExportSettings = _DEFAULTS.export,
    promotion: PromotionSettings = _DEFAULTS.promotion,
    until: Literal["evaluation", "export", "everything"] = "everything",
) -> "Results | State[Any]":
    """Documents in, a better model out: dataset, training, evaluation ladder, PEFT adapter and merged model.

    What is exported is registered, and becomes the champion under the rule of `promotion`.
    """
    return run(
        until,
        corpus=corpus,
        questions=questions,
        base_model=base_model,
        work_dir=work_dir,
        when_busy=when_busy,
        verify=verify,
        storage=storage,
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
        adapter=adapter,
        lora=lora,
        mesh=mesh,
        training=training,
        generation=generation,
        evaluation=evaluation,
        export=export,
        promotion=promotion,
    )


@flow(name="build-dataset", flow_run_name=run_name, validate_parameters=False)
@described
def build_dataset(
    corpus: str = _DEFAULTS.corpus,
    questions: str = _DEFAULTS.questions,
    base_model: str = _DEFAULTS.base_model,
    work_dir: str = _DEFAULTS.work_dir,
    verify: Verify = _DEFAULTS.verify,
    storage: str | None = _DEFAULTS.storage,
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
) -> "Results | State[Any]":
    """Documents and questions to a RAFT dataset in Alpaca format."""
    return run(
        "dataset",
        corpus=corpus,
        questions=questions,
        base_model=base_model,
        work_dir=work_dir,
        verify=verify,
        storage=storage,
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


@flow(name="train-adapter", flow_run_name=run_name, validate_parameters=False)
@described
def train_adapter(
    corpus: str = _DEFAULTS.corpus,
    questions: str = _DEFAULTS.questions,
    base_model: str = _DEFAULTS.base_model,
    work_dir: str = _DEFAULTS.work_dir,
    when_busy: WhenBusy = _DEFAULTS.when_busy,
    verify: Verify = _DEFAULTS.verify,
    storage: str | None = _DEFAULTS.storage,
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
    adapter: AdapterSettings = _DEFAULTS.adapter,
    lora: LoraSettings = _DEFAULTS.lora,
    mesh: MeshSettings = _DEFAULTS.mesh,
    training: TrainSettings = _DEFAULTS.training,
    generation: GenerationSettings = _DEFAULTS.generation,
) -> "Results | State[Any]":
    """As far as the trained adapter; a dataset that is there already is not built again."""
    return run(
        "adapter",
        corpus=corpus,
        questions=questions,
        base_model=base_model,
        work_dir=work_dir,
        when_busy=when_busy,
        verify=verify,
        storage=storage,
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
        adapter=adapter,
        lora=lora,
        mesh=mesh,
        training=training,
        generation=generation,
    )


@flow(name="evaluate-model", flow_run_name=run_name, validate_parameters=False)
@described
def evaluate_model(
    corpus: str = _DEFAULTS.corpus,
    questions: str = _DEFAULTS.questions,
    base_model: str = _DEFAULTS.base_model,
    work_dir: str = _DEFAULTS.work_dir,
    when_busy: WhenBusy = _DEFAULTS.when_busy,
    verify: Verify = _DEFAULTS.verify,
    storage: str | None = _DEFAULTS.storage,
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
    adapter: AdapterSettings = _DEFAULTS.adapter,
    lora: LoraSettings = _DEFAULTS.lora,
    mesh: MeshSettings = _DEFAULTS.mesh,
    training: TrainSettings = _DEFAULTS.training,
    generation: GenerationSettings = _DEFAULTS.generation,
    evaluation: EvaluationSettings = _DEFAULTS.evaluation,
) -> "Results | State[Any]":
    """As far as the evaluation ladder; what is there already, the adapter too, is not built again."""
    return run(
        "evaluation",
        corpus=corpus,
        questions=questions,
        base_model=base_model,
        work_dir=work_dir,
        when_busy=when_busy,
        verify=verify,
        storage=storage,
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
        adapter=adapter,
        lora=lora,
        mesh=mesh,
        training=training,
        generation=generation,
        evaluation=evaluation,
    )
