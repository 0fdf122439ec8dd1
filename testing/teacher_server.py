"""A server on loopback that speaks the OpenAI protocol, answers as a function of the prompt, and counts the calls.

It is no model: its questions are made of the sentences that it is shown. A script can let it misbehave.
"""

import hashlib
import json
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_WANTED = re.compile(r"^\d+\. (fact|why|how_to|compare|unanswerable):", re.MULTILINE)
_TEXT = re.compile(r"^Text \d+ \(([^\n]*)\):\n(.*?)(?=^Text \d+ \(|^Write )", re.MULTILINE | re.DOTALL)
_SENTENCE = re.compile(r"[A-Z][^.!?\n]{20,}[.!?]")


@dataclass(frozen=True)
class Reply:
    """What the server sends: a status with a body, or trouble.

    Attributes:
        missing: bytes that are announced and never sent.
        hangs: seconds of silence before anything is sent.
        resets: the connection is torn down instead.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0
    hangs: float = 0.0
    resets: bool = False


# (number of the request, from 0; its body; its headers by lower-case names) -> a reply, or None for a good answer.
Script = Callable[[int, dict[str, Any], Mapping[str, str]], Reply | None]


class TeacherServer:
    """Serves until it is closed; `serve` does both.

    Attributes:
        asked: how often each body was requested, by its digest: that is what would be paid.
        bodies: of all requests, in order.
    """

    def __init__(self, script: Script = lambda number, body, headers: None, seconds: float = 0.0) -> None:
        self.script = script
        self.seconds = seconds
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.busy = self.most_busy = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        """Stop serving and release requests that hang."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _reply(self, body: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.asked[hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()] += 1
            self.busy += 1
            self.most_busy = max(self.busy, self.most_busy)
        reply = self.script(number, body, headers) or Reply(body=completion(good_answer(_prompt(body))))
        self._closing.wait(self.seconds + reply.hangs)
        with self._lock:
            self.busy -= 1
        return reply

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                raw = self.rfile.read(length)
                if len(raw) < length:  # the client died in the middle of its request: nothing was asked
                    self.close_connection = True
                    return
                reply = outer._reply(json.loads(raw), {name.lower(): value for name, value in self.headers.items()})
                if reply.resets:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body) + reply.missing))
                self.end_headers()
                self.wfile.write(reply.body)
                if reply.missing:
                    self.close_connection = True

            def log_message(self, *arguments: object) -> None:
                pass

        class Quiet(Handler):
            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # the client went away
                    self.close_connection = True

            def finish(self) -> None:
                with suppress(OSError, ValueError):
                    super().finish()

        return Quiet


@contextmanager
def serve(script: Script = lambda number, body, headers: None, seconds: float = 0.0) -> Iterator[TeacherServer]:
    """A server for the `with` block.

    Args:
        seconds: how long each answer takes.
    """
    server = TeacherServer(script, seconds)
    try:
        yield server
    finally:
        server.close()


def completion(text: str, tokens: tuple[int, int] | None = (100, 50), finish: str = "stop") -> bytes:
    """An answer in the OpenAI protocol; without tokens the server says nothing about them."""
    content: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "made-up",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}],
    }
    if tokens is not None:
        content["usage"] = {
            "prompt_tokens": tokens[0],
            "completion_tokens": tokens[1],
            "total_tokens": sum(tokens),
        }
    return json.dumps(content).encode()


def good_answer(prompt: str) -> str:
    """Questions of the kinds that the prompt wants, each about a sentence of its texts."""
    kinds = _WANTED.findall(prompt)
    texts = [(heading, _SENTENCE.findall(text) or [text.strip()]) for heading, text in _TEXT.findall(prompt)]
    items = []
    for index, kind in enumerate(kinds):
        used = texts if kind == "compare" else texts[:1]
        quotes = [sentences[index % len(sentences)] for _, sentences in used]
        digest = hashlib.sha256(f"{kind}{index}{quotes}".encode()).hexdigest()
        words = quotes[0].rstrip(".!?").split()
        subject = " ".join(words[:8])
        item = {
            "kind": kind,
            "question": f"What ({digest[:6]}, {kind}) is told of {texts[0][0]}: {subject}?",
            "reason": f"The sentence about {' '.join(words[:3])} says it.",
            "quotes": [] if kind == "unanswerable" else quotes,
            "answer": "not in the documents" if kind == "unanswerable" else " ".join(words[-4:]),
        }
        items.append(item)
    return json.dumps({"questions": items}, ensure_ascii=False)


def _prompt(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])
