"""Training and generation in the process of the test, which then imports and compiles once."""

import importlib
from pathlib import Path

import pytest

import tasks.stages.evaluation
import tasks.stages.export
import tasks.stages.training
from jora_model.spec.job import GenerateJob, ProbeJob, TrainJob, read_job
from tasks.store.store import Store
from testing.programs import shared_programs

# Module of a job -> its function and its settings.
_JOBS: dict[str, tuple[str, type[ProbeJob] | type[TrainJob] | type[GenerateJob]]] = {
    "jora_model.generation.probe": ("probe", ProbeJob),
    "jora_model.training.train": ("train", TrainJob),
    "jora_model.generation.generate": ("generate_answers", GenerateJob),
}


def run_jobs_here(patch: pytest.MonkeyPatch) -> None:
    """Let stages call what their jobs would call in a process of their own."""

    def run_job(module: str, job_file: Path, **_: object) -> None:
        function, kind = _JOBS[module]
        getattr(importlib.import_module(module), function)(read_job(job_file, kind))

    for stages in (tasks.stages.training, tasks.stages.evaluation, tasks.stages.export):
        patch.setattr(stages, "run_job", run_job)


def share_programs(store: Store) -> None:
    """Let the jobs of a store use the compilation cache of all tests."""
    (store.work_dir / "xla").symlink_to(shared_programs())
