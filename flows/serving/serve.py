"""`jora serve`: the last run's documents and models over HTTP."""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import typer
import uvicorn

from flows.serving.chat_app import ChatApp
from flows.serving.opening import open_last_run
from flows.settings.serve_settings import ServeSettings
from jora_model.generation.engine_thread import EngineThread
from jora_model.spec.settings import GenerationSettings
from tasks.answering.answering import Answering, answer_together
from user_error import UserError

KEY = "JORA_API_KEY"
_SECONDS_TO_FAIL = 5  # after the grace period, to send errors for unfinished answers


def serve(work_dir: str, names: Sequence[str] | None, settings: ServeSettings) -> None:
    """Serve until SIGINT or SIGTERM; running answers then have `grace_seconds` to finish.

    Args:
        names: models, as `open_answering`.

    Raises:
        UserError: the host is not loopback and there is no key; the port is taken; and as `open_last_run`.
    """
    key = os.environ.get(KEY) or None
    if key is None and not settings.loopback:
        raise UserError(f"others can reach {settings.host}: set a key in {KEY}, or listen at 127.0.0.1")
    listening = listen(settings)
    try:
        typer.echo(f"loading the last run in {work_dir} ...", err=True)
        answering, config = open_last_run(work_dir, names, slots=settings.slots, float32=settings.float32)
        for name, reason in answering.left_out.items():
            typer.echo(f"not loaded: {name} ({reason})", err=True)
        warm_up(answering, config.generation)
        with running(answering, config.generation, settings, key) as server:
            host, port = listening.getsockname()[:2]
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            typer.echo(f"models: {', '.join(answering.names)}", err=True)
            typer.echo(f"serving http://{address}/v1 ({'with a key' if key else 'no key needed'})", err=True)
            server.run([listening])
    finally:
        listening.close()


def listen(settings: ServeSettings) -> socket.socket:
    """A listening socket, opened before models are loaded.

    Raises:
        UserError: the address is taken, or is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        address = f"{settings.host}:{settings.port}"
        raise UserError(f"cannot listen at {address} ({error.strerror or error}); choose another --port") from None


def warm_up(answering: Answering, settings: GenerationSettings) -> None:
    """Generate two tokens with each model, so that the first client does not wait for compilation."""
    few = settings.model_copy(update={"max_new_tokens": 2})
    asked = [answering.ask("What is this about?", model) for model in answering.models.values()]
    for _ in answer_together(answering.engine, asked, few):
        pass


@contextmanager
def running(
    answering: Answering, defaults: GenerationSettings, settings: ServeSettings, key: str | None
) -> Iterator["Server"]:
    """A server with its threads, which end with the block."""
    with EngineThread(answering.engine) as thread:
        app = ChatApp(answering, thread, defaults, settings, key)
        try:
            yield Server(app, thread, settings)
        finally:
            app.close()


class Server(uvicorn.Server):
    """Shuts down in order at a signal: refuse new requests, let running ones finish, send errors to the rest."""

    def __init__(self, chat: ChatApp, thread: EngineThread, settings: ServeSettings) -> None:
        super().__init__(
            uvicorn.Config(
                chat.app,
                log_level=logging.INFO,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=int(settings.grace_seconds) + _SECONDS_TO_FAIL,
            )
        )
        self._chat = chat
        self._engine = thread
        self._grace = settings.grace_seconds

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            yield
            # Otherwise uvicorn raises them again, as if the shutdown had failed.
            self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._chat.closing = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._chat.closing = True
        # Closing waits for the engine's step, so it must not run in this thread.
        close = threading.Thread(target=self._engine.close)
        timer = asyncio.get_running_loop().call_later(self._grace, close.start)
        await super().shutdown(sockets)
        timer.cancel()
