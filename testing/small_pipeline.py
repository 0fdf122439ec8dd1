"""The full pipeline on a few documents and a tiny model, as a flow in this process, for drills."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jora_model.spec.hf_files import ADAPTER_WEIGHTS
from tasks.records.records import list_runs
from tasks.store.store import Store
from testing.jobs_here import share_programs


def small_settings(folder: Path, documents: int = 2) -> dict[str, Any]:
    """Return the fields of a small run's `RunConfig`; its files are in `folder`."""
    from flows.settings.config import load_config
    from testing.small_runs import SMALL, small_sources

    return load_config(None, small_sources(folder, documents), (*SMALL, "training.max_updates=2")).model_dump()


@contextmanager
def quiet_server() -> Iterator[None]:
    """Start a Prefect server for the block, and keep Prefect's log off the terminal."""
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
    from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}),
        prefect_test_harness(server_startup_timeout=180),
    ):
        yield


def run_once(settings: dict[str, Any], work_dir: Path) -> Any:
    """Run the flow `raft-finetune` and return its `Results`. All work directories share compiled programs."""
    from flows.raft import raft_finetune

    if not (work_dir / "xla").exists():
        share_programs(Store(work_dir))
    return raft_finetune(**settings | {"work_dir": str(work_dir)})


def results_of(work_dir: Path) -> dict[str, str]:
    """Return name -> digest of the last run's artifacts, without those that compare it with earlier runs.

    For the adapter it is the digest of the weights: the artifact also holds how long training took.
    """
    store, digests = Store(work_dir), {}
    for name, artifact in list_runs(work_dir)[-1].artifacts.items():
        if name == "adapter":
            digests[name] = store.manifest(artifact).files[ADAPTER_WEIGHTS].sha256
        elif name not in ("diff", "comparison"):
            digests[name] = artifact.digest
    return digests
