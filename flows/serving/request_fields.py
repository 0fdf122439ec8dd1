"""What all requests share: sampling fields as OpenAI, vLLM and llama.cpp name them, and refusals in OpenAI's format."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from flows.settings.config import one_line
from jora_model.spec.settings import LOWEST_TEMPERATURE, GenerationSettings
from user_error import UserError

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_SEEDS = 2**32
_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)
# Names of other servers -> ours.
_OTHER_NAMES = {
    "repeat_penalty": "repetition_penalty",
    "num_predict": "max_tokens",
    "n_predict": "max_tokens",
    "max_new_tokens": "max_tokens",
    "stop_sequences": "stop",
    "system": "a message of role system",
    "options": "its fields at the top level",
}
# Field -> (the values that change nothing, why others are refused).
_NEUTRAL: dict[str, tuple[tuple[object, ...], str]] = {
    "n": ((1,), "one answer is given to a request; send several requests"),
    "best_of": ((1,), "one answer is given to a request"),
    "logprobs": ((False,), "log probabilities are not given"),
    "top_logprobs": ((0,), "log probabilities are not given"),
    "prompt_logprobs": ((), "log probabilities are not given"),
    "logit_bias": (({},), "tokens cannot be made more or less likely by name"),
    "min_tokens": ((0,), "an answer ends where the model ends it"),
    "ignore_eos": ((False,), "an answer ends where the model ends it"),
    "skip_special_tokens": ((True,), "special tokens are never part of an answer"),
}


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


class Strict(BaseModel):
    """No other fields, no other types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


_MOST_STOPS, _LONGEST_STOP = 16, 256


def refuse_unless(value: object, neutral: tuple[object, ...], why: str) -> None:
    """Check a field that is accepted with values that change nothing.

    Raises:
        UserError: it has another value.
    """
    if value is not None and not any(value == one and type(value) is type(one) for one in neutral):
        allowed = " or ".join(["null", *map(json.dumps, neutral)])
        raise UserError(f"{why}; leave it out, or give {allowed}")


class RequestFields(Strict):
    """The fields of any request. Unsupported ones that would change the answer are refused, not ignored."""

    model: str
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, lt=2**31)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = Field(None, ge=-1, lt=2**63)
    stop: list[str] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    # Refused unless they change nothing.
    n: Any = None
    best_of: Any = None
    logprobs: Any = None
    top_logprobs: Any = None
    prompt_logprobs: Any = None
    logit_bias: Any = None
    min_tokens: Any = None
    ignore_eos: Any = None
    skip_special_tokens: Any = None
    # Ignored: no answer depends on these.
    user: Any = None
    metadata: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    cache_prompt: Any = None
    keep_alive: Any = None

    @field_validator("stop", mode="before")
    @classmethod
    def _as_stops(cls, value: Any) -> list[str]:
        stops = [value] if isinstance(value, str) else [] if value is None else value
        given = isinstance(stops, list) and len(stops) <= _MOST_STOPS
        if given and all(isinstance(stop, str) and 0 < len(stop) <= _LONGEST_STOP for stop in stops):
            return list(stops)
        raise UserError(f"give a text or a list of at most {_MOST_STOPS}, each of 1 to {_LONGEST_STOP} characters")

    @field_validator(*_NEUTRAL)
    @classmethod
    def _changes_nothing(cls, value: object, info: Any) -> object:
        refuse_unless(value, *_NEUTRAL[info.field_name])
        return value

    @model_validator(mode="after")
    def _options_of_a_stream(self) -> RequestFields:
        if self.stream_options is not None and not self.stream:
            raise UserError("stream_options: they need stream=true")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings that end the answer."""
        return tuple(self.stop or ())

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with token counts."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def asked_tokens(self) -> tuple[str, int | None]:
        """The field with the maximum length of the answer, and its value."""
        return "max_tokens", self.max_tokens

    def generation(
        self, defaults: GenerationSettings, most_tokens: int, tokens: int | None = None
    ) -> GenerationSettings:
        """Decoding settings of this request; those of the run where it has none.

        Args:
            most_tokens: of any answer.
            tokens: of an answer without a maximum; None: those of the run.

        Raises:
            Refusal: more tokens are requested than the server allows.
        """
        param, asked = self.asked_tokens
        if asked is not None and asked > most_tokens:
            raise Refusal(400, f"{param} is {asked}; this server allows at most {most_tokens}", None, param)
        own = {name: value for name in _SAMPLING if (value := getattr(self, name)) is not None}
        values = defaults.model_dump() | own
        values["max_new_tokens"] = asked or min(tokens or defaults.max_new_tokens, most_tokens)
        values["seed"] = _seed(values["seed"])
        drawn = values["temperature"] >= LOWEST_TEMPERATURE
        values["temperature"] = values["temperature"] if drawn else 0.0
        # What changes nothing, by the other servers' conventions.
        for name, off in (("top_k", (-1, 0)), ("top_p", (1,)), ("min_p", (0,))):
            values[name] = None if not drawn or values[name] in off else values[name]
        return GenerationSettings(**values)


def _seed(seed: int) -> int:
    """A seed of `GenerationSettings`: -1 is another one each time, as in vLLM and llama.cpp; a larger one is hashed."""
    if seed == -1:
        return secrets.randbelow(_SEEDS)
    return seed if seed < _SEEDS else int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4])


_Request = TypeVar("_Request", bound=RequestFields)


def read_request(kind: type[_Request], body: bytes) -> _Request:
    """A checked request.

    Raises:
        Refusal: 400, with the field.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = str(first["loc"][0]) if first["loc"] else None
        if first["type"] == "json_invalid":
            raise Refusal(400, f"the body is not valid JSON: {first['msg']}", "invalid_json") from None
        if first["type"] == "extra_forbidden":
            name = ".".join(map(str, first["loc"]))
            hint = f"; write {_OTHER_NAMES[name]}" if name in _OTHER_NAMES else ""
            raise Refusal(400, f"unknown or unsupported field: {name}{hint}", "unknown_parameter", where) from None
        raise Refusal(400, one_line(error)[:500], "invalid_value", where) from None
