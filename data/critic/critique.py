"""The critic: keeps the good questions, and rejects each of the others with a reason.

    RawQuestion --length, self-contained--> RawQuestion --grounding (quotes repaired), unanswerable--> Question
                --language, support, numbers, near-duplicates--> Question

Filters that need only the wording run first, since grounding costs more; those that need the document, the quotes and
the oracle run after it. The round trip, which costs generation, is a separate step (round_trip.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from data.critic.filters import (
    Reason,
    language_filter,
    length_reason,
    number_filter,
    reference_reason,
    repetition_filter,
    support_filter,
)
from data.critic.settings import CriticSettings
from data.documents.chunks import Chunk
from data.documents.documents import Document
from data.documents.duplicates import Duplicate
from data.questions.candidates import Embed, ScorePairs
from data.questions.evidence import Support
from data.questions.grounding import Search, ground_questions
from data.questions.questions import Question, QuestionSettings, RawQuestion, Rejected
from data.questions.repair import Repaired, Repairs
from data.questions.unanswerable import reject_answered

#: The last filter: questions that nearly repeat a held-out one.
SPLIT = "split"

AnyQuestion = TypeVar("AnyQuestion", RawQuestion, Question)
#: Wording of each question that the critic checks -> where it was read.
Sources = dict[str, str]


@dataclass(frozen=True, slots=True)
class FilterCount:
    """How many questions one filter kept and rejected."""

    filter: str
    kept: int
    rejected: int


@dataclass(slots=True)
class CriticResult:
    """The questions that the critic kept and rejected.

    Attributes:
        questions: in input order.
        rejected: in the order of the filters, within a filter in input order.
        repaired: quotes that were replaced by the document's own words.
        funnel: the filters that ran, in order.
    """

    questions: list[Question] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    repaired: list[Repaired] = field(default_factory=list)
    funnel: list[FilterCount] = field(default_factory=list)


def filter_questions(
    raw_questions: Sequence[RawQuestion],
    documents: Sequence[Document],
    chunks: Sequence[Chunk],
    grounding: QuestionSettings,
    settings: CriticSettings,
    embed: Embed,
    search: Search,
    duplicates: Sequence[Duplicate] = (),
    score: ScorePairs | None = None,
) -> CriticResult:
    """The grounded questions that pass every filter, and the rejected ones with their reasons.

    Args:
        embed, search, duplicates: see `ground_questions`.
        score: the cross-encoder of retrieval, if there is one; it confirms evidence and finds answers elsewhere.
    """
    result = CriticResult()
    sources = checked_sources(raw_questions, settings)
    raws = list(raw_questions)
    if sources:
        raws = _sift(result, sources, "length", raws, lambda raw: length_reason(raw, settings))
    if sources and settings.self_contained:
        raws = _sift(result, sources, "self-contained", raws, reference_reason)

    repairs = Repairs(settings.repair_edits)
    support = Support(settings.answer_recall, settings.answer_cosine, score)
    result.questions, untied = ground_questions(
        raws, documents, chunks, grounding, embed, search, duplicates, repairs, support
    )
    result.repaired = repairs.done
    result.rejected += untied
    result.funnel.append(FilterCount("grounding", len(result.questions), len(untied)))
    if not all(question.answerable for question in result.questions):
        result.questions, answered = reject_answered(
            result.questions, chunks, grounding.retrieval_depth, embed, search, score
        )
        result.rejected += answered
        result.funnel.append(FilterCount("unanswerable", len(result.questions), len(answered)))

    def sift(name: str, reason_of: Callable[[Question], Reason]) -> None:
        result.questions = _sift(result, sources, name, result.questions, reason_of)

    if sources and settings.languages:
        sift("language", language_filter(documents, settings))
    if sources and (settings.answer_recall is not None or settings.answer_cosine is not None):
        sift("support", support_filter(result.questions, settings, embed))
    if sources and settings.strict_numbers:
        sift("numbers", number_filter(chunks))
    if sources and settings.near_duplicate is not None:
        sift("near-duplicates", repetition_filter(result.questions, settings.near_duplicate, embed, sources))
    return result


def checked_sources(raw_questions: Sequence[RawQuestion], settings: CriticSettings) -> Sources:
    """The questions that the critic checks, each with the location where it was first read."""
    chosen = [raw for raw in raw_questions if settings.judge == "all" or (settings.judge == "written" and raw.written)]
    return {raw.question: raw.source for raw in reversed(chosen)}


def _sift(
    result: CriticResult,
    sources: Sources,
    name: str,
    items: Sequence[AnyQuestion],
    reason_of: Callable[[AnyQuestion], Reason],
) -> list[AnyQuestion]:
    """The questions that pass a filter; adds the others to the rejected ones, and counts both."""
    kept = []
    for item in items:
        source = sources.get(item.question)
        if source is None or (reason := reason_of(item)) is None:
            kept.append(item)
        else:
            result.rejected.append(Rejected(item.question, *reason, source=source))
    result.funnel.append(FilterCount(name, len(kept), len(items) - len(kept)))
    return kept
