"""Progress bars of long stages in Prefect's UI: one artifact per stage, updated now and then."""

import logging
import time
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext, TaskRunContext
from prefect.settings import PREFECT_API_URL

_SECONDS_BETWEEN = 10.0
log = logging.getLogger(__name__)


class Progress:
    """A bar, updated by calls with the done and the total amount; does nothing without a server.

    Errors of the server are ignored: a bar must not fail a run.
    """

    def __init__(self, key: str, what: str) -> None:
        self._artifact: UUID | None = None
        self._last = time.monotonic()
        self._shown = 0.0
        if PREFECT_API_URL.value() and (TaskRunContext.get() or FlowRunContext.get()) is not None:
            try:
                self._artifact = create_progress_artifact(0.0, key=key, description=what)  # type: ignore[assignment]
            except Exception as error:
                log.debug("no progress bar for %s: %s", what, error)

    def __call__(self, done: int, total: int) -> None:
        """Update at most every ten seconds, and at the end."""
        now = time.monotonic()
        if self._artifact is None or not total or (done < total and now - self._last < _SECONDS_BETWEEN):
            return
        share = 100.0 * done / total
        if share == self._shown:
            return
        try:
            update_progress_artifact(self._artifact, share)
        except Exception as error:
            # Given up: with a server that hangs, each further call could wait as long and delay the job's reports.
            self._artifact = None
            log.debug("a progress bar is no longer updated: %s", error)
        self._last, self._shown = time.monotonic(), share
