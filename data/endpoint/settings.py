"""Settings of calls to an OpenAI-compatible server: address, key, sampling, retries and budget."""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from user_error import UserError


class EndpointSettings(BaseModel):
    """A model behind an OpenAI-compatible server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Its name in messages, and the path of its settings.
    WHO: ClassVar[str] = "model"
    GROUP: ClassVar[str] = ""

    #: Not part of a cache key: fields that do not change the answers.
    NO_INPUT: ClassVar[frozenset[str]] = frozenset(
        {
            "api_key_env",
            "api_key_secret",
            "concurrency",
            "timeout_seconds",
            "max_retries",
            "budget_tokens",
            "budget_cost",
        }
    )

    base_url: str | None = Field(
        default=None, description="Address of an OpenAI-compatible server, such as http://localhost:8000/v1."
    )
    model: str | None = Field(default=None, min_length=1, description="Name of the model on the server.")
    api_key_env: str = Field(
        default="OPENAI_API_KEY", description="Environment variable that holds the API key; may be unset."
    )
    api_key_secret: str | None = Field(
        default=None, min_length=1, description="Prefect Secret block that holds the API key; overrides api_key_env."
    )
    temperature: float | None = Field(default=0.0, ge=0, description="Sampling temperature; null: server default.")
    seed: int = Field(default=0, ge=0, description="Seed sent to the server.")
    max_tokens: int = Field(default=1024, ge=1, description="Most tokens of an answer.")
    structured_output: bool = Field(
        default=True, description="Request JSON by a schema; servers that refuse it are asked without."
    )
    concurrency: int = Field(default=8, ge=1, le=1024, description="Number of concurrent calls.")
    timeout_seconds: float = Field(default=120, gt=0, description="Cancel and retry calls that take longer.")
    max_retries: int = Field(
        default=6, ge=0, description="Most retries of a call after 429, 5xx, time-outs and broken connections."
    )
    price_in: float = Field(default=0, ge=0, description="Price per million prompt tokens, in any currency.")
    price_out: float = Field(default=0, ge=0, description="Price per million answer tokens.")
    budget_tokens: int | None = Field(
        default=None, ge=1, description="Stop before the calls for this corpus exceed this number of tokens (in + out)."
    )
    budget_cost: float | None = Field(
        default=None, gt=0, description="Stop before the calls for this corpus cost more, by price_in and price_out."
    )

    @model_validator(mode="after")
    def _check(self) -> EndpointSettings:
        # Not field by field: the error of a field repeats its value, which may be a key.
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.api_key_env):
            raise UserError(
                "api_key_env must be the name of an environment variable, in capitals, not the key itself: export the "
                "key in that variable"
            )
        if self.base_url is not None:
            parts = urlsplit(self.base_url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise UserError("base_url must be an http or https address, such as http://localhost:8000/v1")
            if parts.username or parts.password or parts.query:
                raise UserError("base_url must not hold a password or query: put the key into the variable api_key_env")
        if self.budget_cost is not None and not (self.price_in or self.price_out):
            raise UserError("budget_cost needs prices: set price_in and price_out, per million tokens")
        return self

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """The cost of tokens of prompts and of answers."""
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6
