"""The teacher's settings: who writes questions and answers, how many, of which kinds, and what that may cost."""

from __future__ import annotations

import re
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

Kind = Literal["fact", "why", "how_to", "compare", "unanswerable"]


class KindShares(BaseModel):
    """How often a question of each kind is asked for, relative to the others; 0 for never."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fact: float = Field(default=5, ge=0, allow_inf_nan=False, description="Asks for something that the text states.")
    why: float = Field(default=2, ge=0, allow_inf_nan=False, description="Asks for a reason that the text gives.")
    how_to: float = Field(default=1, ge=0, allow_inf_nan=False, description="Asks how something is done.")
    compare: float = Field(
        default=1, ge=0, allow_inf_nan=False, description="Asks about two chunks of one document together."
    )
    unanswerable: float = Field(
        default=1, ge=0, allow_inf_nan=False, description="Sounds answerable and is not; the answer is to abstain."
    )

    @model_validator(mode="after")
    def _some_kind(self) -> KindShares:
        if not any(self.shares.values()):
            raise ValueError("every kind has the share 0: give one of them more")
        return self

    @property
    def shares(self) -> dict[Kind, float]:
        """The share of each kind; they add up to anything."""
        return {
            "fact": self.fact,
            "why": self.why,
            "how_to": self.how_to,
            "compare": self.compare,
            "unanswerable": self.unanswerable,
        }


class TeacherSettings(BaseModel):
    """Who writes the questions and answers: a file, a model behind an OpenAI-compatible server, or one loaded here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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

    kind: Literal["given", "endpoint", "local"] = Field(
        default="given",
        description="given: the file of questions; endpoint: a model behind base_url; local: a model loaded here.",
    )
    base_url: str | None = Field(
        default=None, description="Of an OpenAI-compatible server, such as http://localhost:8000/v1."
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="endpoint: the model's name there. local: like base_model, which it is when left out.",
    )
    api_key_env: str = Field(
        default="OPENAI_API_KEY", description="Environment variable that holds the key; it may be unset."
    )
    api_key_secret: str | None = Field(
        default=None, min_length=1, description="Prefect Secret block that holds the key; wins over api_key_env."
    )
    questions_per_chunk: int = Field(default=3, ge=1, le=50, description="Questions asked for about each chunk.")
    kinds: KindShares = Field(default=KindShares(), description="Relative shares of the kinds of questions.")
    max_questions: int | None = Field(
        default=None, ge=1, description="Ask for no more in all, about chunks drawn by the seed."
    )
    temperature: float | None = Field(
        default=0.7, ge=0, description="Of the sampling; none leaves it to the server (locally: 0)."
    )
    seed: int = Field(default=0, ge=0, description="Draws chunks and kinds, and is passed on to the model.")
    max_tokens: int = Field(default=1024, ge=1, description="Longest answer of the model, in its tokens.")
    structured_output: bool = Field(
        default=True, description="Ask the server for JSON of our schema; one that refuses is asked without."
    )
    concurrency: int = Field(default=8, ge=1, le=1024, description="Calls at once; locally, prompts decoded at once.")
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
    def _fits_together(self) -> TeacherSettings:
        # Checked here and not field by field: the error of a field repeats its value, which may be a key.
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", self.api_key_env):
            raise ValueError(
                "api_key_env is the name of an environment variable, in capitals, never the key: export the key there"
            )
        if self.base_url is not None:
            parts = urlsplit(self.base_url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("base_url must be a http or https address, such as http://localhost:8000/v1")
            if parts.username or parts.password or parts.query:
                raise ValueError(
                    "base_url must hold no password and no query: put the key into a variable, api_key_env"
                )
        if self.kind == "endpoint" and not (self.base_url and self.model):
            raise ValueError("a teacher of the kind endpoint needs base_url and model: set teacher.base_url and .model")
        if self.budget_cost is not None and not (self.price_in or self.price_out):
            raise ValueError("budget_cost needs prices: set price_in and price_out, for a million tokens")
        return self

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """What tokens of prompts and of answers cost."""
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6
