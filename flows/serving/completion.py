"""Completions: prompts are continued as they are, without documents, template and format."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from data.prompting.growing_answer import GrowingText
from flows.serving.backend import Backend
from flows.serving.chat_reply import DONE, common_fields, event, usage
from flows.serving.completion_request import CompletionRequest
from flows.serving.request_fields import Refusal
from jora_model.spec.settings import GenerationSettings
from tasks.answering.answering import PreparedPrompt
from tasks.answering.asked_models import AskedModel
from user_error import UserError

_FIELD = "prompt"
_TOKENS = 16  # of an answer whose request says nothing, as in OpenAI's API


class _Piece(NamedTuple):
    number: int  # of the prompt
    text: str
    finish: str | None


class CompletionAnswer:
    """The answers to one request, one a prompt, in either form; made by `ask`."""

    def __init__(
        self,
        backend: Backend,
        request: CompletionRequest,
        model: AskedModel,
        prompts: Sequence[PreparedPrompt],
        settings: GenerationSettings,
    ) -> None:
        self._backend = backend
        self._request = request
        self._prompts = prompts
        self._settings = settings
        self._texts = [GrowingText(backend.answering.decode, request.stops) for _ in prompts]
        self._common = {**common_fields("cmpl", model.name), "object": "text_completion"}

    @classmethod
    async def ask(cls, backend: Backend, request: CompletionRequest, model: AskedModel) -> CompletionAnswer:
        """Tokenize the prompts.

        Raises:
            Refusal: they, or the number of tokens, are too many; or a token is not in the vocabulary.
        """
        limits = backend.settings
        settings = request.generation(backend.defaults, limits.max_tokens, _TOKENS)
        if len(request.prompt) > limits.slots + limits.queue:
            most = limits.slots + limits.queue
            raise Refusal(400, f"{len(request.prompt)} prompts; at most {most} a request", "invalid_value", _FIELD)

        def prepare() -> list[PreparedPrompt]:
            return [backend.answering.complete(prompt, model) for prompt in request.prompt]

        try:
            backend.check_length(max(map(len, request.prompt)), _FIELD)
            prompts = await backend.prepare(prepare)
        except UserError as error:
            raise Refusal(400, f"{_FIELD}: {error}", "invalid_value", _FIELD) from None
        return cls(backend, request, model, prompts, settings)

    async def whole(self) -> dict[str, Any]:
        """The body of the complete answers."""
        texts, finishes = [""] * len(self._prompts), [""] * len(self._prompts)
        async with aclosing(self._grow()) as growing:
            async for index, text, finish in growing:
                texts[index] += text
                finishes[index] = finish or ""
        choices = [self._choice(_Piece(index, *one)) for index, one in enumerate(zip(texts, finishes, strict=True))]
        return {**self._common, "choices": choices, "usage": self._usage()}

    async def events(self) -> AsyncGenerator[bytes]:
        """Server-sent events; none before the first token, so that an earlier error can be an HTTP status."""
        none = {"usage": None} if self._request.with_usage else {}
        async with aclosing(self._grow()) as growing:
            async for piece in growing:
                shown = piece.text or piece.finish
                yield event({**self._common, "choices": [self._choice(piece)], **none}) if shown else b""
        last = event({**self._common, "choices": [], "usage": self._usage()}) if self._request.with_usage else b""
        yield last + DONE

    async def _grow(self) -> AsyncGenerator[_Piece]:
        """Yield texts of all prompts as they grow, the last one of each with its finish reason."""
        echoed = list(map(self._echo, range(len(self._prompts))))
        with self._backend.tokens([prompt.request(self._settings) for prompt in self._prompts], _FIELD) as tokens:
            async for index, item in tokens:
                text, finish = self._texts[index], None
                new = echoed[index] + text.feed(item.token)
                echoed[index] = ""
                if text.stopped or item.finished:
                    tokens.drop(index)
                    new += text.finish()
                    finish = "stop" if text.stopped else str(item.finished)
                yield _Piece(index, new, finish)

    def _echo(self, index: int) -> str:
        """The prompt, where it is to be repeated."""
        if not self._request.echo:
            return ""
        prompt = self._request.prompt[index]
        return prompt if isinstance(prompt, str) else self._backend.answering.decode(prompt)

    @staticmethod
    def _choice(piece: _Piece) -> dict[str, Any]:
        return {"index": piece.number, "text": piece.text, "finish_reason": piece.finish, "logprobs": None}

    def _usage(self) -> dict[str, int]:
        return usage(sum(len(prompt.tokens) for prompt in self._prompts), sum(text.tokens for text in self._texts))
