"""Questions: as a person wrote them, as tied to documents and chunks, and as rejected.

RawQuestion --ground_questions (grounding.py)--> Question | Rejected
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

QuoteSource = Literal["given", "sentence", "nearest"]
TiedBy = Literal["given", "retrieval"]


class QuestionSettings(BaseModel):
    """How questions are tied to documents, chunks and quotes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reject_unquoted: bool = Field(
        default=False,
        description="Reject a question without a quote whose answer does not stand in its document word for word "
        "(instead of quoting the sentence nearest to question and answer).",
    )
    retrieval_depth: int = Field(
        default=5,
        ge=1,
        description="A question without a document is tied to the first of this many retrieved chunks that holds its "
        "answer, or to the first of all when none does.",
    )


@dataclass(frozen=True, slots=True)
class RawQuestion:
    """A question as it stands in a file, not yet tied to a document.

    Attributes:
        question, answer: the answer may be empty (SQuAD 2.0's impossible questions); grounding rejects those. The
            abstention ("not in the documents") as the answer makes the question an unanswerable one.
        quotes: sentences said to prove the answer; empty when the file names none. Of an unanswerable question: what
            it is tied to.
        document: path, file name, stem or title of its document, or None.
        reason: why the quotes prove the answer, in words, or None.
        source: where it was read, for reports: "questions.jsonl line 12".
        written: a teacher wrote it, not a person; the critic judges those by default.
    """

    question: str
    answer: str
    quotes: tuple[str, ...] = ()
    document: str | None = None
    reason: str | None = None
    source: str = ""
    written: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A question tied to its document, to verbatim quotes and to the chunks that hold them.

    Attributes:
        id: 16 hex digits, a digest of question, answer and the document's path.
        quotes: at least one, or none where the answer is the abstention; each equals a slice of its document's text,
            line breaks included.
        document_id: `Document.id`.
        oracle_ids: `Chunk.id` of the chunks that hold the quotes (the first where chunks overlap), in the quotes'
            order, each once.
        quote_source: "given" in the file; the "sentence" that holds the answer; the "nearest" sentence by embedding.
        tied_by: "given" when the file named the document, "retrieval" when it did not.
        reason: why the quotes prove the answer, as given, or None.
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


@dataclass(frozen=True, slots=True)
class Rejected:
    """A question that could not be used.

    Attributes:
        question: its wording.
        reason: one of a few fixed phrases, so that they can be counted ("quote not in document").
        detail: what exactly, for a person; may be empty.
        source: where it was read.
    """

    question: str
    reason: str
    detail: str = ""
    source: str = ""


def same_wording(question: str) -> str:
    """A key that questions share when they differ in white space, case and closing marks only."""
    return " ".join(question.casefold().split()).rstrip("?!. ")
