"""The teacher's settings: who writes questions and answers, how many, of which kinds, and what that may cost."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data.endpoint.settings import EndpointSettings
from user_error import UserError

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
            raise UserError("every kind has the share 0: give one of them more")
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


class TeacherSettings(EndpointSettings):
    """Who writes the questions and answers: a file, a model behind an OpenAI-compatible server, or one loaded here."""

    WHO: ClassVar[str] = "teacher"
    GROUP: ClassVar[str] = "teacher"

    kind: Literal["given", "endpoint", "local"] = Field(
        default="given",
        description="given: the file of questions; endpoint: a model behind base_url; local: a model loaded here.",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="endpoint: the model's name there. local: like base_model, which it is when left out.",
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
    concurrency: int = Field(default=8, ge=1, le=1024, description="Calls at once; locally, prompts decoded at once.")

    @model_validator(mode="after")
    def _fits_together(self) -> TeacherSettings:
        if self.kind == "endpoint" and not (self.base_url and self.model):
            raise UserError("a teacher of the kind endpoint needs base_url and model: set teacher.base_url and .model")
        return self
