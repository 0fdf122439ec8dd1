"""The work directory of a small finished run whose model is registered, and the champion; for those who ask it."""

from pathlib import Path

import pytest

from flows.pipeline.promotion import promote
from flows.pipeline.stages import Pipeline
from flows.settings.config import load_config
from tasks.records.runs import publish_latest
from tasks.store.store import Store
from testing.jobs_here import run_jobs_here, share_programs
from testing.small_runs import SMALL, copy_samples, tiny_base


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
