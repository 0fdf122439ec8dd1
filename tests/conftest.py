"""Settings that catch many kinds of bugs, set before anything imports JAX; and what all tests share.

What is expensive is made once a session: folders for both workers, under a lock; a Prefect server for each worker.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Sharding is tested for real: eight virtual devices on the CPU. Most of a test's time would be LLVM's, which makes fast
# what runs once: without it, tests of small models take a third less.
os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        "--xla_backend_optimization_level=0",
    )
)
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
# Tests run two at a time on as many cores: with threads for both cores, torch's and FAISS's of one test spin while they
# wait for those that the other test has pushed aside, which takes many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nothing in a test may reach for a network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# As `usable_cores` of jora_model.runtime.compilation, which imports JAX.
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# The same small programs are compiled by many tests, and by the next run of them. The directory is the one that
# jora_model.runtime.compilation chooses below `.pytest_cache/xla`, so that tests and jobs share one cache.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).parents[1] / ".pytest_cache" / "xla" / f"{_CORES}-cores")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# Else a program's key holds the folder of the cache, which differs from one work directory to the next.
os.environ["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] = "none"
# Prefect without the parts that only slow tests down. Read when its settings are first made, so before it is imported;
# the server and child processes inherit them.
os.environ.update(
    {
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    }
)


# Every compiled program maps memory, and a process may have 65,530 maps (vm.max_map_count); XLA ends in a segmentation
# fault where there are no more.
_MOST_MAPS = 25_000


@pytest.fixture(autouse=True)
def _few_compiled_programs() -> Iterator[None]:
    """Forgets the compiled programs of this process once there are very many."""
    yield
    maps = Path("/proc/self/maps")
    if "jax" not in sys.modules or not maps.exists():
        return
    with maps.open("rb") as lines:
        if sum(1 for _ in lines) < _MOST_MAPS:
            return
    import gc

    import jax

    from jora_model.generation import decode_programs

    decode_programs.programs.cache_clear()
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """The URL of a running server with a database of its own."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    # The heartbeat's thread takes a second to join at the end of each flow; no variable can say "none".
    with (
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
        prefect_test_harness(server_startup_timeout=180),
    ):
        url = PREFECT_API_URL.value()
        assert url
        yield url


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Return a function that makes a named folder once for all workers; nobody may write to it afterwards."""
    from tasks.store.locks import flocked

    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    shared.mkdir(exist_ok=True)

    def make_once(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with flocked(shared / f"{name}.lock"):
            if not done.exists():
                folder.mkdir()  # fails where the other worker's attempt failed
                make(folder)
                done.touch()
        return folder

    return make_once


@pytest.fixture(scope="session")
def smollm2(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face folder."""
    from jora_model.formats.base import resolve_base
    from jora_model.formats.gguf_import import import_gguf

    return once("smollm2", lambda folder: import_gguf(resolve_base("embedded"), folder))


@pytest.fixture(scope="session")
def finished(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The work directory of a small finished run whose model is the champion; copy it before you write to it."""
    from testing.asked_runs import finished_run

    return once("finished", finished_run) / "work"


@pytest.fixture
def finished_copy(finished: Path, tmp_path: Path) -> Path:
    """The same work directory, copied elsewhere."""
    return Path(shutil.copytree(finished, tmp_path / "copied", symlinks=True))
