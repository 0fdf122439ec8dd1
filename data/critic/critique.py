"""The critic: which questions are kept, and for each of the others why not.

    RawQuestion --length, self-contained--> RawQuestion --grounding (quotes repaired)--> Question
                --language, support, numbers, near-duplicates--> Question

What can be seen in the wording comes first, since grounding costs more; what needs the document, the quotes and the
oracle comes after it. The round trip, which costs generation, is a step of its own (round_trip.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from data.critic.filters import (
    Fault,
    language_filter,
    length_fault,
    number_filter,
    reference_fault,
    repetition_filter,
    support_filter,
)
from data.critic.settings import CriticSettings
from data.documents.chunks import Chunk
from data.documents.documents import Document
from data.documents.duplicates import Duplicate
from data.questions.grounding import Embed, Search, ground_questions
from data.questions.questions import Question, QuestionSettings, RawQuestion, Rejected
from data.questions.repair import Repaired, Repairs

#: The filter that comes last: a question that nearly repeats a held-out one.
SPLIT = "split"

AnyQuestion = TypeVar("AnyQuestion", RawQuestion, Question)
#: Wording of the questions that are judged -> where they were read.
Sources = dict[str, str]


@dataclass(frozen=True, slots=True)
class Filtered:
    """What one filter did."""

    filter: str
    kept: int
    rejected: int


@dataclass(slots=True)
class Judged:
    """What the critic left.

    Attributes:
        questions: in their first order.
        rejected: by the order of the filters, within a filter in their first order.
        repaired: quotes that became the document's own words.
        funnel: the filters that ran, in order.
    """

    questions: list[Question] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    repaired: list[Repaired] = field(default_factory=list)
    funnel: list[Filtered] = field(default_factory=list)


def judge_questions(
    raw_questions: Sequence[RawQuestion],
    documents: Sequence[Document],
    chunks: Sequence[Chunk],
    grounding: QuestionSettings,
    settings: CriticSettings,
    embed: Embed,
    search: Search,
    duplicates: Sequence[Duplicate] = (),
) -> Judged:
    """Grounds the questions and keeps the good ones.

    Args:
        embed, search, duplicates: as of `ground_questions`.
    """
    judged = Judged()
    sources = judged_sources(raw_questions, settings)
    raws = list(raw_questions)
    if sources:
        raws = _sift(judged, sources, "length", raws, lambda raw: length_fault(raw, settings))
    if sources and settings.self_contained:
        raws = _sift(judged, sources, "self-contained", raws, reference_fault)

    repairs = Repairs(settings.repair_edits)
    judged.questions, untied = ground_questions(raws, documents, chunks, grounding, embed, search, duplicates, repairs)
    judged.repaired = repairs.done
    judged.rejected += untied
    judged.funnel.append(Filtered("grounding", len(judged.questions), len(untied)))

    def sift(name: str, fault_of: Callable[[Question], Fault]) -> None:
        judged.questions = _sift(judged, sources, name, judged.questions, fault_of)

    if sources and settings.languages:
        sift("language", language_filter(documents, settings))
    if sources and (settings.answer_recall is not None or settings.answer_cosine is not None):
        sift("support", support_filter(judged.questions, settings, embed))
    if sources and settings.strict_numbers:
        sift("numbers", number_filter(chunks))
    if sources and settings.near_duplicate is not None:
        sift("near-duplicates", repetition_filter(judged.questions, settings.near_duplicate, embed, sources))
    return judged


def judged_sources(raw_questions: Sequence[RawQuestion], settings: CriticSettings) -> Sources:
    """The questions that are judged, with the (first) place where each was read."""
    chosen = [raw for raw in raw_questions if settings.judge == "all" or (settings.judge == "written" and raw.written)]
    return {raw.question: raw.source for raw in reversed(chosen)}


def count_reasons(rejected: Sequence[Rejected]) -> dict[str, int]:
    """Reason -> how many, the commonest first and then by name."""
    counts = Counter(item.reason for item in rejected)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _sift(
    judged: Judged,
    sources: Sources,
    name: str,
    items: Sequence[AnyQuestion],
    fault_of: Callable[[AnyQuestion], Fault],
) -> list[AnyQuestion]:
    """The questions without fault; the others go to the rejected ones, and both are counted."""
    kept = []
    for item in items:
        source = sources.get(item.question)
        if source is None or (fault := fault_of(item)) is None:
            kept.append(item)
        else:
            judged.rejected.append(Rejected(item.question, *fault, source=source))
    judged.funnel.append(Filtered(name, len(kept), len(items) - len(kept)))
    return kept
