"""Chat: a follow-up question is rewritten, chunks are retrieved, and the answer is given whole or as it grows."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from data.prompting.conversation import latest_turns, rewritten
from data.prompting.growing_answer import GrowingAnswer, GrowingText
from data.prompting.output_stream import OutputPiece
from flows.serving.backend import Backend
from flows.serving.chat_reply import Reply
from flows.serving.chat_request import ChatRequest
from flows.serving.request_fields import Refusal
from jora_model.spec.settings import GenerationSettings
from tasks.answering.answering import PreparedQuestion
from tasks.answering.asked_models import AskedModel

log = logging.getLogger(__name__)

_FIELD = "messages"
_TOKENS_OF_A_QUESTION = 64


class ChatAnswer:
    """The answer to one chat request, in either form; made by `ask`."""

    def __init__(
        self,
        backend: Backend,
        asked: PreparedQuestion,
        answer: GrowingAnswer,
        reply: Reply,
        settings: GenerationSettings,
    ) -> None:
        self._backend = backend
        self._asked = asked
        self._answer = answer
        self._reply = reply
        self._settings = settings

    @classmethod
    async def ask(cls, backend: Backend, chat: ChatRequest, model: AskedModel) -> ChatAnswer:
        """Prepare the question.

        Raises:
            Refusal: it, or the number of tokens, is too large; or it has earlier turns, which are refused here.
        """
        settings = chat.generation(backend.defaults, backend.settings.max_tokens)
        backend.check_length(len(chat.question) + len(chat.system), _FIELD)
        question = await _question(backend, chat)
        asked = await backend.prepare(lambda: backend.answering.ask(question, model, chat.system))
        answer = asked.answer(chat.stops)
        format_ = chat.reply_format or backend.settings.reply_format
        return cls(backend, asked, answer, Reply(asked, answer, format_, with_usage=chat.with_usage), settings)

    async def whole(self) -> dict[str, Any]:
        """The body of the complete answer."""
        pieces, finish = [], ""
        async with aclosing(self._grow()) as growing:
            async for new, finish in growing:  # noqa: B007  the last one is used
                pieces += new
        return self._reply.complete(pieces, finish)

    async def events(self) -> AsyncGenerator[bytes]:
        """Server-sent events; none before the first token, so that an earlier error can be an HTTP status."""
        opening = self._reply.first()
        async with aclosing(self._grow()) as growing:
            async for pieces, finish in growing:
                yield opening + self._reply.more(pieces) + (self._reply.last(finish) if finish else b"")
                opening = b""

    async def _grow(self) -> AsyncGenerator[tuple[list[OutputPiece], str]]:
        """Yield new pieces, with the finish reason beside the last ones."""
        answer = self._answer
        with self._backend.tokens([self._asked.request(self._settings)], _FIELD) as tokens:
            async for _, item in tokens:
                pieces = answer.feed(item.token)
                if answer.done or item.finished:
                    ended = answer.done
                    pieces += answer.finish()
                    yield pieces, "stop" if ended or answer.stopped else str(item.finished)
                    return
                yield pieces, ""


async def _question(backend: Backend, chat: ChatRequest) -> str:
    """What to ask of the documents: the last message, rewritten where it follows on earlier turns.

    Raises:
        Refusal: there are earlier turns, and they are refused.
    """
    policy, turns = backend.settings.earlier_turns, chat.turns
    if not turns or policy == "ignore":
        return chat.question
    if policy == "refuse":
        message = f"this server answers single questions, and there are {len(turns)} messages before the last one"
        raise Refusal(400, message, "earlier_turns", _FIELD)
    # Half of the model's positions, if a token has two characters or more.
    turns = latest_turns(turns, backend.answering.engine.max_length)
    if not turns:
        return chat.question
    asked = await backend.prepare(lambda: backend.answering.ask_to_rewrite(chat.question, turns))
    text, written = GrowingText(backend.answering.decode, ["\n"]), ""
    few = GenerationSettings(max_new_tokens=_TOKENS_OF_A_QUESTION)
    try:
        with backend.tokens([asked.request(few)], _FIELD) as tokens:
            async for _, item in tokens:
                written += text.feed(item.token).lstrip() if not written else text.feed(item.token)
                if text.stopped:
                    break
    except Refusal as refusal:
        if refusal.status != 400:
            raise
        log.info("a question is asked as it stands: %s", refusal.message)
        return chat.question
    return rewritten(chat.question, turns, written + text.finish())
