"""Requests to /v1/chat/completions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from data.prompting.conversation import Turn
from flows.serving.request_fields import RequestFields, refuse_unless
from flows.settings.serve_settings import ReplyFormat
from user_error import UserError

_NO_TOOLS = "this server calls no tools"
_NEUTRAL: dict[str, tuple[tuple[object, ...], str]] = {
    "tools": (([],), _NO_TOOLS),
    "functions": (([],), _NO_TOOLS),
    "tool_choice": (("none", "auto"), _NO_TOOLS),
    "function_call": (("none", "auto"), _NO_TOOLS),
    "response_format": (({"type": "text"},), "answers are text; no grammar holds them to a form"),
    "modalities": ((["text"],), "answers are text"),
    "audio": ((), "answers are text"),
}
_SYSTEM = ("system", "developer")


class Message(BaseModel):
    """One message. Fields that clients send back from replies, such as `reasoning_content`, are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | None = None
    tool_calls: Any = None

    @field_validator("role", mode="before")
    @classmethod
    def _is_no_tool(cls, value: object) -> object:
        if value in ("tool", "function"):
            raise UserError(f"{_NO_TOOLS}; leave out messages of role {value}")
        return value

    @field_validator("content", mode="before")
    @classmethod
    def _joined(cls, value: object) -> object:
        """Text is given as it is, or as a list of parts."""
        if not isinstance(value, list):
            return value
        parts = [part.get("text") for part in value if isinstance(part, dict) and part.get("type") == "text"]
        texts = [text for text in parts if isinstance(text, str)]
        if len(texts) < len(value):
            raise UserError('this server reads text only: give a text, or parts {"type": "text", "text": "..."}')
        return "\n".join(texts)

    @field_validator("tool_calls")
    @classmethod
    def _calls_no_tools(cls, value: object) -> object:
        refuse_unless(value, ([],), _NO_TOOLS)
        return value

    @property
    def text(self) -> str:
        """The text, or ""."""
        return self.content or ""


class ChatRequest(RequestFields):
    """The body of a request: system messages stand before the task, the last message is the question."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    reply_format: ReplyFormat | None = None
    # Refused unless they change nothing.
    tools: Any = None
    functions: Any = None
    tool_choice: Any = None
    function_call: Any = None
    response_format: Any = None
    modalities: Any = None
    audio: Any = None
    # Ignored: no answer depends on these.
    parallel_tool_calls: Any = None
    reasoning_effort: Any = None
    verbosity: Any = None

    @field_validator(*_NEUTRAL)
    @classmethod
    def _is_supported(cls, value: object, info: Any) -> object:
        refuse_unless(value, *_NEUTRAL[info.field_name])
        return value

    @model_validator(mode="after")
    def _asks_something(self) -> ChatRequest:
        said = self._said
        if not said or said[-1].role != "user" or not said[-1].text.strip():
            raise UserError("messages: the last message must be of role user, with text; it is the question")
        return self

    @property
    def _said(self) -> list[Message]:
        return [message for message in self.messages if message.role not in _SYSTEM]

    @property
    def question(self) -> str:
        """The last message."""
        return self._said[-1].text

    @property
    def system(self) -> str:
        """The system messages, in order."""
        texts = (message.text.strip() for message in self.messages if message.role in _SYSTEM)
        return "\n\n".join(text for text in texts if text)

    @property
    def turns(self) -> list[Turn]:
        """The turns with text before the question, oldest first."""
        return [Turn(message.role, message.text) for message in self._said[:-1] if message.text.strip()]

    @property
    def asked_tokens(self) -> tuple[str, int | None]:
        """The field with the maximum length of the answer, and its value."""
        if self.max_completion_tokens is not None:
            return "max_completion_tokens", self.max_completion_tokens
        return super().asked_tokens
