"""A trace of a few updates by JAX's profiler."""

import logging
from pathlib import Path
from types import TracebackType

import jax

log = logging.getLogger(__name__)


class Trace:
    """Traces some updates of a run; a context manager, since the run may end before the trace."""

    def __init__(self, folder: Path, count: int, first: int, updates: int):
        """
        Args:
            count: number of updates to trace.
            first: index of this process's first update; it compiles, so the trace starts with the next one.
            updates: number of updates of the run; if the first is the only one, it is traced.
        """
        self._folder = folder
        self._start = min(first + 1, updates - 1)
        self._end = self._start + count
        self._open = False

    def before(self, update: int) -> None:
        """Start or stop the trace; call before each update (from 0)."""
        if update == self._end:
            self._close()
        elif update == self._start:
            jax.profiler.start_trace(str(self._folder))
            self._open = True

    def __enter__(self) -> "Trace":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._open:
            self._open = False
            jax.profiler.stop_trace()
            log.info("trace written to profile/ of the results: open its .trace.json.gz in https://ui.perfetto.dev")
