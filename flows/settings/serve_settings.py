"""How a server is set up, and what it lets nobody exceed."""

import ipaddress
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.settings.config import one_line
from user_error import UserError


class ServeSettings(BaseModel):
    """What `jora serve` is given; the defaults are the command line's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1, description="Address to listen at; elsewhere than here with a key.")
    port: int = Field(ge=0, le=65535, description="Port to listen at; 0: any that is free.")
    slots: int = Field(ge=1, le=256, description="Answers that grow at once.")
    queue: int = Field(ge=0, description="Requests that wait beside these; one more gets 429.")
    max_body_bytes: int = Field(ge=1, description="Size of a request; a larger one gets 413.")
    max_tokens: int = Field(ge=1, description="Tokens of an answer that a client may ask for.")
    request_seconds: float = Field(gt=0, description="Time of a request, its wait included; then it gets 504.")
    grace_seconds: float = Field(ge=0, description="At the end, time for the answers that are growing.")

    float32: bool = Field(description="Compute in float32: slower, and no answer depends on who is answered beside it.")

    @property
    def loopback(self) -> bool:
        """Whether nobody but this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def make_settings(**given: Any) -> ServeSettings:
    """Checked settings.

    Raises:
        UserError: a line for the first fault.
    """
    try:
        return ServeSettings(**given)
    except ValidationError as error:
        raise UserError(f"--{one_line(error).replace('_', '-', 1)}") from None
