"""The OpenAI-compatible API over an `Answering`: /v1/chat/completions, /v1/completions, /v1/models, /health.

A request is admitted, read and checked; the retriever's thread adds chunks and the engine's thread generates. It
frees its slot however it ends; a client that disconnects cancels it at once.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.serving.backend import Backend
from flows.serving.callers import Callers
from flows.serving.chat import ChatAnswer
from flows.serving.chat_request import ChatRequest
from flows.serving.completion import CompletionAnswer
from flows.serving.completion_request import CompletionRequest
from flows.serving.connection import EventStream, Gone, read_body, unless_gone
from flows.serving.request_fields import Refusal, RequestFields, read_request
from flows.serving.tokens import closing
from flows.settings.serve_settings import ServeSettings
from jora_model.generation.engine_thread import EngineThread
from jora_model.spec.settings import GenerationSettings
from tasks.answering.answering import Answering
from tasks.answering.asked_models import AskedModel

log = logging.getLogger(__name__)


class _Answer(Protocol):
    """An answer that is ready to be generated, in one of two forms."""

    async def whole(self) -> dict[str, Any]:
        """The body of the complete answer."""

    def events(self) -> AsyncGenerator[bytes]:
        """Server-sent events."""


_Ask = Callable[[Backend, Any, AskedModel], Awaitable[_Answer]]


class ChatApp:
    """The ASGI application.

    Args:
        key: the API key that clients must send; None: no key.

    Attributes:
        app: the application for an ASGI server.
        busy: number of admitted requests.
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
        self._backend = Backend(answering, thread, defaults, settings)
        self._callers = Callers(settings, key)
        self._settings = settings
        self._seconds = 1.0  # moving average per answer
        self._began = int(time.time())
        chat = _Endpoint(self, ChatRequest, ChatAnswer.ask)
        completions = _Endpoint(self, CompletionRequest, CompletionAnswer.ask)
        app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._models),
                Route("/v1/models/{name:path}", self._model),
                Route("/v1/chat/completions", chat, methods=["POST"]),
                Route("/v1/completions", completions, methods=["POST"]),
            ],
            exception_handlers={HTTPException: _http_error, Refusal: _refused, Exception: _failed},
        )
        self.app: ASGIApp = app if not settings.allow_origin else _for_pages_of(app, settings.allow_origin)

    @property
    def closing(self) -> bool:
        """Whether new requests are refused."""
        return self._backend.closing

    @closing.setter
    def closing(self, value: bool) -> None:
        self._backend.closing = value

    def close(self) -> None:
        """End the retriever's thread and refuse new requests."""
        self._backend.close()

    async def answer(self, kind: type[RequestFields], ask: _Ask, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request for an answer.

        Args:
            kind: its fields.
            ask: makes the answer.

        Raises:
            Refusal: before anything was sent.
        """
        request, limits = Request(scope), self._settings
        self._callers.check(request)
        self._check_room()
        self.busy += 1
        try:
            body = await read_body(request.headers, receive, limits.max_body_bytes, limits.request_seconds)
            asked = read_request(kind, body)
            model = self._backend.find(asked.model)
            await unless_gone(self._reply(asked, model, ask, scope, receive, send), receive)
        except Gone:
            log.info("a client disconnected")
        finally:
            self.busy -= 1

    async def _reply(
        self, asked: RequestFields, model: AskedModel, ask: _Ask, scope: Scope, receive: Receive, send: Send
    ) -> None:
        stream, began = EventStream(send), time.monotonic()
        try:
            async with asyncio.timeout(self._settings.request_seconds):
                answer = await ask(self._backend, asked, model)
                if asked.stream:
                    async with aclosing(answer.events()) as events:
                        async for content in events:
                            await stream.write(content)
                    await stream.end()
                else:
                    await JSONResponse(await answer.whole())(scope, receive, send)
            self._seconds += 0.2 * (time.monotonic() - began - self._seconds)
        except (TimeoutError, Refusal) as error:
            seconds = f"{self._settings.request_seconds:g}"
            refusal = error if isinstance(error, Refusal) else Refusal(504, f"no answer in {seconds} s", "timeout")
            if not stream.started:
                raise refusal from None
            await stream.fail(refusal)

    def _check_room(self) -> None:
        if not self._backend.alive:
            raise closing()
        if self.busy >= self._settings.slots + self._settings.queue:
            seconds = math.ceil(self._seconds * self.busy / self._settings.slots)
            wait = str(min(60, max(1, seconds)))
            raise Refusal(429, f"{self.busy} requests are being answered; try again in {wait} s",
                          "too_many_requests", headers={"Retry-After": wait})  # fmt: skip

    async def _health(self, request: Request) -> Response:
        thread, alive = self._backend.thread, self._backend.alive
        content = {
            "status": "ok" if alive else "closing" if self.closing else "failed",
            "busy": self.busy,
            "seated": thread.active,
            "waiting": thread.waiting,
            "slots": self._settings.slots,
        }
        return JSONResponse(content, 200 if alive else 503)

    async def _models(self, request: Request) -> Response:
        self._callers.check(request)
        names = self._backend.answering.names
        return JSONResponse({"object": "list", "data": [self._described(name) for name in names]})

    async def _model(self, request: Request) -> Response:
        self._callers.check(request)
        return JSONResponse(self._described(request.path_params["name"]))

    def _described(self, name: str) -> dict[str, Any]:
        common = {"id": name, "object": "model", "created": self._began, "owned_by": "jora"}
        return {**common, "root": self._backend.find(name).name}


class _Endpoint:
    """An ASGI application: Starlette would give a function the request without `receive` and `send`."""

    def __init__(self, app: ChatApp, kind: type[RequestFields], ask: _Ask) -> None:
        self._app = app
        self._kind = kind
        self._ask = ask

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app.answer(self._kind, self._ask, scope, receive, send)


def _for_pages_of(app: ASGIApp, origins: tuple[str, ...]) -> ASGIApp:
    """The application, which pages of these origins may call from a browser (CORS)."""
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=("GET", "POST"),
        allow_headers=("*",),
        expose_headers=("Retry-After",),
        allow_private_network=True,
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
    return await _refused(request, Refusal(500, "internal error; see the server's log", "internal"))
