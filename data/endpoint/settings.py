"""How an OpenAI-compatible server is asked, for questions or for verdicts: where, with which key, for how much."""

from __future__ import annotations

import re
from typing import ClassVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from user_error import UserError


class EndpointSettings(BaseModel):
    """A model behind a server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: What messages call it, and where its settings stand.
    WHO: ClassVar[str] = "model"
    GROUP: ClassVar[str] = ""

    #: Fields that change how the answers are had, and not the answers: no part of a cache key.
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
        default=None, description="Of an OpenAI-compatible server, such as http://localhost:8000/v1."
    )
    model: str | None = Field(default=None, min_length=1, description="The model's name there.")
    api_key_env: str = Field(
        default="OPENAI_API_KEY", description="Environment variable that holds the key; it may be unset."
    )
    api_key_secret: str | None = Field(
        default=None, min_length=1, description="Prefect Secret block that holds the key; wins over api_key_env."
    )
    temperature: float | None = Field(default=0.0, ge=0, description="Of the sampling; none leaves it to the server.")
    seed: int = Field(default=0, ge=0, description="Passed on to the model.")
    max_tokens: int = Field(default=1024, ge=1, description="Longest answer of the model, in its tokens.")
    structured_output: bool = Field(
        default=True, description="Ask the server for JSON of our schema; one that refuses is asked without."
    )
    concurrency: int = Field(default=8, ge=1, le=1024, description="Calls at once.")
    timeout_seconds: float = Field(default=120, gt=0, description="A call that takes longer is given up and repeated.")
    max_retries: int = Field(
        default=6, ge=0, description="Further attempts of a call after 429, 5xx, time-outs and broken connections."
    )
    price_in: float = Field(default=0, ge=0, description="Price of a million tokens of prompts, in any currency.")
    price_out: float = Field(default=0, ge=0, description="Price of a million tokens of answers.")
    budget_tokens: int | None = Field(
        default=None, ge=1, description="Stop before the calls for this corpus take more tokens, both ways together."
    )
    budget_cost: float | None = Field(
        default=None, gt=0, description="Stop before the calls for this corpus cost more, by price_in and price_out."
    )

    @model_validator(mode="after")
    def _can_be_asked(self) -> EndpointSettings:
        # Checked here and not field by field: the error of a field repeats its value, which may be a key.
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.api_key_env):
            raise UserError(
                "api_key_env is the name of an environment variable, in capitals, never the key: export the key there"
            )
        if self.base_url is not None:
            parts = urlsplit(self.base_url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise UserError("base_url must be a http or https address, such as http://localhost:8000/v1")
            if parts.username or parts.password or parts.query:
                raise UserError("base_url must hold no password and no query: put the key into a variable, api_key_env")
        if self.budget_cost is not None and not (self.price_in or self.price_out):
            raise UserError("budget_cost needs prices: set price_in and price_out, for a million tokens")
        return self

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """What tokens of prompts and of answers cost."""
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6
