"""Leaks: what training is shown of the documents and questions that are held out from it. There are to be none.

    oracle    a chunk that proves the answer of a held-out question
    document  another chunk of a held-out document
    chunk     a chunk of another document that nearly repeats one of a held-out document
    question  a question that nearly repeats a held-out one

`keep_apart` takes the chunks out before anything is built over them; near questions went at the split (split.py).
`find_leaks` then looks at what was built, and knows nothing of how.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from data.documents.chunks import Chunk
from data.documents.near_duplicates import Repeat, nearest_cosines, shared_words
from data.questions.questions import Question, same_wording

LEAKS_NAME = "leaks.json"

#: Id of a chunk -> the documents in which copies of it stood that were collapsed into it.
Copies = Mapping[str, Collection[str]]
_NO_COPIES: Copies = MappingProxyType({})


class Limits(NamedTuple):
    """From where on a repetition is a leak: cosine of questions, cosine of chunks, share of a chunk's runs of words."""

    question_cosine: float
    chunk_cosine: float
    chunk_words: float


@dataclass(frozen=True, slots=True)
class Leak:
    """One leak: what is shown, what of the held-out part it gives away, and how near they are.

    Attributes:
        kind: "oracle", "document", "chunk" or "question".
        shown, held_out: ids of chunks, or the wordings of questions.
    """

    kind: str
    shown: str
    held_out: str
    cosine: float = 1.0
    words: float = 0.0


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What was compared and found, for one part of a dataset against the parts held out from it.

    Attributes:
        leaks: of what is written; to be empty.
        kept_out: chunks that were taken out because they would have been leaks.
        highest: the largest cosines among what remains, and so how near to a leak it comes.
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
    """Which chunks may be shown: those of other documents than the held-out questions', and near none of theirs.

    Args:
        vectors: of the chunks, normalized, float32 [N, D].
        copies: a chunk that also stands in a held-out document, where it was collapsed, is held out.

    Returns:
        bool [N], and for each chunk that is kept out as a near-duplicate the one that it repeats.
    """
    documents = {question.document_id for question in held_out}
    own = ~_stands_in(chunks, documents, copies)
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
) -> LeakReport:
    """Compares what a part of the dataset shows with what is held out from it.

    Args:
        part: its name, for the report.
        shown_ids: `Chunk.id` of all contexts of the part.
        questions: what the part asks, and the instructions of what is mixed in.
        chunks, vectors: all chunks, and their vectors, normalized, float32 [N, D].
        question_vectors, held_out_vectors: of both lists of questions, float32 [Q, D] and [H, D].
    """
    oracles = {oracle for question in held_out for oracle in question.oracle_ids}
    documents = {question.document_id for question in held_out}
    held_rows = _stands_in(chunks, documents, copies)
    shown = np.array([chunk.id in shown_ids for chunk in chunks], np.bool_)
    leaks = [
        Leak("oracle" if chunk.id in oracles else "document", chunk.id, chunk.id)
        for chunk, leaks in zip(chunks, shown & held_rows, strict=True)
        if leaks
    ]
    fair = shown & ~held_rows
    leaks += _chunk_leaks(chunks, _repeats(chunks, vectors, fair, limits, held_rows), held_rows)
    wordings = {same_wording(question.question): place for place, question in enumerate(held_out)}
    places, cosines = nearest_cosines(question_vectors, held_out_vectors)
    for text, place, cosine in zip(questions, places.tolist(), cosines.tolist(), strict=True):
        same = wordings.get(same_wording(text))
        if same is not None or cosine >= limits.question_cosine:
            leaks.append(Leak("question", text, held_out[place if same is None else same].question, round(cosine, 4)))
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


def repeats_a_question(
    texts: Sequence[str], vectors: np.ndarray, held_out: Sequence[Question], held_out_vectors: np.ndarray, cosine: float
) -> list[bool]:
    """Whether each text has the wording of a held-out question, or this or a larger cosine to one."""
    wordings = {same_wording(question.question) for question in held_out}
    nearest = nearest_cosines(vectors, held_out_vectors)[1]
    return [same_wording(text) in wordings or near >= cosine for text, near in zip(texts, nearest, strict=True)]


def _stands_in(chunks: Sequence[Chunk], documents: set[str], copies: Copies) -> np.ndarray:
    """Which chunks, or collapsed copies of them, stand in these documents, bool [N]."""
    return np.array(
        [chunk.document_id in documents or not documents.isdisjoint(copies.get(chunk.id, ())) for chunk in chunks],
        np.bool_,
    )


def _repeats(
    chunks: Sequence[Chunk], vectors: np.ndarray, own: np.ndarray, limits: Limits, others: np.ndarray | None = None
) -> dict[int, Repeat]:
    """Row of each of the own chunks that nearly repeats one of the others -> which, by its place among the others."""
    others = ~own if others is None else others
    rows, other_rows = np.flatnonzero(own), np.flatnonzero(others)
    places, cosines = nearest_cosines(vectors[rows], vectors[other_rows])
    alike = shared_words(
        [chunks[row].text for row in rows.tolist()],
        [chunks[row].text for row in other_rows.tolist()],
        limits.chunk_words,
    )
    found: dict[int, Repeat] = {}
    for number, row in enumerate(rows.tolist()):
        if number in alike:
            place, share = alike[number]
            cosine = float(vectors[row] @ vectors[other_rows[place]])
            found[row] = Repeat(place, cosine, share)
        elif cosines[number] >= limits.chunk_cosine:
            found[row] = Repeat(int(places[number]), float(cosines[number]))
    return found


def _chunk_leaks(chunks: Sequence[Chunk], repeats: dict[int, Repeat], others: np.ndarray) -> list[Leak]:
    rows = np.flatnonzero(others).tolist()
    return [
        Leak("chunk", chunks[row].id, chunks[rows[r.index]].id, round(r.cosine, 4), round(r.words, 4))
        for row, r in sorted(repeats.items())
    ]


def _highest(cosines: np.ndarray) -> float:
    return round(float(cosines.max(initial=-1)), 4)
