"""What answers the requests: the documents and models, the engine's thread and the retriever's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from flows.serving.request_fields import Refusal
from flows.serving.tokens import Tokens, closing, too_long
from flows.settings.serve_settings import ServeSettings
from jora_model.generation.engine import Request
from jora_model.generation.engine_thread import EngineThread
from jora_model.spec.settings import GenerationSettings
from tasks.answering.answering import Answering
from tasks.answering.asked_models import AskedModel
from user_error import UserError

# A question with more characters than this per position of the model is refused before it is tokenized.
_CHARACTERS_PER_POSITION = 16

_T = TypeVar("_T")


class Backend:
    """The means of all requests.

    Args:
        defaults: settings of decoding that a request may change.

    Attributes:
        closing: whether new requests are refused.
    """

    def __init__(
        self, answering: Answering, thread: EngineThread, defaults: GenerationSettings, settings: ServeSettings
    ) -> None:
        self.answering = answering
        self.thread = thread
        self.defaults = defaults
        self.settings = settings
        self.closing = False
        self._retriever = ThreadPoolExecutor(1, "retriever")

    def close(self) -> None:
        """End the retriever's thread and refuse new requests."""
        self.closing = True
        self._retriever.shutdown(cancel_futures=True)

    @property
    def alive(self) -> bool:
        """Whether requests are answered."""
        return self.thread.alive and not self.closing

    def find(self, name: str) -> AskedModel:
        """The model of a name.

        Raises:
            Refusal: there is none.
        """
        try:
            return self.answering.find(name)
        except UserError as error:
            raise Refusal(404, str(error), "model_not_found", "model") from None

    def check_length(self, characters: int, param: str) -> None:
        """Check what a request brings before it is tokenized, which takes time.

        Args:
            param: the field that the characters, or tokens, come from.

        Raises:
            Refusal: there are too many.
        """
        if characters > _CHARACTERS_PER_POSITION * self.answering.engine.max_length:
            raise too_long(f"{param}: {characters} characters are more than the model can read", param)

    async def prepare(self, make: Callable[[], _T]) -> _T:
        """Tokenize, and retrieve, in the thread for that.

        Raises:
            Refusal: the server is shutting down.
            UserError: as `make`.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._retriever, make)
        except RuntimeError:
            if self.closing:
                raise closing() from None
            raise

    def tokens(self, requests: Sequence[Request], param: str) -> Tokens:
        """The tokens of their answers."""
        return Tokens(self.thread, requests, param)
