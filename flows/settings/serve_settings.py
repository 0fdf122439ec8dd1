"""Settings of the server: address and limits."""

import ipaddress
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.settings.config import one_line
from user_error import UserError


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
        raise UserError(f"--{one_line(error).replace('_', '-', 1)}") from None
