"""Runs an engine in its own thread, so that many threads, or an event loop, can use one model.

with EngineThread(engine) as thread:
    number = thread.ask(request, listener)  # listener(Produced) for each token, listener(error) if the answer fails
    thread.cancel(number)                   # frees its slot before the next token
"""

import itertools
import logging
import threading
from collections.abc import Callable
from types import TracebackType

from jora_model.generation.engine import Engine, Produced, Request
from user_error import UserError

log = logging.getLogger(__name__)

Listener = Callable[[Produced | Exception], object]


class EngineThread:
    """The only caller of an engine. Listeners are called in its thread and must not block.

    Attributes:
        failed: the error that ended the thread before it was closed; no request is answered after it.
    """

    def __init__(self, engine: Engine) -> None:
        self.failed: Exception | None = None
        self._engine = engine
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._asked: dict[int, tuple[Request, Listener]] = {}
        self._cancelled: set[int] = set()
        self._closing = False
        # Used by the thread only: the engine's number of a request -> ours, and back, and the listeners.
        self._ours: dict[int, int] = {}
        self._theirs: dict[int, int] = {}
        self._listeners: dict[int, Listener] = {}
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> "EngineThread":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether requests are answered."""
        return not self._closing and self.failed is None

    @property
    def active(self) -> int:
        """Answers in slots."""
        return self._engine.active

    @property
    def waiting(self) -> int:
        """Requests without a slot."""
        return self._engine.waiting + len(self._asked)

    def ask(self, request: Request, listener: Listener) -> int:
        """Queue a request.

        The listener gets a UserError if the prompt is empty or too long, or the adapter unknown.

        Returns:
            Its number, for `cancel`.

        Raises:
            RuntimeError: the thread has ended.
        """
        number = next(self._numbers)
        with self._wake:
            if not self.alive:
                raise RuntimeError("the generator has ended") from self.failed
            self._asked[number] = (request, listener)
            self._wake.notify()
        return number

    def cancel(self, number: int) -> None:
        """Drop a request; its listener is not called after the current step. No-op if it is finished or unknown."""
        with self._wake:
            if self._asked.pop(number, None) is None:
                self._cancelled.add(number)
            self._wake.notify()

    def close(self) -> None:
        """End the thread; listeners of unfinished requests get an error."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._take():
                if not self._engine.idle:
                    for produced in self._engine.step():
                        self._pass_on(produced)
        except Exception as error:
            log.exception("the generator has failed")
            self.failed = error
        with self._wake:
            listeners = [*self._listeners.values(), *(listener for _, listener in self._asked.values())]
            self._asked.clear()
        for number in list(self._listeners):
            self._engine.cancel(self._theirs[number])
            self._forget(number)
        for listener in listeners:
            listener(self.failed or RuntimeError("the generator is closed"))

    def _take(self) -> bool:
        """Submit and cancel requests; waits if the engine is idle. Returns False when the thread is to end."""
        with self._wake:
            while not self._closing and self._engine.idle and not self._asked and not self._cancelled:
                self._wake.wait()
            asked, self._asked = self._asked, {}
            cancelled, self._cancelled = self._cancelled, set()
            closing = self._closing
        for number, (request, listener) in asked.items():
            self._submit(number, request, listener)
        for number in cancelled:
            if number in self._listeners:
                self._engine.cancel(self._theirs[number])
                self._forget(number)
        return not closing

    def _submit(self, number: int, request: Request, listener: Listener) -> None:
        try:
            theirs = self._engine.submit(request)
        except UserError as error:
            listener(error)
            return
        self._ours[theirs], self._theirs[number], self._listeners[number] = number, theirs, listener

    def _pass_on(self, produced: Produced) -> None:
        # Cancelled during the step.
        if (number := self._ours.get(produced.request)) is None:
            return
        listener = self._listeners[number]
        if produced.finished:
            self._forget(number)
        listener(produced._replace(request=number))

    def _forget(self, number: int) -> None:
        del self._listeners[number], self._ours[self._theirs.pop(number)]
