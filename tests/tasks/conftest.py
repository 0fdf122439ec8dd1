"""One Prefect server for the whole session, without the parts that only slow tests down."""

import logging
import os
from collections.abc import Iterator

import pytest

# Read when Prefect's settings are first made, so before it is imported; the server and child processes inherit them.
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


@pytest.fixture
def run_log() -> Iterator[list[str]]:
    """What flows and tasks log while the test runs (Prefect's loggers do not reach pytest's)."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Keep()
    loggers = [logging.getLogger(name) for name in ("prefect.task_runs", "prefect.flow_runs")]
    for logger in loggers:
        logger.addHandler(handler)
    yield lines
    for logger in loggers:
        logger.removeHandler(handler)
