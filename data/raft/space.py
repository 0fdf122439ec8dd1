"""The chunks in the embedding space: nearest chunks, and the guard against false-negative distractors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from data.documents.chunks import Chunk
from data.prompting.prompts import heading
from data.questions.questions import Question
from data.retrieval.reranker import ScorePairs
from data.text.folded import SearchText, fold
from data.text.support import content_words, lone_numbers
from user_error import UserError

Rows = tuple[int, ...]  # rows of the vectors, which are indices into the list of chunks
Ranks = tuple[int, int]  # the first and the last allowed rank, from 1

_REPLACEMENTS = 256  # replacements come from this many nearest chunks; farther ones are easy distractors
_SCORED = 24  # nearest chunks that are scored for a question in one call


class Banned(NamedTuple):
    """What a distractor of a question must not hold: answers, folded quotes, and answers that are a number."""

    answers: tuple[str, ...]
    quotes: tuple[str, ...]
    numbers: frozenset[str]


class ChunkSpace:
    """The chunks with their vectors: nearest chunks, and the guard (`allows`)."""

    def __init__(
        self,
        chunks: Sequence[Chunk],
        vectors: np.ndarray,
        near_duplicate: float,
        ranks: Ranks | None = None,
        score: ScorePairs | None = None,
        margin: float = 0.0,
    ) -> None:
        """
        Args:
            vectors: normalized, float32 [N, D], in the order of the chunks.
            near_duplicate: a chunk whose cosine to an oracle exceeds this nearly repeats it.
            ranks: ranks by nearness from which distractors come; all by default.
            score: a cross-encoder's score of how well a text answers a question.
            margin: a chunk whose score exceeds 1 - margin of the oracles' lowest counts as an answer.
        """
        assert vectors.ndim == 2 and len(vectors) == len(chunks), f"{vectors.shape} for {len(chunks)} chunks"
        self.chunks = chunks
        self._vectors = np.asarray(vectors, np.float32)
        self._row = {chunk.id: row for row, chunk in enumerate(chunks)}
        self._texts: dict[int, SearchText] = {}  # by row, as in the prompt
        self._banned: dict[str, Banned] = {}  # by question id
        self._near_duplicate = near_duplicate
        self._first, self._last = ranks or (1, len(chunks))
        self._score = score
        self._margin = margin
        self._scores: dict[str, dict[int, float]] = {}  # by question id and row
        self._allowed: dict[tuple[str, int], bool] = {}
        self.refused_by_score = 0  # pairs of question and chunk that the score alone refuses

    def oracle_rows(self, question: Question) -> Rows:
        """The rows of the question's oracles.

        Raises:
            UserError: an oracle is not among the chunks.
        """
        missing = [oracle for oracle in question.oracle_ids if oracle not in self._row]
        if missing:
            raise UserError(
                f"the oracle {missing[0]} of question {question.question!r} is none of the {len(self.chunks)} chunks: "
                "give the chunks of all training documents, and questions about these documents only"
            )
        return tuple(self._row[oracle] for oracle in question.oracle_ids)

    def mean(self, rows: Sequence[int]) -> np.ndarray:
        """The mean vector of some chunks, float32 [D]."""
        mean: np.ndarray = self._vectors[list(rows)].mean(axis=0)
        return mean

    def nearness(self, rows: Sequence[int]) -> np.ndarray:
        """The mean cosine of every chunk to these, float32 [N]."""
        nearness: np.ndarray = self._vectors @ self.mean(rows)
        return nearness

    def cosine(self, vector: np.ndarray, row: int) -> float:
        """The cosine of a normalized vector, float32 [D], to a chunk."""
        return float(self._vectors[row] @ vector)

    def closeness(self, rows: Sequence[int], others: Sequence[int]) -> float:
        """The largest mean cosine of any of the others to these chunks."""
        return float((self._vectors[list(others)] @ self.mean(rows)).max())

    def nearest(self, rows: Sequence[int], count: int) -> list[int]:
        """The `count` chunks nearest to these within the allowed ranks, nearest first, without these."""
        count = max(min(count, self._last - self._first + 1), 0)
        ranked = list(best(self.nearness(rows), self._first - 1 + count + len(rows), set(rows)))
        return ranked[self._first - 1 : self._first - 1 + count]

    def within_ranks(self, rows: Sequence[int], others: Sequence[int]) -> bool:
        """Whether each of the others has an allowed rank by nearness to these chunks."""
        every_rank = (self._first, self._last) == (1, len(self.chunks))
        return every_rank or set(others) <= set(self.nearest(rows, len(self.chunks)))

    def allows(self, question: Question, row: int) -> bool:
        """The false-negative guard: whether a chunk may be a distractor of the question.

        It may not if it holds a right answer (as complete words, whatever the typography; a number also if it is
        grouped otherwise) or a quote, if it nearly repeats an oracle, or if the cross-encoder, if any, scores it about
        as high as the oracles. An answer without content (yes, no, "it is", a mark of punctuation) stands in every
        text, and bans none.
        """
        key = (question.id, row)
        if key not in self._allowed:
            repeats = self._vectors[list(self.oracle_rows(question))] @ self._vectors[row] > self._near_duplicate
            allowed = not repeats.any() and not self._holds_answer(question, row)
            if allowed and self._score is not None and self._answers_as_well(question, row, self._score):
                allowed = False
                self.refused_by_score += 1
            self._allowed[key] = allowed
        return self._allowed[key]

    def _holds_answer(self, question: Question, row: int) -> bool:
        """Whether a chunk holds a right answer of the question, or one of its quotes."""
        if question.id not in self._banned:
            self._banned[question.id] = _banned(question)
        banned = self._banned[question.id]
        if row not in self._texts:
            chunk = self.chunks[row]
            self._texts[row] = SearchText(f"{heading(chunk)}\n{chunk.text}")
        text = self._texts[row]
        return (
            any(quote in text.folded for quote in banned.quotes)
            or any(text.holds(answer) for answer in banned.answers)
            or bool(banned.numbers and banned.numbers & lone_numbers(text.folded))
        )

    def _answers_as_well(self, question: Question, row: int, score: ScorePairs) -> bool:
        """Whether the cross-encoder scores the chunk about as high as the oracles.

        Scores the chunks near the oracles in one call: single pairs are slow.
        """
        oracles = self.oracle_rows(question)
        scores = self._scores.setdefault(question.id, {})
        if row not in scores:
            wanted = sorted({*oracles, row, *self.nearest(oracles, _SCORED)} - scores.keys())
            values = score([(question.question, self.chunks[wanted_row].search_text) for wanted_row in wanted])
            scores.update(zip(wanted, values.tolist(), strict=True))
        return scores[row] > (1 - self._margin) * min(scores[oracle] for oracle in oracles)

    def replacement(self, question: Question, taken: Sequence[int]) -> int | None:
        """The chunk nearest to the question's oracles that the guard allows and that is not taken."""
        oracles = self.oracle_rows(question)
        candidates = self.nearest(oracles, _REPLACEMENTS + len(taken))
        return next((row for row in candidates if row not in taken and self.allows(question, row)), None)


def best(scores: np.ndarray, count: int, without: set[int]) -> Iterator[int]:
    """The indices of the `count` highest scores, highest first, ties by index; skips those in `without`."""
    count = min(count, len(scores))
    top = np.argpartition(-scores, count - 1)[:count] if count < len(scores) else np.arange(len(scores))
    top.sort()
    for index in top[np.argsort(-scores[top], kind="stable")]:
        if int(index) not in without:
            yield int(index)


def _banned(question: Question) -> Banned:
    answers = () if not question.answerable else question.answers
    with_content = tuple(answer for answer in answers if content_words(answer, question.question))
    numbers = [lone_numbers(answer) for answer in with_content if len(content_words(answer, question.question)) == 1]
    return Banned(with_content, tuple(filter(None, map(fold, question.quotes))), frozenset().union(*numbers))
