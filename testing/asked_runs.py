"""A small finished run whose model is registered and the champion."""

from pathlib import Path

import pytest

from flows.pipeline.promotion import promote
from flows.pipeline.stages import Pipeline
from flows.settings.config import load_config
from tasks.records.runs import publish_latest
from tasks.store.store import Store
from testing.jobs_here import run_jobs_here
from testing.small_runs import SMALL, small_sources


def finished_run(folder: Path, *sets: str) -> Path:
    """Run all stages in this process, with random weights, and return the work directory."""
    answers = "generation.max_new_tokens=24"
    config = load_config(None, small_sources(folder), (*SMALL, answers, "promotion.first=always", *sets))
    store = Store(config.work_dir)
    with pytest.MonkeyPatch.context() as patch:
        run_jobs_here(patch)
        pipeline = Pipeline(store, config, lambda stage, *args: stage.fn(*args))
        pipeline.until("everything")
        promote(pipeline)
    publish_latest(store, pipeline.artifacts, config.model_dump(mode="json"))
    return store.work_dir
