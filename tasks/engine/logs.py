"""Where stages log: Prefect's logger of the run, which the UI shows; outside of a run, Python's own."""

import logging

from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def run_log() -> Log:
    """The logger of the current run; good in other threads too, once it is had."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("tasks")
