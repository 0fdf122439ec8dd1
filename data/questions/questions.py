"""Questions: as read from a file, as tied to documents and chunks, and as rejected.

RawQuestion --ground_questions (grounding.py)--> Question | Rejected
"""

from __future__ import annotations

import logging
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data.prompting.prompts import is_abstention
from user_error import UserError

log = logging.getLogger(__name__)

QuoteSource = Literal["given", "verbatim", "supported", "none"]
Evidence = Literal["verbatim", "supported", "none"]
TiedBy = Literal["given", "retrieval"]


class QuestionSettings(BaseModel):
    """How questions are tied to documents, chunks and quotes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    evidence: Evidence = Field(
        default="verbatim",
        description="A question without a quote whose answer does not stand in its document: reject it (verbatim); "
        "quote the nearest sentence where critic.answer_recall, critic.answer_cosine or retrieval.reranker confirms "
        "it, else reject it (supported); train it without a quote (none).",
    )
    retrieval_depth: int = Field(
        default=5,
        ge=1,
        description="Number of retrieved chunks to search for the answer of a question without a document; the first "
        "that holds it is the oracle. Unanswerable questions are checked against as many.",
    )

    # A setting of earlier versions, which configurations still have.
    RETIRED: ClassVar[tuple[str, ...]] = ("reject_unquoted",)

    @model_validator(mode="before")
    @classmethod
    def _retired(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "reject_unquoted" not in values:
            return values
        if values["reject_unquoted"] is not True or values.get("evidence", "verbatim") != "verbatim":
            raise UserError(
                "grounding.reject_unquoted is no longer a setting: set grounding.evidence to verbatim (reject answers "
                "that do not stand in their document), supported (quote a sentence whose support is confirmed) or none"
            )
        log.warning("grounding.reject_unquoted=true is the default now (grounding.evidence=verbatim): leave it out")
        return {key: value for key, value in values.items() if key != "reject_unquoted"}


@dataclass(frozen=True, slots=True)
class RawQuestion:
    """A question as read from a file, not yet tied to a document.

    Attributes:
        question, answer: the abstention ("not in the documents") as the answer makes the question an unanswerable one.
            Grounding rejects an empty answer.
        other_answers: further answers that are right as well (SQuAD's other golds).
        quotes: sentences that are said to prove the answer; may be empty. They tie an unanswerable question to its
            chunk.
        document: path, file name, stem or title of its document, or None.
        reason: why the quotes prove the answer, in words, or None.
        source: where it was read, for reports: "questions.jsonl line 12".
        written: a teacher wrote it, not a person; the critic judges those by default.
        extra: what else the file says of it, as plain JSON; carried along and otherwise unused.
    """

    question: str
    answer: str
    quotes: tuple[str, ...] = ()
    document: str | None = None
    reason: str | None = None
    source: str = ""
    written: bool = False
    other_answers: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Question:
    """A question tied to its document, to verbatim quotes and to the chunks that hold the quotes.

    Attributes:
        id: 16 hex digits, a digest of question, answer and the document's path.
        quotes: each equals a slice of its document's text, line breaks included: whole sentences of one chunk
            (`quotable_runs`). None if the question is not answerable, or has no evidence.
        document_id: `Document.id`.
        oracle_ids: `Chunk.id` of the chunks that hold the quotes (the first of overlapping chunks), in the quotes'
            order, each once.
        quote_source: "given" in the file; "verbatim": the sentence that holds the answer; "supported": the nearest
            sentence, where support is confirmed; "none": there is no quote.
        tied_by: "given" if the file named the document, else "retrieval".
        reason: why the quotes prove the answer, as given, or None.
        other_answers: further answers that are right as well.
        extra: as in `RawQuestion`.
    """

    id: str
    question: str
    answer: str
    quotes: tuple[str, ...]
    document_id: str
    oracle_ids: tuple[str, ...]
    quote_source: QuoteSource
    tied_by: TiedBy
    reason: str | None = None
    other_answers: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def answerable(self) -> bool:
        """Whether the documents hold the answer: False if the answer is the abstention."""
        return not is_abstention(self.answer)

    @property
    def answers(self) -> tuple[str, ...]:
        """All answers that are right; the first is the one to train on."""
        return (self.answer, *self.other_answers)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A question that could not be used.

    Attributes:
        question: its wording.
        reason: one of a few fixed phrases, so that they can be counted ("quote not in document").
        detail: for a person to read; may be empty.
        source: where it was read.
    """

    question: str
    reason: str
    detail: str = ""
    source: str = ""


class Unusable(Exception):
    """Raised when a question cannot be used; its fields are those of `Rejected`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


#: What may prove an answer, for counts; "unanswerable" is what nothing proves.
EVIDENCE = ("given", "verbatim", "supported", "none", "unanswerable")


def evidence_of(question: Question) -> str:
    """The kind of a question's evidence, one of `EVIDENCE`."""
    return question.quote_source if question.answerable else "unanswerable"


def count_reasons(rejected: Iterable[Rejected]) -> dict[str, int]:
    """Reason -> number of questions rejected for it, most frequent first, then by name."""
    counts = Counter(item.reason for item in rejected)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def describe_reasons(rejected: Iterable[Rejected]) -> str:
    """The same in one line: `unknown document (3), duplicate (1)`."""
    return ", ".join(f"{reason} ({count})" for reason, count in count_reasons(rejected).items())


def same_wording(question: str) -> str:
    """A key that is equal for questions that differ only in white space, case, Unicode form and final punctuation."""
    folded = unicodedata.normalize("NFKC", question).casefold()
    return " ".join(folded.split()).rstrip("?!. \u3002\u061f\u037e\u0964")
