"""Settings of the server: address, limits, who may ask, and what a reply looks like."""

import ipaddress
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from flows.settings.config import one_line
from user_error import UserError

ReplyFormat = Literal["answer", "text"]
EarlierTurns = Literal["rewrite", "refuse", "ignore"]

_HOST = re.compile(r"(\*\.)?[\w.-]+|\*|[0-9a-f:]+", re.IGNORECASE)
_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^/\s]+", re.IGNORECASE)


class ServeSettings(BaseModel):
    """Settings of `jora serve`; the command line has the defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1, description="Bind address; any but loopback requires JORA_API_KEY.")
    port: int = Field(ge=0, le=65535, description="Port; 0 picks a free one.")
    slots: int = Field(ge=1, le=256, description="Answers generated at once.")
    queue: int = Field(ge=0, description="Requests that may wait for a slot; one more gets 429.")
    max_body_bytes: int = Field(ge=1, description="Maximum size of a request in bytes; a larger one gets 413.")
    max_tokens: int = Field(ge=1, description="Maximum tokens of an answer.")
    request_seconds: float = Field(
        gt=0, description="Maximum seconds of a request, waiting included; then it gets 504."
    )
    grace_seconds: float = Field(ge=0, description="Seconds to finish running answers at shutdown.")

    float32: bool = Field(description="Compute in float32: slower; answers do not vary with batching.")
    allow_host: tuple[str, ...] = Field(
        (),
        description="Names in the header Host that are answered, beside those of the loopback: server.example, "
        "*.example, or * for all. With none, names are checked on the loopback without a key.",
    )
    allow_origin: tuple[str, ...] = Field(
        (), description="Origins whose web pages may ask from a browser (CORS): https://chat.example, or * for all."
    )
    reply_format: ReplyFormat = Field(
        "answer",
        description='Content of a chat reply: "answer" is the answer alone, with reasons and quotes in '
        'reasoning_content; "text" is all of it as plain text. A request may choose the other.',
    )
    earlier_turns: EarlierTurns = Field(
        "rewrite",
        description='Turns before the question: "rewrite" lets the base model rewrite it to stand alone; "refuse" '
        'answers 400; "ignore" asks the question as it stands.',
    )

    @field_validator("allow_host")
    @classmethod
    def _are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if strange := [name for name in names if not _HOST.fullmatch(name)]:
            raise UserError(f"{strange[0]} is no host name: give it without scheme and port, such as server.example")
        return tuple(name.lower() for name in names)

    @field_validator("allow_origin")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if strange := [origin for origin in origins if not _ORIGIN.fullmatch(origin)]:
            raise UserError(f"{strange[0]} is no origin: give scheme and host, such as https://chat.example, without /")
        return tuple(origin.lower() for origin in origins)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def make_settings(**given: Any) -> ServeSettings:
    """Checked settings.

    Raises:
        UserError: one line for the first error.
    """
    try:
        return ServeSettings(**given)
    except ValidationError as error:
        name, _, rest = one_line(error).partition(":")
        raise UserError(f"--{name.replace('_', '-')}:{rest}") from None
