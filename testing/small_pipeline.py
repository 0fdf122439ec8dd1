"""The whole pipeline on a few documents and a tiny model, as a flow in this process, for benchmarks of its care."""

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
    """Values of a `RunConfig` without a work directory; the files lie in `folder`."""
    from flows.settings.config import load_config
    from testing.small_runs import SMALL, small_sources

    return load_config(None, small_sources(folder, documents), (*SMALL, "training.max_updates=2")).model_dump()


@contextmanager
def quiet_server() -> Iterator[None]:
    """A Prefect server of its own, and no lines of Prefect's in the terminal."""
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
    from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}),
        prefect_test_harness(server_startup_timeout=180),
    ):
        yield


def run_once(settings: dict[str, Any], work_dir: Path) -> Any:
    """The flow `raft-finetune`, start to end: its `Results`. Programs are compiled once for all work directories."""
    from flows.raft import raft_finetune

    if not (work_dir / "xla").exists():
        share_programs(Store(work_dir))
    return raft_finetune(**settings | {"work_dir": str(work_dir)})


def results_of(work_dir: Path) -> dict[str, str]:
    """Name -> digest of what the last run gave, but for what it says about the one before.

    Of the adapter its weights: how long the training took is in the artifact as well.
    """
    store, found = Store(work_dir), {}
    for name, artifact in list_runs(work_dir)[-1].artifacts.items():
        if name == "adapter":
            found[name] = store.manifest(artifact).files[ADAPTER_WEIGHTS].sha256
        elif name not in ("diff", "comparison"):
            found[name] = artifact.digest
    return found
