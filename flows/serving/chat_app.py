"""The OpenAI-compatible interface over an `Answering`: /v1/chat/completions, /v1/models, /health.

A request is let in, read and checked, given chunks by the retriever's thread, and answered by the engine's thread. It
gives its place back however it ends; a client that hangs up ends it where it stands.
"""

import asyncio
import hmac
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from data.prompting.growing_answer import GrowingAnswer
from data.prompting.output_stream import OutputPiece
from flows.serving.chat_reply import Reply
from flows.serving.chat_request import ChatRequest, Refusal, read_chat
from flows.serving.connection import EventStream, Gone, read_body, unless_gone
from flows.settings.serve_settings import ServeSettings
from jora_model.generation.engine import Produced
from jora_model.generation.engine_thread import EngineThread
from jora_model.spec.settings import GenerationSettings
from tasks.answering.answering import Answering, Asked
from tasks.answering.asked_models import AskedModel

log = logging.getLogger(__name__)

_LOOPBACK_NAMES = {"127.0.0.1", "localhost", "::1"}
# A question of more characters for each of the model's positions is not even cut into tokens.
_CHARACTERS_PER_POSITION = 16


class ChatApp:
    """What the server answers with.

    Args:
        key: clients must send it; None: they need none.

    Attributes:
        app: for an ASGI server.
        busy: requests that are let in.
        closing: nobody is let in any more.
    """

    def __init__(
        self,
        answering: Answering,
        thread: EngineThread,
        defaults: GenerationSettings,
        settings: ServeSettings,
        key: str | None,
    ) -> None:
        self.busy = 0
        self.closing = False
        self._answering = answering
        self._thread = thread
        self._defaults = defaults
        self._settings = settings
        self._key = key
        self._seconds = 1.0  # of an answer, lately
        self._began = int(time.time())
        self._retriever = ThreadPoolExecutor(1, "retriever")
        self.app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/v1/models/{name:path}", self._model),
                Route("/v1/chat/completions", _Endpoint(self), methods=["POST"]),
            ],
            exception_handlers={HTTPException: _http_error, Refusal: _refused, Exception: _failed},
        )

    def close(self) -> None:
        """End the retriever's thread; nobody is let in any more."""
        self.closing = True
        self._retriever.shutdown(cancel_futures=True)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request for an answer.

        Raises:
            Refusal: nothing was sent.
        """
        request, limits = Request(scope), self._settings
        self._check_caller(request)
        self._check_room()
        self.busy += 1
        try:
            body = await read_body(request.headers, receive, limits.max_body_bytes, limits.request_seconds)
            chat = read_chat(body)
            model = self._find(chat.model)
            await unless_gone(self._reply(chat, model, scope, receive, send), receive)
        except Gone:
            log.info("a client has hung up")
        finally:
            self.busy -= 1

    async def _reply(self, chat: ChatRequest, model: AskedModel, scope: Scope, receive: Receive, send: Send) -> None:
        stream, began = EventStream(send), time.monotonic()
        try:
            async with asyncio.timeout(self._settings.request_seconds):
                settings = chat.generation(self._defaults, self._settings.max_tokens)
                asked = await self._retrieve(chat.question, model)
                answer = asked.answer(chat.stops)
                reply = Reply(asked, answer, with_usage=chat.with_usage)
                async with aclosing(self._grow(asked, answer, settings)) as growing:
                    if chat.stream:
                        await _stream(stream, reply, growing)
                    else:
                        pieces, finish = [], ""
                        async for new, finish in growing:  # noqa: B007  the last one counts
                            pieces += new
                        await JSONResponse(reply.whole(pieces, finish))(scope, receive, send)
            self._seconds += 0.2 * (time.monotonic() - began - self._seconds)
        except (TimeoutError, Refusal) as error:
            seconds = f"{self._settings.request_seconds:g}"
            refusal = error if isinstance(error, Refusal) else Refusal(504, f"no answer in {seconds} s", "timeout")
            if not stream.started:
                raise refusal from None
            await stream.fail(refusal)

    async def _retrieve(self, question: str, model: AskedModel) -> Asked:
        if len(question) > _CHARACTERS_PER_POSITION * self._answering.engine.max_length:
            raise _too_long(f"the question has {len(question)} characters")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._retriever, self._answering.ask, question, model)
        except RuntimeError:
            if self.closing:
                raise _closing() from None
            raise

    async def _grow(
        self, asked: Asked, answer: GrowingAnswer, settings: GenerationSettings
    ) -> AsyncGenerator[tuple[list[OutputPiece], str]]:
        """New pieces, and with the last ones why it ended; left early, or cancelled, it frees its slot."""
        loop = asyncio.get_running_loop()
        heard: asyncio.Queue[Produced | Exception] = asyncio.Queue()

        def hear(item: Produced | Exception) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody listens
                loop.call_soon_threadsafe(heard.put_nowait, item)

        try:
            number = self._thread.ask(asked.request(settings), hear)
        except RuntimeError:
            raise _closing() from None
        try:
            while True:
                item = await heard.get()
                if isinstance(item, ValueError):
                    raise _too_long(str(item))
                if isinstance(item, Exception):
                    raise _closing() from None
                pieces = answer.feed(item.token)
                if answer.done or item.finished:
                    why = "stop" if answer.done else str(item.finished)
                    yield pieces + answer.finish(), why
                    return
                yield pieces, ""
        finally:
            self._thread.cancel(number)

    def _check_caller(self, request: Request) -> None:
        if self._key is not None:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._key.encode()):
                raise Refusal(
                    401, "a valid key is needed: Authorization: Bearer KEY", "invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )  # fmt: skip
        elif self._settings.loopback and request.url.hostname not in _LOOPBACK_NAMES | {self._settings.host}:
            # A web page whose name was made to mean this machine.
            raise Refusal(403, f"this server is not called {request.url.hostname}", "unknown_host")

    def _check_room(self) -> None:
        if self.closing or not self._thread.alive:
            raise _closing()
        if self.busy >= self._settings.slots + self._settings.queue:
            seconds = math.ceil(self._seconds * self.busy / self._settings.slots)
            wait = str(min(60, max(1, seconds)))
            raise Refusal(429, f"{self.busy} requests are being answered; try again in {wait} s",
                          "too_many_requests", headers={"Retry-After": wait})  # fmt: skip

    def _find(self, name: str) -> AskedModel:
        try:
            return self._answering.find(name)
        except ValueError as error:
            raise Refusal(404, str(error), "model_not_found", "model") from None

    async def _health(self, request: Request) -> Response:
        alive = self._thread.alive and not self.closing
        content = {
            "status": "ok" if alive else "closing" if self.closing else "failed",
            "busy": self.busy,
            "seated": self._thread.seated,
            "waiting": self._thread.waiting,
            "slots": self._settings.slots,
        }
        return JSONResponse(content, 200 if alive else 503)

    async def _models(self, request: Request) -> Response:
        self._check_caller(request)
        return JSONResponse({"object": "list", "data": [self._described(name) for name in self._answering.names]})

    async def _model(self, request: Request) -> Response:
        self._check_caller(request)
        name = request.path_params["name"]
        self._find(name)
        return JSONResponse(self._described(name))

    def _described(self, name: str) -> dict[str, Any]:
        common = {"id": name, "object": "model", "created": self._began, "owned_by": "jora"}
        return {**common, "root": self._find(name).name}


class _Endpoint:
    """Not a function, so that Starlette hands over the connection itself."""

    def __init__(self, app: ChatApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app.answer(scope, receive, send)


async def _stream(stream: EventStream, reply: Reply, growing: AsyncIterator[tuple[list[OutputPiece], str]]) -> None:
    """Nothing is sent before there is a token: what goes wrong until then is a status."""
    async for pieces, finish in growing:
        opening = b"" if stream.started else reply.first()
        await stream.write(opening + reply.more(pieces) + (reply.last(finish) if finish else b""))
    await stream.end()


def _too_long(message: str) -> Refusal:
    return Refusal(400, message, "context_length_exceeded", "messages")


def _closing() -> Refusal:
    return Refusal(
        503, "the server is closing, or its generator has failed", "unavailable", headers={"Retry-After": "5"}
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return JSONResponse(error.body, error.status, dict(error.headers))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    refusal = Refusal(error.status_code, message[:300], None, headers=error.headers or {})
    return await _refused(request, refusal)


async def _failed(request: Request, error: Exception) -> Response:
    return await _refused(request, Refusal(500, "this should not have happened; the server's log has more", "internal"))
