"""Response bodies in OpenAI's format, with additional fields for sources and quotes.

content            "answer": the answer alone; "text": reasons, quotes and the answer as plain text
reasoning_content  "answer": the text before the answer, reasons and quotes; "text": nothing
question           what was asked of the documents: the last message, or what it was rewritten to
sources            the retrieved chunks, best first
quotes             the quotes, each with the index of its source; null: in none of them, do not rely on it
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from data.prompting.growing_answer import GrowingAnswer
from data.prompting.output_stream import OutputPiece
from flows.settings.serve_settings import ReplyFormat
from tasks.answering.answering import PreparedQuestion

DONE = b"data: [DONE]\n\n"


class Reply:
    """Response bodies of one answer: complete or as streamed chunks.

    Args:
        with_usage: chunks have a field `usage`, and a last chunk has the counts.
    """

    def __init__(
        self, asked: PreparedQuestion, answer: GrowingAnswer, format_: ReplyFormat, *, with_usage: bool = False
    ) -> None:
        self._asked = asked
        self._answer = answer
        self._with_usage = with_usage
        self._common = common_fields("chatcmpl", asked.model.name)
        self._text = format_ == "text"
        self._quoting = self._reasoned = self._answered = False

    def complete(self, pieces: Sequence[OutputPiece], finish: str) -> dict[str, Any]:
        """The body of an answer without streaming."""
        deltas = [self._delta(piece) for piece in pieces]
        message = {
            "role": "assistant",
            "content": "".join(delta.get("content", "") for delta in deltas),
            "refusal": None,
        }
        if not self._text:
            message["reasoning_content"] = "".join(delta.get("reasoning_content", "") for delta in deltas)
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        body = {**self._common, "object": "chat.completion", "choices": [choice], "usage": self._usage()}
        return {**body, **self._found(), "quotes": self._quotes()}

    def first(self) -> bytes:
        """The first chunk of a stream, with the sources."""
        return self._chunk({"role": "assistant", "content": ""}, **self._found())

    def more(self, pieces: Sequence[OutputPiece]) -> bytes:
        """Chunks of new pieces; empty if no piece has text."""
        deltas = [delta for piece in pieces if (delta := self._delta(piece))]
        return b"".join(self._chunk(delta) for delta in deltas)

    def last(self, finish: str) -> bytes:
        """The last chunks of a stream, with the quotes and, if requested, the usage."""
        end = self._chunk({}, finish, quotes=self._quotes())
        if self._with_usage:
            body = {**self._common, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()}
            end += event(body)
        return end + DONE

    def _delta(self, piece: OutputPiece) -> dict[str, str]:
        field = "content" if self._text else "reasoning_content"
        if piece.kind == "answer":
            # As plain text, an empty line divides it from what is before.
            gap = "\n\n" if self._text and self._reasoned and not self._answered else ""
            self._answered = True
            return {"content": gap + piece.text}
        if piece.kind == "end of quote":
            self._quoting = False
            return {field: '"'}
        text = piece.text
        if piece.kind == "quote" and not self._quoting:
            self._quoting = True
            text = ("\n" if self._reasoned else "") + f'"{text}'
        self._reasoned = True
        return {field: text}

    def _chunk(self, delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        usage = {"usage": None} if self._with_usage else {}
        return event({**self._common, "object": "chat.completion.chunk", "choices": [choice], **usage, **more})

    def _usage(self) -> dict[str, int]:
        return usage(len(self._asked.tokens), self._answer.tokens)

    def _found(self) -> dict[str, Any]:
        sources = [
            {
                "id": chunk.id,
                "document": chunk.document_path,
                "pages": list(chunk.pages),
                "heading": list(chunk.heading_path),
                "text": chunk.text,
            }
            for chunk in self._asked.context
        ]
        return {"question": self._asked.question, "sources": sources}

    def _quotes(self) -> list[dict[str, Any]]:
        quotes = []
        for quote in self._answer.parsed.quotes:
            chunk = self._asked.source(quote)
            number = None if chunk is None else self._asked.context.index(chunk)
            quotes.append({"text": quote, "source": number, "place": None if chunk is None else chunk.place})
        return quotes


def common_fields(kind: str, model: str) -> dict[str, Any]:
    """The fields that a reply and all chunks of it have."""
    return {"id": f"{kind}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}


def usage(prompt: int, answer: int) -> dict[str, int]:
    """OpenAI's counts of tokens."""
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def event(body: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()
