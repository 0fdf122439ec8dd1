"""Inputs of small runs of the pipeline: part of the sample corpus, a tiny base model, and settings to match."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.pipeline.stages import Pipeline
from flows.settings.config import RunConfig
from flows.settings.used import GOALS, UNUSED
from jora_model.spec.config import ModelConfig
from jora_model.spec.settings import LoraSettings
from tasks.records.runs import publish_latest
from tasks.store.store import Store
from testing.adapters import nonzero_adapter
from testing.small_tokenizers import llama2_of_samples
from testing.tiny_models import hf_folder

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
# For the tiny base model: short rows and few of everything.
SMALL = (
    "chunking.max_tokens=96",
    "raft.context_chunks=2",
    "raft.max_tokens=384",
    "lora.rank=4",
    "training.row_length=384",
    "training.examples_per_update=4",
    "training.max_updates=1",
    "training.learning_rate=0.01",
    "generation.max_new_tokens=6",
    "evaluation.top_k=2",
    "evaluation.max_questions=3",
    "evaluation.seed=1",
)


def copy_samples(folder: Path, count: int) -> tuple[Path, Path]:
    """Copy the first sample documents and the questions about them below `folder`; return the folder and the file."""
    documents, questions = folder / "documents", folder / "questions.jsonl"
    documents.mkdir(parents=True)
    paths = sorted((SAMPLES / "documents").iterdir())[:count]
    for path in paths:
        shutil.copy(path, documents)
    lines = (SAMPLES / "questions.jsonl").read_text().splitlines(keepends=True)
    names = {path.name for path in paths}
    questions.write_text("".join(line for line in lines if json.loads(line)["document"] in names))
    return documents, questions


def tiny_base(folder: Path, seed: int = 0) -> Path:
    """Write a random model of two layers with a tokenizer of Llama 2's kind."""
    tokenizer = llama2_of_samples()._tokenizer
    hf_folder(folder, seed, vocab_size=len(tokenizer), max_position_embeddings=1024, num_hidden_layers=2)
    tokenizer.save_pretrained(folder)
    return folder


def small_sources(folder: Path, count: int = 2) -> dict[str, str]:
    """Write the inputs of a small run below `folder` and return its options. It uses the tests' compiled programs."""
    from testing.jobs_here import share_programs

    documents, questions = copy_samples(folder, count)
    share_programs(Store(folder / "work"))
    paths = {
        "corpus": documents,
        "questions": questions,
        "base_model": tiny_base(folder / "base"),
        "work_dir": folder / "work",
    }
    return {name: str(path) for name, path in paths.items()}


def as_options(sources: dict[str, str], sets: Sequence[str], command: str = "run") -> list[str]:
    """Return sources, and the settings that a command uses, as its arguments."""
    words = [word for name, value in sources.items() for word in (f"--{name.replace('_', '-')}", value)]
    used = [item for item in sets if item.split(".")[0] not in UNUSED[GOALS[command]]]
    return words + [word for item in used for word in ("--set", item)]


def as_parameters(sources: dict[str, str], sets: Sequence[str]) -> dict[str, Any]:
    """Return sources and settings as parameters of a deployment."""
    parameters: dict[str, Any] = dict(sources)
    for item in sets:
        (group, name), value = item.split("=")[0].split("."), json.loads(item.split("=")[1])
        parameters.setdefault(group, {})[name] = value
    return parameters


def foreign_adapter(folder: Path, config: ModelConfig, rank: int = 4, spread: float = 0.1) -> Path:
    """Write an adapter with B not zero, whose rank is that of SMALL."""
    return nonzero_adapter(folder, config, LoraSettings(rank=rank), seed=7, spread=spread)


def run_here(config: RunConfig, goal: str) -> Store:
    """Run the pipeline to a goal in this process, without Prefect; publish it as the latest run; return its store."""
    store = Store(config.work_dir)
    pipeline = Pipeline(store, config, lambda stage, *args: stage.fn(*args))
    pipeline.until(goal)
    publish_latest(store, pipeline.artifacts, config.model_dump(mode="json"))
    return store
