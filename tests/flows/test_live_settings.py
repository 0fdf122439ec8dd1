"""Every setting is live: for each one there is a row that changes it and sees something change.

The whole pipeline runs on a tiny model, without Prefect and with its jobs in this process; a stage runs again when its
cache key is another one, so that a setting which is missing from a key is found dead as well. What is looked at is the
content of files, and never a card or a manifest, which repeat the settings.

A new setting needs a row here; or, for `lora` and `training`, in a test of
tests/jora_model/training/test_training.py that is called test_every_setting...; or a line in ELSEWHERE.
"""

import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import jax
import pytest
from pydantic import BaseModel

from data.retrieval.embeddings import resolve_embedder
from flows.pipeline.dry_run import preflight
from flows.pipeline.promotion import promote
from flows.settings.config import RunConfig
from jora_model.generation.decode import Decoder
from jora_model.packing.tries import Rows
from jora_model.spec.config import ModelConfig
from jora_model.training.step import Trainer
from tasks.records.models import MODELS
from tasks.stages.loading import vectors_folder
from tasks.stages.sources import snapshot_documents, snapshot_questions
from testing.jobs_here import run_jobs_here
from testing.mixed_corpus import mixed_documents
from testing.small_rerankers import reranker_folder
from testing.small_runs import copy_samples, foreign_adapter, tiny_base
from testing.workshop import GOALS, Workshop

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with pytest.MonkeyPatch.context() as patch:
        run_jobs_here(patch)
        yield Workshop(tmp_path_factory.mktemp("live"))


# What a row sees that is no file: a function of the workshop and the settings.


def where_it_is_written(workshop: Workshop, config: RunConfig) -> object:
    return preflight(config).work_dir


def what_is_read(workshop: Workshop, config: RunConfig) -> object:
    """The files of the snapshot of documents, or why there is none."""
    try:
        folder = workshop.store.path(snapshot_documents.fn(workshop.store, config.corpus, config.documents))
    except ValueError as error:
        return str(error)
    return {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}


def what_is_asked(workshop: Workshop, config: RunConfig) -> object:
    """The snapshot of questions, or why there is none."""
    try:
        artifact = snapshot_questions.fn(workshop.store, config.questions, config.question_file)
    except ValueError as error:
        return str(error)
    return artifact.digest


def stages_that_run(workshop: Workshop, config: RunConfig) -> object:
    return sorted(workshop.run(config, "dataset"))


def embedded_at_once(workshop: Workshop, config: RunConfig) -> object:
    """Texts of each call of the embedder's model, when no vector is kept."""
    from sentence_transformers import SentenceTransformer

    workshop.run(config, "examples")  # the later stages embed questions: they are to come from memory
    shutil.rmtree(vectors_folder(workshop.store))
    return _calls(
        workshop, config, "index-chunks", SentenceTransformer, "forward", lambda _, texts: len(texts["input_ids"])
    )


def decoded_at_once(workshop: Workshop, config: RunConfig) -> object:
    """Slots of the first step; it is not taken."""

    def rows(decoder: Decoder, tokens: Any, *others: object) -> object:
        raise Enough(tokens.shape[0])

    return _calls(workshop, config, "generate-answers", Decoder, "step", rows)


def held_by_a_device(workshop: Workshop, config: RunConfig) -> object:
    """Shapes of what one device holds of weights and rows, when the first step is about to be compiled."""
    return _calls(workshop, config, "train-adapter", Trainer, "accumulate", _shapes_on_a_device)


def decided(workshop: Workshop, config: RunConfig) -> object:
    """What is decided about the first model, in words."""
    shutil.rmtree(workshop.store.work_dir / MODELS, ignore_errors=True)
    pipeline = workshop.pipeline(config, {})
    pipeline.until("everything")
    return promote(pipeline)


class Enough(Exception):
    """What was to be seen has been seen."""


def _shapes_on_a_device(trainer: Trainer, sums: object, rows: Rows, *numbers: int) -> object:
    placed = [trainer.frozen, trainer.state, trainer._batch(rows)]
    raise Enough([leaf.sharding.shard_shape(leaf.shape) for leaf in jax.tree.leaves(placed)])


def _calls(
    workshop: Workshop, config: RunConfig, stage: str, kind: type, method: str, look: Callable[..., object]
) -> list[object]:
    """What `look` says of the arguments of each call of a method while a stage runs, which it is made to."""
    for key in [key for key in workshop.kept if key.startswith(stage)]:
        del workshop.kept[key]
    seen: list[object] = []
    real = getattr(kind, method)

    def spy(self: object, *args: Any, **kwargs: Any) -> object:
        seen.append(look(self, *args))
        return real(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, method, spy)
        try:
            workshop.run(config, GOALS.get(stage, "examples"))
        except Enough as enough:
            seen.append(enough.args[0])
    assert seen
    return seen


@dataclass(frozen=True)
class Row:
    """A setting's other value, and where it shows: `stage/pattern` of files, or a function.

    Attributes:
        to: as on the command line; "{folder}" is the workshop's.
        given: settings for both sides, without which the one of the row means nothing; "{folder}" as in `to`.
    """

    to: str
    sees: str | Callable[[Workshop, RunConfig], object]
    given: tuple[str, ...] = field(default=())


CHUNKS = "chunk-documents/chunks.jsonl"
QUESTIONS = "ground-questions/*.jsonl"
MEASURED = "measure-retrieval/retrieval.json"
RECORDS = "build-dataset/dataset.jsonl"
KEPT_OUT = "build-dataset/counts.json"
SEQUENCES = "build-dataset/sequences/*"
ADAPTER = "train-adapter/adapter_model.safetensors"
PROMPTS = "build-prompts/prompts.*"
ANSWERS = "generate-answers/answers.safetensors"
JUDGED = ("critic.judge=all",)
DRAWN = ("generation.temperature=2",)
REPEATED = ("generation.temperature=1", "generation.top_k=4", "generation.max_new_tokens=40")
MIXED = ("corpus={folder}/other/mixed",)
GENERAL = ("raft.mix_file={folder}/other/general.json", "raft.mix_fraction=0.1")
SAME_QUESTIONS = (
    "Which astronaut repaired the telescope of the observatory?",
    "Which astronaut mended the observatory's telescope?",
    "Who was the astronaut that repaired the observatory's telescope?",
)
FOREIGN = ("adapter.folder={folder}/other/adapter",)
EXPORTED = "export-model/adapter/adapter_model.safetensors"

ROWS = {
    "adapter.folder": Row("{folder}/other/adapter", EXPORTED),
    "adapter.train": Row("false", EXPORTED, given=FOREIGN),
    "corpus": Row("{folder}/other/documents", "snapshot-documents/documents.jsonl"),
    "questions": Row("{folder}/other/questions.jsonl", "snapshot-questions/raw_questions.jsonl"),
    "base_model": Row("{folder}/other/base", ADAPTER),
    "work_dir": Row("{folder}/other/work", where_it_is_written),
    "documents.text_column": Row("body", what_is_read, given=MIXED),
    "documents.title_column": Row("body", what_is_read, given=MIXED),
    "documents.dataset_split": Row("test", what_is_read, given=("corpus={folder}/other/saved",)),
    "documents.encoding": Row("cp437", what_is_read, given=MIXED),
    "documents.slide_notes": Row("false", what_is_read, given=MIXED),
    "documents.password": Row("sesame", what_is_read, given=MIXED),
    "documents.strict": Row("true", what_is_read, given=MIXED),
    "documents.follow_links": Row("true", what_is_read, given=MIXED),
    "documents.max_file_bytes": Row("100", what_is_read, given=MIXED),
    "documents.max_unpacked_bytes": Row("1000", what_is_read, given=MIXED),
    "documents.max_document_characters": Row("10", what_is_read, given=MIXED),
    "chunking.max_tokens": Row("64", CHUNKS),
    "chunking.overlap_tokens": Row("48", CHUNKS),
    "chunking.heading_path": Row("false", CHUNKS),
    "chunking.near_duplicate": Row("0.05", CHUNKS, given=("chunking.max_tokens=20",)),
    "embedding.embedder": Row("{folder}/other/embedder", "index-chunks/index.faiss"),
    "embedding.batch_tokens": Row("500", embedded_at_once),
    "index.kind": Row("hnsw", "index-chunks/index.faiss"),
    "index.exact_up_to": Row("0", "index-chunks/index.faiss"),
    "retrieval.hybrid": Row("false", MEASURED),
    "retrieval.rrf_k": Row("0", MEASURED, given=("retrieval.hybrid=true",)),
    "retrieval.depth": Row("2", MEASURED, given=("retrieval.hybrid=true",)),
    "retrieval.reranker": Row("{folder}/other/reranker", MEASURED),
    "grounding.evidence": Row("none", QUESTIONS),
    "grounding.retrieval_depth": Row("1", QUESTIONS),
    "critic.judge": Row("all", QUESTIONS),
    "critic.repair_edits": Row("0", QUESTIONS),
    "critic.question_length": Row("[4, 90]", QUESTIONS, given=JUDGED),
    "critic.answer_length": Row("[1, 12]", QUESTIONS, given=JUDGED),
    "critic.self_contained": Row("false", QUESTIONS, given=JUDGED),
    "critic.languages": Row("[de, en]", QUESTIONS, given=JUDGED),
    "critic.language_confidence": Row("1", QUESTIONS, given=JUDGED),
    "critic.answer_recall": Row("null", QUESTIONS, given=JUDGED),
    "critic.answer_cosine": Row("0.01", QUESTIONS, given=JUDGED),
    "critic.strict_numbers": Row("false", QUESTIONS, given=JUDGED),
    "critic.near_duplicate": Row("null", QUESTIONS, given=JUDGED),
    "critic.round_trip": Row("0", stages_that_run, given=JUDGED),
    "question_file.fields": Row("document=reason", "snapshot-questions/raw_questions.jsonl"),
    "question_file.strict": Row("true", what_is_asked, given=("questions={folder}/other/half.jsonl",)),
    "split.by": Row("question", QUESTIONS),
    "split.eval_fraction": Row("0.5", QUESTIONS),
    "split.validation_fraction": Row("0.5", QUESTIONS),
    "split.seed": Row("1", QUESTIONS),
    "split.near_duplicate": Row("0.3", QUESTIONS, given=("questions={folder}/other/repeated.jsonl",)),
    "raft.context_chunks": Row("3", RECORDS),
    "raft.order": Row("best_first", RECORDS),
    "raft.oracle_fraction": Row("0.5", RECORDS),
    "raft.no_oracle": Row("answer", RECORDS),
    "raft.passes": Row("2", RECORDS),
    "raft.near_duplicate": Row("0.4", RECORDS),
    "raft.prompt_style": Row("alpaca", SEQUENCES),
    "raft.prompt_date": Row("2025-01-31", SEQUENCES, given=("base_model={folder}/other/dated",)),
    "raft.max_tokens": Row("300", RECORDS),
    "raft.fewest_chunks": Row("1", RECORDS),
    "raft.hardness": Row("[4, 9]", RECORDS),
    "raft.questions_per_context": Row("1", RECORDS),
    "raft.leak_cosine": Row("1", KEPT_OUT, given=("raft.leak_words=1",)),
    "raft.leak_words": Row("1", KEPT_OUT, given=("raft.leak_cosine=1",)),
    "raft.guard_reranker": Row("{folder}/other/reranker", RECORDS),
    "raft.guard_margin": Row("0.9", RECORDS, given=("raft.guard_reranker={folder}/other/reranker",)),
    "raft.mix_file": Row("{folder}/other/more.json", RECORDS, given=GENERAL),
    "raft.mix_fraction": Row("0.2", RECORDS, given=GENERAL),
    "raft.seed": Row("1", RECORDS),
    "mesh.data": Row("2", held_by_a_device, given=("training.rows_per_microbatch=2",)),
    "mesh.fsdp": Row("2", held_by_a_device, given=("training.rows_per_microbatch=2",)),
    "mesh.tp": Row("2", held_by_a_device),
    "generation.max_new_tokens": Row("5", ANSWERS),
    "generation.temperature": Row("2", ANSWERS),
    "generation.top_k": Row("2", ANSWERS, given=DRAWN),
    "generation.top_p": Row("0.1", ANSWERS, given=DRAWN),
    "generation.min_p": Row("0.9", ANSWERS, given=DRAWN),
    "generation.repetition_penalty": Row("2", ANSWERS),
    "generation.frequency_penalty": Row("-2", ANSWERS, given=REPEATED),
    "generation.presence_penalty": Row("-2", ANSWERS, given=REPEATED),
    "generation.batch_size": Row("2", decoded_at_once),
    "generation.seed": Row("1", ANSWERS, given=DRAWN),
    # The tiny model begins no quote; this file says how many tokens a grammar overruled, or that there was none.
    "generation.quotes": Row("free", "generate-answers/answers.json"),
    "evaluation.top_k": Row("1", PROMPTS),
    "evaluation.max_questions": Row("2", PROMPTS),
    "evaluation.seed": Row("2", PROMPTS),
    "evaluation.rungs": Row("[base + retrieval, tuned + retrieval]", "score-answers/summary.json"),
    "promotion.rule": Row("always", decided),
    "promotion.first": Row("always", decided),
    "promotion.metric": Row("exact_match", decided, given=("promotion.min_questions=1",)),
    "promotion.tolerance": Row("0.03", decided, given=("promotion.min_questions=1", "promotion.rule=not_worse")),
    "promotion.min_questions": Row("1", decided),
    "export.merged": Row("false", "export-model/*/*.safetensors"),
    "export.shard_size": Row("1MB", "export-model/merged/*.safetensors"),
    "export.dtype": Row("bf16", "export-model/merged/*.safetensors"),
    "export.gguf": Row("bf16", "export-model/*/README.md"),
    "export.gguf_lora": Row("f16", "export-model/*/README.md"),
    "export.data_license": Row("cc-by-4.0", "export-model/*/README.md"),
}

VALIDATION = "jora_model/training/test_validation.py"
ASKED = "tasks/stages/test_teacher.py::test_every_setting_of_the_teacher_is_live"
ASKING = "tasks/stages/test_teacher.py::test_every_setting_of_the_asking_is_live"

# Settings that another test sees change something: setting -> file::test.
ELSEWHERE = {
    "when_busy": "flows/pipeline/test_turns.py::test_the_next_waits_or_is_cancelled_until_the_holder_dies",
    "storage": "tasks/store/test_remote.py::test_another_machine_finds_everything_at_the_storage",
    "verify": "flows/settings/test_config.py::test_a_store_that_checks_in_full",
    "teacher.kind": "flows/test_teacher.py::test_a_teacher_of_each_kind_to_a_dataset",
    "teacher.base_url": ASKING,
    "teacher.model": ASKED,
    "teacher.api_key_env": "tasks/stages/test_teacher.py::test_a_refusal_is_one_line_and_the_key_is_nowhere",
    "teacher.api_key_secret": "tasks/stages/test_teacher.py::test_a_key_from_a_secret_block",
    "teacher.questions_per_chunk": ASKED,
    "teacher.kinds": ASKED,
    "teacher.max_questions": ASKED,
    "teacher.temperature": ASKED,
    "teacher.seed": ASKED,
    "teacher.max_tokens": ASKED,
    "teacher.structured_output": ASKED,
    "teacher.concurrency": ASKING,
    "teacher.timeout_seconds": ASKING,
    "teacher.max_retries": ASKING,
    "teacher.price_in": ASKING,
    "teacher.price_out": ASKING,
    "teacher.budget_tokens": ASKING,
    "teacher.budget_cost": ASKING,
    "documents.seconds_per_file": "data/documents/test_reading_child.py::test_a_parser_that_never_ends_is_killed",
    "evaluation.dsf": "tasks/stages/test_evaluation.py::test_dsf_learns_as_many_examples_without_documents",
    "evaluation.robustness": "tasks/stages/test_evaluation.py::test_robustness_varies_what_is_shown",
    "evaluation.judge": "tasks/stages/test_judge.py::test_a_judge_of_an_evaluation",
    "embedding.workers": "tasks/stages/test_embedding.py::test_dask_workers_make_the_same_vectors",
    "critic.round_trip_by": "tasks/stages/test_critic.py::test_who_is_asked_is_a_setting",
    "promotion.guards": "data/evaluation/test_champion.py::test_a_guard_that_drops_holds_a_better_model_back",
    "promotion.margin": "data/evaluation/test_champion.py::test_a_guard_that_drops_holds_a_better_model_back",
    "retrieval.min_recall": "tasks/stages/test_retrieval.py::test_a_low_recall_is_told_before_the_dataset_is_built_and_"
    "refused_below_the_floor",
    "index.min_recall": "data/retrieval/test_index_kinds.py::test_an_index_below_the_floor_is_refused",
    "training.validate_every": f"{VALIDATION}::test_validated_every_few_updates_and_at_the_end",
    "training.patience": f"{VALIDATION}::test_early_stop",
    "training.keep_best": f"{VALIDATION}::test_the_best_adapter_is_kept",
}


@pytest.fixture(scope="module")
def other(workshop: Workshop) -> None:
    """What the rows point to in the folder `other`."""
    folder = workshop.folder / "other"
    _, questions = copy_samples(folder, 2)
    # The same question about each document in other words, and answered alike.
    with (folder / "repeated.jsonl").open("w") as file:
        file.write(questions.read_text())
        for document, asked in zip(sorted(Path(workshop.given["corpus"]).iterdir()), SAME_QUESTIONS * 2, strict=False):
            row = {"question": asked, "answer": "not in the documents", "document": document.name}
            file.write(json.dumps(row) + "\n")
    (folder / "half.jsonl").write_text(questions.read_text() + "{\n")
    tiny_base(folder / "base", seed=1)
    template = tiny_base(folder / "dated") / "chat_template.jinja"
    template.write_text("{{ strftime_now('%d %B %Y') }}" + template.read_text())
    foreign_adapter(folder / "adapter", ModelConfig.read(folder / "base"))
    mixed_documents(folder / "mixed")
    rows = datasets.Dataset.from_dict({"text": ["One.", "Two."]})
    datasets.DatasetDict({"train": rows, "test": rows.select([1])}).save_to_disk(folder / "saved")
    reranker_folder(folder / "reranker")
    for name in ("general", "more"):
        records = [{"instruction": f"Say {name} {n}.", "output": str(n)} for n in range(60)]
        (folder / f"{name}.json").write_text(json.dumps(records))
    # MiniLM that takes the first token's state instead of the mean.
    shutil.copytree(resolve_embedder("embedded"), folder / "embedder", copy_function=os.symlink)
    pooling = folder / "embedder" / "1_Pooling" / "config.json"
    fields = json.loads(pooling.read_text())
    pooling.unlink()
    pooling.write_text(json.dumps(fields | {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))


# The settings of the dataset are the fast ones; the others build more, up to a training, and run in `make test-all`.
LIVE = [
    pytest.param(name, marks=() if name.startswith(("raft.", "split.")) else pytest.mark.slow, id=name) for name in ROWS
]


@pytest.mark.usefixtures("other")
@pytest.mark.parametrize("name", LIVE)
def test_every_setting_is_live(workshop: Workshop, name: str) -> None:
    row = ROWS[name]
    to, *given = (text.format(folder=workshop.folder) for text in (row.to, *row.given))
    configs = [workshop.config(*given), workshop.config(*given, f"{name}={to}")]
    assert configs[0] != configs[1], "the row does not change the setting"
    look = row.sees if callable(row.sees) else lambda shop, config: shop.files(config, row.sees)
    assert look(workshop, configs[0]) != look(workshop, configs[1]), f"{name} is dead: {row.to} changes nothing"


def all_settings() -> set[str]:
    names = set()
    for name, info in RunConfig.model_fields.items():
        group = isinstance(info.default, BaseModel)
        names |= {f"{name}.{key}" for key in type(info.default).model_fields} if group else {name}
    return names


def rows_of_training() -> set[str]:
    """The settings that the training tests `test_every_setting...` have parameters for, each {name: other value}."""
    spec = importlib.util.spec_from_file_location(
        "training_tests", TESTS / "jora_model" / "training" / "test_training.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [test for name, test in vars(module).items() if name.startswith("test_every_setting")]
    rows = [row for test in tests for mark in test.pytestmark if mark.name == "parametrize" for row in mark.args[1]]
    return {f"{group}.{name}" for row in rows for name in row for group in ("training", "lora")}


def rows_elsewhere() -> set[str]:
    """The settings of ELSEWHERE; what it says of each is checked."""
    for setting, place in ELSEWHERE.items():
        file, _, test = place.partition("::")
        text = (TESTS / file).read_text()
        assert f"def {test}(" in text and setting.rpartition(".")[2] in text, f"{place} has no row for {setting}"
    return set(ELSEWHERE)


def test_every_setting_has_a_row() -> None:
    settings = all_settings()
    missing = settings - set(ROWS) - rows_of_training() - rows_elsewhere()
    assert not missing, f"settings without a row: {sorted(missing)}; add one that sees something change"
    assert not (set(ROWS) | rows_elsewhere()) - settings, "rows of settings that are no more"
