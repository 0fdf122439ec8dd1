"""Settings that catch whole classes of bugs, set before anything imports JAX; one Prefect server for all tests."""

import os
from collections.abc import Iterator
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
# The same small programs are compiled by many tests, and by the next run of them.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).parents[1] / ".pytest_cache" / "xla")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
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
