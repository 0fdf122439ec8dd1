"""Settings of the teacher: the model, how many questions of which kinds, and the budget."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data.endpoint.settings import EndpointSettings
from user_error import UserError

Kind = Literal["fact", "why", "how_to", "compare", "unanswerable"]


class KindShares(BaseModel):
    """Relative frequency of each kind of question; 0: never."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fact: float = Field(default=5, ge=0, allow_inf_nan=False, description="Questions about facts in the text.")
    why: float = Field(default=2, ge=0, allow_inf_nan=False, description="Questions about reasons that the text gives.")
    how_to: float = Field(default=1, ge=0, allow_inf_nan=False, description="Questions about how something is done.")
    compare: float = Field(
        default=1, ge=0, allow_inf_nan=False, description="Questions about two chunks of one document together."
    )
    unanswerable: float = Field(
        default=1,
        ge=0,
        allow_inf_nan=False,
        description="Questions that only sound answerable; the answer abstains.",
    )

    @model_validator(mode="after")
    def _some_kind(self) -> KindShares:
        if not any(self.shares.values()):
            raise UserError("all kinds have the share 0: raise at least one")
        return self

    @property
    def shares(self) -> dict[Kind, float]:
        """The share of each kind, not normalized."""
        return {
            "fact": self.fact,
            "why": self.why,
            "how_to": self.how_to,
            "compare": self.compare,
            "unanswerable": self.unanswerable,
        }


class TeacherSettings(EndpointSettings):
    """The source of questions and answers: a file, a model behind an OpenAI-compatible server, or a local model."""

    WHO: ClassVar[str] = "teacher"
    GROUP: ClassVar[str] = "teacher"

    kind: Literal["given", "endpoint", "local"] = Field(
        default="given",
        description="given: the file of questions; endpoint: a model behind base_url; local: a model run here.",
    )
    model: str | None = Field(
        default=None,
        min_length=1,
        description="endpoint: name of the model on the server. local: as base_model, which is the default.",
    )
    questions_per_chunk: int = Field(default=3, ge=1, le=50, description="Number of questions to request per chunk.")
    kinds: KindShares = Field(default=KindShares(), description="Relative frequency of each kind of question.")
    max_questions: int | None = Field(
        default=None, ge=1, description="Most questions to request in total, about chunks drawn by the seed."
    )
    temperature: float | None = Field(
        default=0.7, ge=0, description="Sampling temperature; null: the server's default (local: 0)."
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Seed of the draws of chunks and kinds; also sent to the server."
    )
    concurrency: int = Field(default=8, ge=1, le=1024, description="Number of concurrent calls; local: batch size.")

    @model_validator(mode="after")
    def _fits_together(self) -> TeacherSettings:
        if self.kind == "endpoint" and not (self.base_url and self.model):
            raise UserError("teacher.kind=endpoint needs base_url and model: set teacher.base_url and teacher.model")
        return self
