"""Requests to /v1/completions."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from flows.serving.request_fields import RequestFields, refuse_unless
from user_error import UserError


class CompletionRequest(RequestFields):
    """The body of a request: prompts that the model continues as they are, without documents and template.

    Attributes:
        prompt: each prompt as text or tokens; a request may give a single one, without the list.
    """

    prompt: list[str | list[int]] = Field(min_length=1)
    echo: bool | None = None
    # Refused unless it changes nothing.
    suffix: Any = None

    @field_validator("prompt", mode="before")
    @classmethod
    def _as_prompts(cls, value: Any) -> list[str | list[int]]:
        prompts = [value] if isinstance(value, str) or _are_tokens(value) else value
        given = isinstance(prompts, list) and prompts
        if given and (all(prompt and isinstance(prompt, str) for prompt in prompts) or all(map(_are_tokens, prompts))):
            return list(prompts)
        raise UserError("give a text, a list of texts, a list of tokens or a list of such lists, none of them empty")

    @field_validator("suffix")
    @classmethod
    def _ends_with_nothing(cls, value: object) -> object:
        refuse_unless(value, ("",), "nothing is put after the answer")
        return value


def _are_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(token) is int for token in value)
