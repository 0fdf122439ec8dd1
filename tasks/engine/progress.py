"""How far a long stage is, as a bar in Prefect's UI: one artifact a stage, brought up to date now and then."""

import logging
import time
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext, TaskRunContext
from prefect.settings import PREFECT_API_URL

_SECONDS_BETWEEN = 10.0
log = logging.getLogger(__name__)


class Progress:
    """Call it with what is done and of how much. Costs nothing where no server is named: nobody could look.

    What the server does not take is left out: a bar is not worth a run.
    """

    def __init__(self, key: str, what: str) -> None:
        self._artifact: UUID | None = None
        self._last = time.monotonic()
        self._shown = 0.0
        if PREFECT_API_URL.value() and (TaskRunContext.get() or FlowRunContext.get()) is not None:
            try:
                self._artifact = create_progress_artifact(0.0, key=key, description=what)  # type: ignore[assignment]
            except Exception as error:
                log.debug("no bar for %s: %s", what, error)

    def __call__(self, done: int, total: int) -> None:
        """At most each ten seconds, and at the end."""
        now = time.monotonic()
        if self._artifact is None or not total or (done < total and now - self._last < _SECONDS_BETWEEN):
            return
        share = 100.0 * done / total
        if share == self._shown:
            return
        try:
            update_progress_artifact(self._artifact, share)
        except Exception as error:
            # Given up: each further call could wait as long for a server that hangs, and a job's reports behind it.
            self._artifact = None
            log.debug("a bar stays as it is: %s", error)
        self._last, self._shown = time.monotonic(), share
