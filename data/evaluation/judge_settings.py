"""The judge's settings: which model behind which server judges answers, how many, and what that may cost."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from data.endpoint.settings import EndpointSettings
from user_error import UserError


class JudgeSettings(EndpointSettings):
    """A model behind an OpenAI-compatible server that judges answers; none by default."""

    WHO: ClassVar[str] = "judge"
    GROUP: ClassVar[str] = "evaluation.judge"

    temperature: float | None = Field(
        default=0.0, ge=0, description="Of the sampling; none leaves it to the server, where it takes no other."
    )
    max_tokens: int = Field(default=256, ge=1, description="Longest verdict, in the model's tokens.")
    rungs: tuple[str, ...] = Field(
        default=("base + retrieval", "tuned + retrieval"), description="Whose answers are judged; empty: of every rung."
    )
    max_questions: int | None = Field(
        default=None, ge=1, description="Judge the answers to at most this many questions, drawn by evaluation.seed."
    )

    @model_validator(mode="after")
    def _names_both(self) -> JudgeSettings:
        if (self.base_url is None) != (self.model is None):
            raise UserError("a judge needs base_url and model: give both, or neither for no judge")
        return self

    @property
    def enabled(self) -> bool:
        """Whether there is a judge."""
        return self.base_url is not None
