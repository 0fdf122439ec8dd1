"""Training and generation in the process of the test, which then imports and compiles once."""

import os
from pathlib import Path

import pytest

import tasks.stages.evaluation
import tasks.stages.export
import tasks.stages.training
from jora_model.generation.generate import generate_answers
from jora_model.generation.probe import probe
from jora_model.spec.job import GenerateJob, ProbeJob, TrainJob, read_job
from jora_model.training.train import train
from tasks.store.store import Store

_JOBS = {
    "jora_model.generation.probe": lambda path: probe(read_job(path, ProbeJob)),
    "jora_model.training.train": lambda path: train(read_job(path, TrainJob)),
    "jora_model.generation.generate": lambda path: generate_answers(read_job(path, GenerateJob)),
}


def run_jobs_here(patch: pytest.MonkeyPatch) -> None:
    """Let stages call what their jobs would call in a process of their own."""

    def run_job(module: str, job_file: Path, **_: object) -> None:
        _JOBS[module](job_file)

    for stages in (tasks.stages.training, tasks.stages.evaluation, tasks.stages.export):
        patch.setattr(stages, "run_job", run_job)


def share_programs(store: Store) -> None:
    """Give a store what an earlier run of the tests compiled."""
    programs = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    programs.mkdir(parents=True, exist_ok=True)
    (store.work_dir / "xla").symlink_to(programs)
