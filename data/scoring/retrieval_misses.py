"""Why retrieval misses the oracles of questions: what the missed ones have in common, and the setting to try.

The settings that decide are of several groups; the cause tells which of them to change first.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.questions.questions import Question
from data.retrieval.retriever import Retriever
from data.text.words import WORD
from user_error import UserError

log = logging.getLogger(__name__)

FIRST = 5  # chunks that count as found
#: Recall below which a run is warned.
LOW_RECALL = 0.5
_ALIKE = 0.95  # cosine of two chunks that say nearly the same
_SAMPLE = 500  # chunks that tell how frequent a word is
_FREQUENT = 0.05  # share of the chunks above which a word names nothing
_MOST = 0.5  # share of the missed questions that makes a cause
_BETTER = 0.05  # gain in recall that makes another step of retrieval the better one


@dataclass(frozen=True, slots=True)
class MissCounts:
    """What the last step of retrieval finds among the first `FIRST` chunks.

    Attributes:
        questions: their number.
        missed: of which no oracle is found.
        of_document: missed ones of which another chunk of the document is found.
        alike: missed ones of which a chunk is found that nearly repeats an oracle.
        unnamed: missed ones without a word that their document holds and most others do not.
    """

    questions: int = 0
    missed: int = 0
    of_document: int = 0
    alike: int = 0
    unnamed: int = 0


class Misses:
    """Counts the questions that retrieval misses, and what they have in common."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._questions = 0
        self._missed: list[tuple[Question, Sequence[str]]] = []

    def add(self, question: Question, found: Sequence[str]) -> None:
        """Takes a question and the ids of the chunks that retrieval finds for it, the first `FIRST` of them."""
        self._questions += 1
        if not set(question.oracle_ids) & set(found):
            self._missed.append((question, found))

    def counts(self) -> MissCounts:
        """The counts over all questions that were added."""
        chunks_of = self._retriever.chunks_of
        common = self._frequent_words() if self._missed else frozenset()
        return MissCounts(
            questions=self._questions,
            missed=len(self._missed),
            of_document=sum(any(name in chunks_of(q.document_id) for name in found) for q, found in self._missed),
            alike=sum(self._is_alike(question, found) for question, found in self._missed),
            unnamed=sum(self._is_unnamed(question, common) for question, _ in self._missed),
        )

    def _is_alike(self, question: Question, found: Sequence[str]) -> bool:
        if not found:
            return False
        vectors = self._retriever.vectors_of
        cosines = vectors(question.oracle_ids) @ vectors(found).T
        return bool(np.max(cosines) >= _ALIKE)

    def _frequent_words(self) -> frozenset[str]:
        ids = self._retriever.chunk_ids
        sample = ids[:: max(1, len(ids) // _SAMPLE)]
        counts = Counter(word for name in sample for word in self._words(name))
        most = max(2.0, _FREQUENT * len(sample))
        return frozenset(word for word, count in counts.items() if count > most)

    def _is_unnamed(self, question: Question, frequent: frozenset[str]) -> bool:
        asked = set(WORD.findall(question.question.casefold())) - frequent
        return not any(asked & self._words(name) for name in self._retriever.chunks_of(question.document_id))

    def _words(self, chunk_id: str) -> set[str]:
        return set(WORD.findall(self._retriever.search_text(chunk_id).casefold()))


def mean_recall(rows: Sequence[Mapping[str, Any]], key: str = f"recall_at_{FIRST}") -> dict[str, float]:
    """The mean of a score over the questions of all parts, for each step of retrieval; the last ranks what is used.

    Args:
        rows: of `measure_retrieval`.
    """
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for row in rows:
        sums[row["step"]] = sums.get(row["step"], 0.0) + row["questions"] * row[key]["value"]
        counts[row["step"]] = counts.get(row["step"], 0) + row["questions"]
    return {step: sums[step] / counts[step] for step in sums}


def likely_cause(rows: Sequence[Mapping[str, Any]], misses: MissCounts) -> str:
    """The likely cause of a low recall, and the setting to try; "" where nothing was missed."""
    if not rows or not misses.missed:
        return ""
    recall = mean_recall(rows)
    *earlier, last = recall
    best = max(earlier, key=lambda step: recall[step], default=last)
    if recall[best] > recall[last] + _BETTER:
        found = f"{best} alone find" + ("s" if best == "BM25" else "")
        return f"{found} {recall[best]:.1%}: {_BETTER_ALONE.get(last, _BETTER_ALONE['hybrid'])[best]}"
    share = {name: getattr(misses, name) / misses.missed for name in ("of_document", "alike", "unnamed")}
    if share["unnamed"] >= _MOST:
        return (
            f"{misses.unnamed:,} of the {misses.missed:,} missed questions share no word with their document that most "
            "others lack, so they do not say what they are about: name it in the questions, or have them rejected "
            "(critic.judge=all, critic.self_contained=true)"
        )
    if share["of_document"] >= _MOST:
        chunk = "the document is found and the chunk is not"
        if share["alike"] >= _MOST:
            return (
                f"{chunk}, and its chunks are nearly alike: raise chunking.max_tokens, so that what tells them apart "
                "stands in one chunk, or set retrieval.reranker"
            )
        return (
            f"{chunk}, since chunks say too little by themselves: raise chunking.max_tokens, or set "
            "chunking.overlap_tokens or retrieval.reranker"
        )
    if share["alike"] >= _MOST:
        return (
            "many chunks nearly repeat one another: lower chunking.near_duplicate, so that copies are collapsed, or "
            "leave the copies out of the corpus"
        )
    more = "" if "BM25" in recall else "set retrieval.hybrid=true, or "
    return (
        "neither the chunk nor its document is found: the embedder may not know the language or the domain: "
        f"{more}set embedding.embedder to a model that does, or retrieval.reranker"
    )


# Last step -> step that finds more by itself -> what to do.
_OTHER_EMBEDDER = (
    "the embedder does not know the language or the domain: set embedding.embedder to a model that does, or lower "
    "retrieval.rrf_k"
)
_OTHER_RERANKER = "the re-ranker puts the right chunks last: set retrieval.reranker to another model, or to null"
_BETTER_ALONE = {
    "hybrid": {"BM25": _OTHER_EMBEDDER, "embeddings": "words mislead here: set retrieval.hybrid=false"},
    "reranked": {"BM25": _OTHER_RERANKER, "embeddings": _OTHER_RERANKER, "hybrid": _OTHER_RERANKER},
}


def recall_warning(rows: Sequence[Mapping[str, Any]], cause: str, least: float) -> str:
    """One line on the recall of all questions if it is below `least`, with the cause; else ""."""
    if not rows:
        return ""
    *_, recall = mean_recall(rows).values()
    if recall >= least:
        return ""
    *_, document = mean_recall(rows, f"document_recall_at_{FIRST}").values()
    questions = sum(row["questions"] for row in rows if row["step"] == rows[-1]["step"])
    return (
        f"among the first {FIRST} chunks, retrieval finds the one that holds the answer for {recall:.1%} of "
        f"{questions:,} questions, and one of its document for {document:.1%}: {cause}"
    )


def check_recall(
    rows: Sequence[Mapping[str, Any]], cause: str, min_recall: float | None, *, warns: bool = True
) -> None:
    """Warn that retrieval finds too few of the oracles, or refuse.

    Recall@5 by chunk of all questions counts, whatever evaluation.top_k is.

    Args:
        cause: of `likely_cause`.
        min_recall: `RetrievalSettings.min_recall`; None warns below one half.
        warns: log the warning; without it only refuse.

    Raises:
        UserError: the recall is below `min_recall`.
    """
    warning = recall_warning(rows, cause, LOW_RECALL if min_recall is None else min_recall)
    if warning and min_recall is not None:
        raise UserError(f"{warning}; or lower retrieval.min_recall={min_recall}")
    if warning and warns:
        log.warning("%s. Nothing is trained yet; retrieval.min_recall stops such a run here", warning)
