"""The work directory of a small finished run whose model is registered, and the champion; for those who ask it."""

from pathlib import Path

import pytest
from jobs_here import run_jobs_here, share_programs
from small_runs import SMALL, copy_samples, tiny_base

from flows.config import load_config
from flows.pipeline import Pipeline
from flows.promotion import promote
from tasks.runs import publish_latest
from tasks.store import Store


def finished_run(folder: Path, *sets: str) -> Path:
    """Everything that a run does, in this process; the model writes what random weights write."""
    documents, questions = copy_samples(folder, 2)
    names = {"corpus": documents, "questions": questions, "base_model": tiny_base(folder / "base")}
    options = {name: str(path) for name, path in {**names, "work_dir": folder / "work"}.items()}
    config = load_config(None, options, (*SMALL, "promotion.first=always", *sets))
    store = Store(config.work_dir)
    share_programs(store)
    with pytest.MonkeyPatch.context() as patch:
        run_jobs_here(patch)
        pipeline = Pipeline(store, config, lambda stage, *args: stage.fn(*args))
        pipeline.until("everything")
        promote(pipeline)
    publish_latest(store, pipeline.artifacts, config.model_dump(mode="json"))
    return store.work_dir
