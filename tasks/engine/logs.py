"""The logger of stages: Prefect's logger of the run, which the UI shows; outside of a run, Python's."""

import logging

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def run_log() -> Log:
    """The logger of the current run; other threads may use it too."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("tasks")
