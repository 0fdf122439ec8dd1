"""Bodies of answers, as OpenAI's servers give them, with what only a model that quotes can add.

content            the answer alone
reasoning_content  what the model wrote before it: reasons and quotes
sources            the chunks that were retrieved, best first
quotes             what was quoted, and the number of the source that it stands in; null: in none, do not rely on it
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from data.prompting.growing_answer import GrowingAnswer
from data.prompting.output_stream import OutputPiece
from tasks.answering.answering import Asked

DONE = b"data: [DONE]\n\n"


class Reply:
    """One answer's bodies, whole or in chunks.

    Args:
        with_usage: chunks have a field for usage, and a last one has the counts.
    """

    def __init__(self, asked: Asked, answer: GrowingAnswer, *, with_usage: bool = False) -> None:
        self._asked = asked
        self._answer = answer
        self._with_usage = with_usage
        self._common = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": asked.model.name,
        }
        self._quoting = self._reasoned = False

    def whole(self, pieces: Sequence[OutputPiece], finish: str) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        deltas = [self._delta(piece) for piece in pieces]
        message = {
            "role": "assistant",
            "content": "".join(delta.get("content", "") for delta in deltas),
            "refusal": None,
            "reasoning_content": "".join(delta.get("reasoning_content", "") for delta in deltas),
        }
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        body = {**self._common, "object": "chat.completion", "choices": [choice], "usage": self._usage()}
        return {**body, "sources": self._sources(), "quotes": self._quotes()}

    def first(self) -> bytes:
        """The chunk that opens a stream, with the sources."""
        return self._chunk({"role": "assistant", "content": ""}, sources=self._sources())

    def more(self, pieces: Sequence[OutputPiece]) -> bytes:
        """Chunks of new pieces; nothing where there is nothing to show."""
        deltas = [delta for piece in pieces if (delta := self._delta(piece))]
        return b"".join(self._chunk(delta) for delta in deltas)

    def last(self, finish: str) -> bytes:
        """The chunks that end a stream, with the quotes, and with the usage where it was asked for."""
        end = self._chunk({}, finish, quotes=self._quotes())
        if self._with_usage:
            body = {**self._common, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()}
            end += event(body)
        return end + DONE

    def _delta(self, piece: OutputPiece) -> dict[str, str]:
        if piece.kind == "answer":
            return {"content": piece.text}
        if piece.kind == "end of quote":
            self._quoting = False
            return {"reasoning_content": '"'}
        text = piece.text
        if piece.kind == "quote" and not self._quoting:
            self._quoting = True
            text = ("\n" if self._reasoned else "") + f'"{text}'
        self._reasoned = True
        return {"reasoning_content": text}

    def _chunk(self, delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        usage = {"usage": None} if self._with_usage else {}
        return event({**self._common, "object": "chat.completion.chunk", "choices": [choice], **usage, **more})

    def _usage(self) -> dict[str, int]:
        prompt, answer = len(self._asked.tokens), self._answer.tokens
        return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}

    def _sources(self) -> list[dict[str, Any]]:
        return [
            {
                "id": chunk.id,
                "document": chunk.document_path,
                "pages": list(chunk.pages),
                "heading": list(chunk.heading_path),
                "text": chunk.text,
            }
            for chunk in self._asked.context
        ]

    def _quotes(self) -> list[dict[str, Any]]:
        found = []
        for quote in self._answer.parsed.quotes:
            chunk = self._asked.source(quote)
            number = None if chunk is None else self._asked.context.index(chunk)
            found.append({"text": quote, "source": number, "place": None if chunk is None else chunk.place})
        return found


def event(body: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()
