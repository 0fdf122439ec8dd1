"""Leaks: training records that show held-out documents or repeat held-out questions. There must be none.

    oracle    a chunk that proves the answer of a held-out question
    document  another chunk of a held-out document
    chunk     a chunk of another document that nearly repeats one of a held-out document
    question  a question that nearly repeats a held-out one

`keep_apart` excludes the chunks before anything is built; the split (split.py) already dropped the near questions.
`find_leaks` checks the result, independently of how it was built.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from data.documents.chunks import Chunk
from data.documents.near_duplicates import Repeat, nearest_cosines, shared_words
from data.questions.questions import Question
from data.questions.repeats import repeated_question

LEAKS_NAME = "leaks.json"

#: Id of a chunk -> the documents of the copies that were collapsed into it.
Copies = Mapping[str, Collection[str]]
_NO_COPIES: Copies = MappingProxyType({})


class Limits(NamedTuple):
    """Thresholds of a leak: cosine of questions, cosine of chunks, shared runs of words of two chunks (Jaccard)."""

    question_cosine: float
    chunk_cosine: float
    chunk_words: float


@dataclass(frozen=True, slots=True)
class Leak:
    """One leak: what is shown, the held-out item that it repeats, and their similarity.

    Attributes:
        kind: "oracle", "document", "chunk" or "question".
        shown, held_out: ids of chunks, or wordings of questions.
    """

    kind: str
    shown: str
    held_out: str
    cosine: float = 1.0
    words: float = 0.0


@dataclass(frozen=True, slots=True)
class LeakReport:
    """The comparison of one part of a dataset with the parts held out from it.

    Attributes:
        leaks: in the records as written; must be empty.
        kept_out: chunks that were excluded because they would be leaks.
        highest: the largest remaining cosines, that is, the distance to a leak.
    """

    part: str
    limits: dict[str, float]
    compared: dict[str, int]
    leaks: list[Leak]
    kept_out: list[Leak]
    highest: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The report as plain JSON, with the number of leaks of each kind."""
        kinds = ("oracle", "document", "chunk", "question")
        return asdict(self) | {"found": {kind: sum(leak.kind == kind for leak in self.leaks) for kind in kinds}}


def keep_apart(
    chunks: Sequence[Chunk],
    vectors: np.ndarray,
    held_out: Sequence[Question],
    limits: Limits,
    copies: Copies = _NO_COPIES,
) -> tuple[np.ndarray, list[Leak]]:
    """Which chunks may be shown: those of documents without held-out questions that nearly repeat no held-out chunk.

    Args:
        vectors: of the chunks, normalized, float32 [N, D].
        copies: a chunk with a collapsed copy in a held-out document is held out.

    Returns:
        bool [N], and for each near-duplicate that is excluded the chunk that it repeats.
    """
    documents = {question.document_id for question in held_out}
    own = ~_belongs_to(chunks, documents, copies)
    repeats = _repeats(chunks, vectors, own, limits)
    allowed = own.copy()
    allowed[list(repeats)] = False
    kept_out = [
        Leak("chunk", chunk.id, chunk.id, 1.0, 1.0)
        for chunk, allows in zip(chunks, own, strict=True)
        if not allows and chunk.document_id not in documents
    ]
    return allowed, [*kept_out, *_chunk_leaks(chunks, repeats, ~own)]


def find_leaks(
    part: str,
    shown_ids: set[str],
    questions: Sequence[str],
    held_out: Sequence[Question],
    chunks: Sequence[Chunk],
    vectors: np.ndarray,
    question_vectors: np.ndarray,
    held_out_vectors: np.ndarray,
    limits: Limits,
    kept_out: Sequence[Leak] = (),
    copies: Copies = _NO_COPIES,
    answers: Mapping[str, Sequence[str]] = MappingProxyType({}),
    documents_apart: bool = True,
) -> LeakReport:
    """The comparison of a part of the dataset with what is held out from it.

    Args:
        part: its name, for the report.
        shown_ids: `Chunk.id` of all contexts of the part.
        questions: the part's questions, and the prompts of its general records.
        chunks, vectors: all chunks, and their vectors, normalized, float32 [N, D].
        question_vectors, held_out_vectors: of both lists of questions, float32 [Q, D] and [H, D].
        answers: of the questions; a prompt of a general record has none.
        documents_apart: False if the split is by question: the documents are then in both parts.
    """
    oracles = {oracle for question in held_out for oracle in question.oracle_ids}
    documents = {question.document_id for question in held_out if documents_apart}
    held_rows = _belongs_to(chunks, documents, copies)
    shown = np.array([chunk.id in shown_ids for chunk in chunks], np.bool_)
    leaks = [
        Leak("oracle" if chunk.id in oracles else "document", chunk.id, chunk.id)
        for chunk, leaks in zip(chunks, shown & held_rows, strict=True)
        if leaks
    ]
    fair = shown & ~held_rows
    leaks += _chunk_leaks(chunks, _repeats(chunks, vectors, fair, limits, held_rows), held_rows)
    cosines = nearest_cosines(question_vectors, held_out_vectors)[1]
    pairs = [(text, answers.get(text, ())) for text in questions]
    repeats = repeated_question(pairs, question_vectors, held_out, held_out_vectors, limits.question_cosine)
    for row, index in enumerate(repeats):
        if index is not None:
            cosine = round(float(question_vectors[row] @ held_out_vectors[index]), 4)
            leaks.append(Leak("question", questions[row], held_out[index].question, cosine))
    highest = {
        "question_cosine": _highest(cosines),
        "chunk_cosine": _highest(nearest_cosines(vectors[fair], vectors[held_rows])[1]),
    }
    compared = {
        "chunks shown": int(shown.sum()),
        "chunks of held-out documents": int(held_rows.sum()),
        "questions": len(questions),
        "held-out questions": len(held_out),
    }
    return LeakReport(part, limits._asdict(), compared, leaks, list(kept_out), highest)


def _belongs_to(chunks: Sequence[Chunk], documents: set[str], copies: Copies) -> np.ndarray:
    """Which chunks, or collapsed copies of them, belong to these documents, bool [N]."""
    return np.array(
        [chunk.document_id in documents or not documents.isdisjoint(copies.get(chunk.id, ())) for chunk in chunks],
        np.bool_,
    )


def _repeats(
    chunks: Sequence[Chunk], vectors: np.ndarray, own: np.ndarray, limits: Limits, others: np.ndarray | None = None
) -> dict[int, Repeat]:
    """Row of each own chunk that nearly repeats one of the others -> the repetition, by index among the others."""
    others = ~own if others is None else others
    rows, other_rows = np.flatnonzero(own), np.flatnonzero(others)
    nearest, cosines = nearest_cosines(vectors[rows], vectors[other_rows])
    alike = shared_words(
        [chunks[row].text for row in rows.tolist()],
        [chunks[row].text for row in other_rows.tolist()],
        limits.chunk_words,
    )
    repeats: dict[int, Repeat] = {}
    for number, row in enumerate(rows.tolist()):
        if number in alike:
            other, share = alike[number]
            cosine = float(vectors[row] @ vectors[other_rows[other]])
            repeats[row] = Repeat(other, cosine, share)
        elif cosines[number] >= limits.chunk_cosine:
            repeats[row] = Repeat(int(nearest[number]), float(cosines[number]))
    return repeats


def _chunk_leaks(chunks: Sequence[Chunk], repeats: dict[int, Repeat], others: np.ndarray) -> list[Leak]:
    rows = np.flatnonzero(others).tolist()
    return [
        Leak("chunk", chunks[row].id, chunks[rows[r.index]].id, round(r.cosine, 4), round(r.words, 4))
        for row, r in sorted(repeats.items())
    ]


def _highest(cosines: np.ndarray) -> float:
    return round(float(cosines.max(initial=-1)), 4)
