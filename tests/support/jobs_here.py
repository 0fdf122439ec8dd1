"""Training and generation in the process of the test, which then imports and compiles once."""

import os
from pathlib import Path

import pytest

import tasks.evaluation
import tasks.export
import tasks.training
from jora_model.generate import generate_answers
from jora_model.job import GenerateJob, ProbeJob, TrainJob, read_job
from jora_model.probe import probe
from jora_model.train import train
from tasks.store import Store

_JOBS = {
    "jora_model.probe": lambda path: probe(read_job(path, ProbeJob)),
    "jora_model.train": lambda path: train(read_job(path, TrainJob)),
    "jora_model.generate": lambda path: generate_answers(read_job(path, GenerateJob)),
}


def run_jobs_here(patch: pytest.MonkeyPatch) -> None:
    """Let stages call what their jobs would call in a process of their own."""

    def run_job(module: str, job_file: Path, **_: object) -> None:
        _JOBS[module](job_file)

    for stages in (tasks.training, tasks.evaluation, tasks.export):
        patch.setattr(stages, "run_job", run_job)


def share_programs(store: Store) -> None:
    """Give a store what an earlier run of the tests compiled."""
    programs = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    programs.mkdir(parents=True, exist_ok=True)
    (store.work_dir / "xla").symlink_to(programs)
