"""Settings of the critic: which questions it checks, and its filters."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from user_error import UserError

Length = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]

#: In `languages`: the language of the question's own document.
SAME_AS_DOCUMENT = "document"


class CriticSettings(BaseModel):
    """Filters of the questions to train on. By default, questions that a person gave are not filtered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    judge: Literal["written", "all", "none"] = Field(
        default="written",
        description="Questions to filter: written (by a teacher), all or none. Quotes are repaired in all questions.",
    )
    repair_edits: int = Field(
        default=2,
        ge=0,
        le=4,
        description="Replace quotes that differ from their document by at most this many characters by the document's "
        "words (at most one per ten characters; quotation marks, dashes and white space are not counted).",
    )
    question_length: tuple[Length, Length] = Field(
        default=(4, 500), description="Least and most characters of a question."
    )
    answer_length: tuple[Length, Length] = Field(
        default=(1, 1000), description="Least and most characters of an answer."
    )
    self_contained: bool = Field(
        default=True,
        description='Reject questions that need their context ("according to the passage", "What did he do?").',
    )
    languages: tuple[str, ...] = Field(
        default=(SAME_AS_DOCUMENT,),
        description=f'Allowed languages, as ISO 639 codes ("en"), or "{SAME_AS_DOCUMENT}" for that of the question\'s '
        "document; empty: any.",
    )
    language_confidence: float = Field(
        default=0.95, gt=0, le=1, description="Least probability of another language to reject a question."
    )
    answer_recall: Share | None = Field(
        default=0.6,
        description="Least share of the answer's content words that its quotes hold; null: no such filter. With the "
        "default, an answer of two words needs both.",
    )
    answer_cosine: Share | None = Field(
        default=None,
        description="Also accept answers in other words whose cosine to their quotes is at least this; null: do not.",
    )
    strict_numbers: bool = Field(
        default=True, description="Reject answers with a number that is not in their oracle chunks."
    )
    near_duplicate: Share | None = Field(
        default=0.95,
        description="Keep one of questions with at least this cosine, similar answers and the same numbers; null: all.",
    )
    round_trip: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Ask a model the questions of training and validation over their oracles, and keep those whose "
        "answer has at least this token F1; null: skip this step, which costs generation.",
    )
    round_trip_by: Literal["base", "teacher"] = Field(
        default="base",
        description="Model of the round trip: the base model, or the teacher that wrote the questions (teacher.kind), "
        "within its budget.",
    )

    @field_validator("question_length", "answer_length")
    @classmethod
    def _fewest_first(cls, value: tuple[int, int]) -> tuple[int, int]:
        if value[0] > value[1]:
            raise UserError(f"the least length, {value[0]}, exceeds the most, {value[1]}: swap them")
        return value

    @field_validator("languages")
    @classmethod
    def _codes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for code in value:
            if code != SAME_AS_DOCUMENT and not re.fullmatch("[a-z]{2,3}", code):
                raise UserError(
                    f'{code!r} is not a language code: give ISO 639 codes such as "en", or "{SAME_AS_DOCUMENT}"'
                )
        return value


def check_critic(settings: CriticSettings) -> None:
    """Check that all languages can be detected, before anything is built.

    Raises:
        UserError: one cannot; names the first.
    """
    codes = [code for code in settings.languages if code != SAME_AS_DOCUMENT]
    if not codes:
        return
    from data.text.languages import known_languages

    known = known_languages()
    if unknown := [code for code in codes if code not in known]:
        raise UserError(f"critic.languages: {unknown[0]!r} cannot be detected. Supported: {', '.join(sorted(known))}")
