"""An engine in a thread of its own, so that many threads, or an event loop, can ask one model.

with EngineThread(engine) as thread:
    number = thread.ask(request, hear)      # hear(Produced) for each token, hear(error) where there is none to come
    thread.cancel(number)                   # whoever asked has gone: its slot is free before the next token
"""

import itertools
import logging
import threading
from collections.abc import Callable
from types import TracebackType

from jora_model.generation.engine import Engine, Produced, Request

log = logging.getLogger(__name__)

Hear = Callable[[Produced | Exception], object]


class EngineThread:
    """The only caller of an engine. `hear` is called in its thread, and must return at once.

    Attributes:
        failed: what ended the thread before it was closed; nobody is answered any more.
    """

    def __init__(self, engine: Engine) -> None:
        self.failed: Exception | None = None
        self._engine = engine
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._asked: dict[int, tuple[Request, Hear]] = {}
        self._cancelled: set[int] = set()
        self._closing = False
        # Of this thread alone: the engine's number of a request -> ours, and back, and who listens.
        self._ours: dict[int, int] = {}
        self._theirs: dict[int, int] = {}
        self._hear: dict[int, Hear] = {}
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
    def seated(self) -> int:
        """Answers that grow."""
        return self._engine.seated

    @property
    def waiting(self) -> int:
        """Requests that have no slot yet."""
        return self._engine.waiting + len(self._asked)

    def ask(self, request: Request, hear: Hear) -> int:
        """Let the engine answer a request.

        A ValueError that is heard is the person's: the prompt is empty or too long, or the adapter unknown.

        Returns:
            Its number here, for `cancel`.

        Raises:
            RuntimeError: the thread has ended.
        """
        number = next(self._numbers)
        with self._wake:
            if not self.alive:
                raise RuntimeError("the generator has ended") from self.failed
            self._asked[number] = (request, hear)
            self._wake.notify()
        return number

    def cancel(self, number: int) -> None:
        """Nothing more is heard of a request, once this has come through; unknown or finished: nothing happens."""
        with self._wake:
            if self._asked.pop(number, None) is None:
                self._cancelled.add(number)
            self._wake.notify()

    def close(self) -> None:
        """End the thread; what is not finished hears of it."""
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
            listeners = [*self._hear.values(), *(hear for _, hear in self._asked.values())]
            self._asked.clear()
        for number in list(self._hear):
            self._engine.cancel(self._theirs[number])
            self._forget(number)
        for hear in listeners:
            hear(self.failed or RuntimeError("the generator is closed"))

    def _take(self) -> bool:
        """Hand over what was asked and cancelled; waits where there is nothing else to do. False at the end."""
        with self._wake:
            while not self._closing and self._engine.idle and not self._asked and not self._cancelled:
                self._wake.wait()
            asked, self._asked = self._asked, {}
            cancelled, self._cancelled = self._cancelled, set()
            closing = self._closing
        for number, (request, hear) in asked.items():
            self._submit(number, request, hear)
        for number in cancelled:
            if number in self._hear:
                self._engine.cancel(self._theirs[number])
                self._forget(number)
        return not closing

    def _submit(self, number: int, request: Request, hear: Hear) -> None:
        try:
            theirs = self._engine.submit(request)
        except ValueError as error:
            hear(error)
            return
        self._ours[theirs], self._theirs[number], self._hear[number] = number, theirs, hear

    def _pass_on(self, produced: Produced) -> None:
        # One that was cancelled meanwhile was still in the engine's hands.
        if (number := self._ours.get(produced.request)) is None:
            return
        hear = self._hear[number]
        if produced.finished:
            self._forget(number)
        hear(produced._replace(request=number))

    def _forget(self, number: int) -> None:
        del self._hear[number], self._ours[self._theirs.pop(number)]
