"""The critic's settings: which questions it judges, and by what."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from user_error import UserError

Length = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]

#: Stands in `languages` for whatever the question's own document is written in.
SAME_AS_DOCUMENT = "document"


class CriticSettings(BaseModel):
    """Which questions are good enough to train on. Those that a person gave are taken as they are, unless asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    judge: Literal["written", "all", "none"] = Field(
        default="written",
        description="Questions that are judged: those that a teacher wrote, all, or none. Quotes are repaired in all.",
    )
    repair_edits: int = Field(
        default=2,
        ge=0,
        le=4,
        description="A quote that stands in its document but for this many characters becomes the document's own words "
        "(one for each ten characters of the quote at most; quotation marks, dashes and white space are free).",
    )
    question_length: tuple[Length, Length] = Field(
        default=(4, 500), description="Fewest and most characters of a question."
    )
    answer_length: tuple[Length, Length] = Field(
        default=(1, 1000), description="Fewest and most characters of an answer."
    )
    self_contained: bool = Field(
        default=True,
        description='Reject questions that point outside themselves ("according to the passage", "What did he do?").',
    )
    languages: tuple[str, ...] = Field(
        default=(SAME_AS_DOCUMENT,),
        description=f'Languages of questions, as ISO 639 codes ("en"), or "{SAME_AS_DOCUMENT}" for their document\'s; '
        "any when empty.",
    )
    language_confidence: float = Field(
        default=0.95, gt=0, le=1, description="How sure it must be that a question is in another language."
    )
    answer_recall: Share | None = Field(
        default=0.6,
        description="Share of the answer's content words that must stand in its quotes; null: not asked for. An answer "
        "of two words needs both.",
    )
    answer_cosine: Share | None = Field(
        default=None,
        description="An answer in other words than its quotes is supported too when the cosine of the two is at least "
        "this; null: not asked for.",
    )
    strict_numbers: bool = Field(
        default=True, description="Reject answers with a number that stands nowhere in their oracle chunks."
    )
    near_duplicate: Share | None = Field(
        default=0.95,
        description="Of questions with a cosine of at least this and like answers and numbers one is kept; null: all.",
    )
    round_trip: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Ask a model the questions of training and validation over their oracles, and keep those "
        "whose answer has at least this token F1; null: not asked, since it costs generation.",
    )
    round_trip_by: Literal["base", "teacher"] = Field(
        default="base",
        description="The model that is asked on the round trip: the base model, or the teacher that wrote the "
        "questions (teacher.kind), within its budget.",
    )

    @field_validator("question_length", "answer_length")
    @classmethod
    def _fewest_first(cls, value: tuple[int, int]) -> tuple[int, int]:
        if value[0] > value[1]:
            raise UserError(f"the fewest characters, {value[0]}, are more than the most, {value[1]}: swap them")
        return value

    @field_validator("languages")
    @classmethod
    def _codes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for code in value:
            if code != SAME_AS_DOCUMENT and not re.fullmatch("[a-z]{2,3}", code):
                raise UserError(f'{code!r} is no language: give ISO 639 codes such as "en", or "{SAME_AS_DOCUMENT}"')
        return value


def check_critic(settings: CriticSettings) -> None:
    """Refuses languages that cannot be told, before anything is built.

    Raises:
        UserError: names the first one.
    """
    codes = [code for code in settings.languages if code != SAME_AS_DOCUMENT]
    if not codes:
        return
    from data.text.languages import known_languages

    known = known_languages()
    if unknown := [code for code in codes if code not in known]:
        raise UserError(
            f"critic.languages: {unknown[0]!r} cannot be told from others; known are {', '.join(sorted(known))}"
        )
