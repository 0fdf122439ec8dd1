"""The real server on loopback, in a thread of the test, and helpers of its clients."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest

from flows.serving.serve import listen, running
from flows.settings.config import RunConfig
from flows.settings.serve_settings import ServeSettings
from jora_model.generation.engine import Produced, Request
from jora_model.generation.engine_thread import EngineThread, Listener
from tasks.answering.answering import Answering
from testing.waiting import wait_for

QUESTIONS = ("Who broke a collarbone?", "What must be reported within a day?", "Where is the bakehouse?")
QUIET = {
    "host": "127.0.0.1",
    "port": 0,
    "slots": 4,
    "queue": 8,
    "max_body_bytes": 10_000,
    "max_tokens": 900,
    "request_seconds": 60.0,
    "grace_seconds": 5.0,
    "float32": True,
}


def writing(patch: pytest.MonkeyPatch, tokens: Sequence[int]) -> list[Request]:
    """Every answer of a served model is these tokens, and an end token is not needed; returns the requests."""
    requests: list[Request] = []

    def ask(thread: EngineThread, request: Request, listener: Listener) -> int:
        requests.append(request)
        for place, token in enumerate(tokens, start=1):
            listener(Produced(0, token, "stop" if place == len(tokens) else None))
        return len(requests)

    patch.setattr(EngineThread, "ask", ask)
    return requests


@contextmanager
def serving(answering: Answering, config: RunConfig, key: str | None = None, **changes: Any) -> Iterator[str]:
    """Serve for the block, and yield the server's URL."""
    settings = ServeSettings(**QUIET | changes)
    listening = listen(settings)
    with running(answering, config.generation, settings, key) as server:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        wait_for(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def client(url: str, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=60)


def body(question: str = "Who broke a collarbone?", **more: Any) -> dict[str, Any]:
    return {"model": "latest", "messages": [{"role": "user", "content": question}], **more}


def health(url: str) -> dict[str, Any]:
    return dict(httpx.get(f"{url}/health").json())


def hang_up(url: str, content: dict[str, Any], seconds: float) -> None:
    """Send a request, wait, and close the connection without reading the answer."""
    host, port = url.removeprefix("http://").split(":")
    text = json.dumps(content).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)
        time.sleep(seconds)
