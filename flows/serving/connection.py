"""One HTTP request at ASGI level: its body within limits, its client's disconnect, its event stream."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Send

from flows.serving.chat_reply import event
from flows.serving.request_fields import Refusal

_SECONDS_TO_READ = 10.0
# Bytes of a too large body that are read and dropped, so that the client gets to read the refusal.
_DROPPED_BYTES = 16 << 20
_SECONDS_TO_SEND = 5.0  # of the last event to a client that does not read


class Gone(Exception):
    """The client has disconnected."""


async def read_body(headers: Headers, receive: Receive, most: int, seconds: float) -> bytes:
    """The body of a JSON request, at most `most` bytes within `seconds`.

    Raises:
        Refusal: 408, 413 or 415.
        Gone: the client has disconnected.
    """
    if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        # A foreign web page can send other types without a CORS preflight.
        raise Refusal(415, "send the body as application/json", "unsupported_media_type")
    try:
        async with asyncio.timeout(min(_SECONDS_TO_READ, seconds)):
            body, length = [], 0
            while True:
                message = await _part(receive)
                part = message.get("body", b"")
                length += len(part)
                if length <= most:
                    body.append(part)
                elif length > most + _DROPPED_BYTES:
                    break
                else:
                    body.clear()
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise Refusal(408, "the body did not arrive in time", "timeout", headers={"Connection": "close"}) from None
    if length > most:
        raise Refusal(413, f"the body is larger than {most} bytes", "body_too_large", headers={"Connection": "close"})
    return b"".join(body)


async def _part(receive: Receive) -> Message:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    return message


async def unless_gone(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do the work and cancel it if the client disconnects; the body must have been read.

    Raises:
        Gone: the client has disconnected.
    """
    task, watcher = asyncio.create_task(work), asyncio.create_task(_part(receive))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone
        task.result()
    finally:
        for one in (task, watcher):
            one.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


class EventStream:
    """A stream of server-sent events.

    Attributes:
        started: whether the HTTP status has been sent.
    """

    def __init__(self, send: Send) -> None:
        self.started = False
        self._send = send

    async def write(self, content: bytes) -> None:
        """Send content; returns when the client has read enough of what was sent before."""
        if not self.started:
            self.started = True
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        if content:
            await self._send({"type": "http.response.body", "body": content, "more_body": True})

    async def end(self) -> None:
        """End the stream."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def fail(self, refusal: Refusal) -> None:
        """Send an error event and end the stream.

        Raises:
            Gone: the client does not read it in time.
        """
        try:
            async with asyncio.timeout(_SECONDS_TO_SEND):
                await self.write(event(refusal.body))
                await self.end()
        except TimeoutError:
            raise Gone from None
