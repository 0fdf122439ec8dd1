"""The tokens of one HTTP request's answers: from the engine's thread to the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from flows.serving.request_fields import Refusal
from jora_model.generation.engine import Produced, Request
from jora_model.generation.engine_thread import EngineThread
from user_error import UserError


class Tokens:
    """Asks when its block begins, and frees the slots when it ends, however it ends.

    with Tokens(thread, requests, "messages") as tokens:
        async for index, produced in tokens:
            ...
            tokens.drop(index)  # no more of this one

    Args:
        param: the field that a prompt which is too long came from.
    """

    def __init__(self, thread: EngineThread, requests: Sequence[Request], param: str) -> None:
        self._thread = thread
        self._requests = requests
        self._param = param
        self._heard: asyncio.Queue[tuple[int, Produced | Exception]] = asyncio.Queue()
        self._numbers: dict[int, int] = {}

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            for index, request in enumerate(self._requests):

                def hear(item: Produced | Exception, index: int = index) -> None:
                    with suppress(RuntimeError):  # the loop is closed
                        loop.call_soon_threadsafe(self._heard.put_nowait, (index, item))

                self._numbers[index] = self._thread.ask(request, hear)
        except RuntimeError:
            self._cancel()
            raise closing() from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancel()

    def drop(self, index: int) -> None:
        """Take no more tokens of a request."""
        if (number := self._numbers.pop(index, None)) is not None:
            self._thread.cancel(number)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[int, Produced]:
        """The next token, with the index of its request; the end is when each has finished or been dropped.

        Raises:
            Refusal: a prompt is too long, or the engine has ended.
        """
        while self._numbers:
            index, item = await self._heard.get()
            if index not in self._numbers:
                continue
            if isinstance(item, UserError):
                raise too_long(str(item).replace("max_new_tokens", "max_tokens"), self._param)
            if isinstance(item, Exception):
                raise closing() from None
            if item.finished:
                del self._numbers[index]
            return index, item
        raise StopAsyncIteration

    def _cancel(self) -> None:
        for index in list(self._numbers):
            self.drop(index)


def too_long(message: str, param: str) -> Refusal:
    """The refusal of a prompt that does not fit."""
    return Refusal(400, message, "context_length_exceeded", param)


def closing() -> Refusal:
    """The refusal of a server that answers no more."""
    return Refusal(
        503, "the server is shutting down, or its generator has failed", "unavailable", headers={"Retry-After": "5"}
    )
