"""Requests to /v1/chat/completions with OpenAI's fields, and refusals with OpenAI's error bodies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from flows.settings.config import one_line
from jora_model.spec.settings import GenerationSettings
from user_error import UserError

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
# A lower temperature is treated as 0: sampling equals argmax, and logits divided by it may overflow.
_LOWEST_TEMPERATURE = 1e-3


@dataclass(eq=False)
class Refusal(Exception):
    """An HTTP status with OpenAI's error body."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class _TextPart(_Strict):
    type: Literal["text"]
    text: str


class Message(_Lenient):
    """One message; all but the last of role `user` are accepted and ignored."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[_TextPart] | None = None

    @property
    def text(self) -> str:
        """The text, parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content or ())


class _StreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class _Format(_Strict):
    type: Literal["text"]


_Zero = Annotated[float, Field(ge=0, le=0)] | None
_Empty = Annotated[list[Any], Field(max_length=0)] | None
_Stop = Annotated[str, Field(min_length=1, max_length=256)]


class ChatRequest(_Strict):
    """The body of a request. Unsupported fields that would change the answer are refused, not ignored."""

    messages: list[Message] = Field(min_length=1)
    model: str
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**31)
    stop: _Stop | Annotated[list[_Stop], Field(max_length=4)] | None = None
    n: Literal[1] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    # Accepted with neutral values only.
    presence_penalty: _Zero = None
    frequency_penalty: _Zero = None
    logprobs: Literal[False] | None = None
    top_logprobs: Literal[0] | None = None
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = None
    tools: _Empty = None
    functions: _Empty = None
    tool_choice: Literal["none", "auto"] | None = None
    response_format: _Format | None = None
    modalities: list[Literal["text"]] | None = None
    # Ignored: no answer depends on these.
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    parallel_tool_calls: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    reasoning_effort: Any = None
    verbosity: Any = None

    @model_validator(mode="after")
    def _asks_something(self) -> ChatRequest:
        if not self.question.strip():
            raise UserError("messages: there is no message of role user with text; the last one is the question")
        return self

    @property
    def question(self) -> str:
        """The last message of role `user`; questions are independent of each other."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings that end the answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with token counts."""
        return self.stream_options is not None and self.stream_options.include_usage

    def generation(self, defaults: GenerationSettings, most_tokens: int) -> GenerationSettings:
        """Decoding settings of this request.

        Raises:
            Refusal: more tokens are requested than the server allows.
        """
        tokens = self.max_completion_tokens or self.max_tokens or min(defaults.max_new_tokens, most_tokens)
        if tokens > most_tokens:
            param = "max_completion_tokens" if self.max_completion_tokens else "max_tokens"
            raise Refusal(400, f"{param} is {tokens}; this server allows at most {most_tokens}", None, param)
        temperature = defaults.temperature if self.temperature is None else self.temperature
        top_p = defaults.top_p if self.top_p is None else self.top_p
        drawn = temperature >= _LOWEST_TEMPERATURE
        return GenerationSettings(
            max_new_tokens=tokens,
            temperature=temperature if drawn else 0.0,
            top_k=defaults.top_k if drawn else None,
            top_p=top_p if drawn and top_p != 1 else None,
            seed=defaults.seed if self.seed is None else self.seed,
        )


def read_chat(body: bytes) -> ChatRequest:
    """A checked request.

    Raises:
        Refusal: 400, with the field.
    """
    try:
        return ChatRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = str(first["loc"][0]) if first["loc"] else None
        if first["type"] == "json_invalid":
            raise Refusal(400, f"the body is not valid JSON: {first['msg']}", "invalid_json") from None
        if first["type"] == "extra_forbidden":
            raise Refusal(400, f"unknown or unsupported field: {where}", "unknown_parameter", where) from None
        raise Refusal(400, one_line(error)[:500], "invalid_value", where) from None
