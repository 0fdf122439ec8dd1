"""What tests of tasks listen to."""

import logging
from collections.abc import Iterator

import pytest


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
