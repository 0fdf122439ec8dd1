"""Settings of the judge: model, server, number of answers, budget."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from data.endpoint.settings import EndpointSettings
from user_error import UserError


class JudgeSettings(EndpointSettings):
    """A model behind an OpenAI-compatible server that judges answers; off by default."""

    WHO: ClassVar[str] = "judge"
    GROUP: ClassVar[str] = "evaluation.judge"

    temperature: float | None = Field(
        default=0.0, ge=0, description="Sampling temperature; null for servers that accept no temperature."
    )
    max_tokens: int = Field(default=256, ge=1, description="Maximum tokens of a verdict.")
    rungs: tuple[str, ...] = Field(
        default=("base + retrieval", "tuned + retrieval"), description="Rungs whose answers are judged; empty: all."
    )
    max_questions: int | None = Field(
        default=None, ge=1, description="Judge answers to at most this many questions, sampled by evaluation.seed."
    )

    @model_validator(mode="after")
    def _names_both(self) -> JudgeSettings:
        if (self.base_url is None) != (self.model is None):
            raise UserError("evaluation.judge has only one of base_url and model: set both, or neither for no judge")
        return self

    @property
    def enabled(self) -> bool:
        """Whether a judge is configured."""
        return self.base_url is not None
