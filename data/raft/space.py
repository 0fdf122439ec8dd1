"""The chunks in their embedding space: what is near what, and the guard that says what a question must not be shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from data.documents.chunks import Chunk
from data.prompting.prompts import heading
from data.questions.questions import Question
from data.retrieval.reranker import ScorePairs
from data.text.words import LETTER
from user_error import UserError

Rows = tuple[int, ...]  # rows of the vectors, which are places in the list of chunks
Ranks = tuple[int, int]  # the first and the last of a ranking that may be taken, from 1

_REPLACEMENTS = 256  # a replacement is sought among this many near chunks; farther ones are easy distractors
_JUDGED = 24  # near chunks that are scored for a question at once


class ChunkSpace:
    """The chunks with their vectors: what is near what, and what a question must not be shown."""

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
            near_duplicate: a chunk whose cosine to an oracle is more than this nearly repeats it.
            ranks: the places in a ranking by nearness from which distractors come; all of them by default.
            score: a cross-encoder's judgement of how well a text answers a question.
            margin: a chunk whose score is more than 1 - margin of the oracles' lowest is taken to answer as well.
        """
        if vectors.ndim != 2 or len(vectors) != len(chunks):
            raise UserError(f"vectors of shape {vectors.shape} for {len(chunks)} chunks: give one vector a chunk")
        self.chunks = chunks
        self._vectors = np.asarray(vectors, np.float32)
        self._row = {chunk.id: row for row, chunk in enumerate(chunks)}
        self._texts = [_fold(f"{heading(chunk)}\n{chunk.text}") for chunk in chunks]  # as they are shown
        self._near_duplicate = near_duplicate
        self._first, self._last = ranks or (1, len(chunks))
        self._score = score
        self._margin = margin
        self._scores: dict[str, dict[int, float]] = {}  # of each question's id, by row
        self._allowed: dict[tuple[str, int], bool] = {}
        self.refused_by_score = 0  # pairs of question and chunk that nothing but the score speaks against

    def oracle_rows(self, question: Question) -> Rows:
        """Where the question's oracles are.

        Raises:
            UserError: one is not among the chunks.
        """
        missing = [oracle for oracle in question.oracle_ids if oracle not in self._row]
        if missing:
            raise UserError(
                f"question {question.question!r} has the oracle {missing[0]}, which is none of the {len(self.chunks)} "
                "chunks: give the chunks of all training documents, and questions of these documents only"
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
        """The mean cosine to some chunks of that one of the others which is nearest to them."""
        return float((self._vectors[list(others)] @ self.mean(rows)).max())

    def nearest(self, rows: Sequence[int], count: int) -> list[int]:
        """The `count` chunks nearest to these within the ranks that may be taken, nearest first, without these."""
        count = max(min(count, self._last - self._first + 1), 0)
        ranked = list(best(self.nearness(rows), self._first - 1 + count + len(rows), set(rows)))
        return ranked[self._first - 1 : self._first - 1 + count]

    def within_ranks(self, rows: Sequence[int], others: Sequence[int]) -> bool:
        """Whether each of the others has a rank near these chunks that may be taken."""
        every_rank = (self._first, self._last) == (1, len(self.chunks))
        return every_rank or set(others) <= set(self.nearest(rows, len(self.chunks)))

    def allows(self, question: Question, row: int) -> bool:
        """The false-negative guard: whether a chunk that is no oracle of the question may be shown with it.

        It may not when it holds the answer (whole words, whatever the case and white space) or a quote, when it nearly
        repeats an oracle, or when a cross-encoder, if there is one, finds that it answers about as well as they do.
        """
        key = (question.id, row)
        if key not in self._allowed:
            text = self._texts[row]
            repeats = self._vectors[list(self.oracle_rows(question))] @ self._vectors[row] > self._near_duplicate
            holds = _stands_in(_fold(question.answer.rstrip(".!? \n")), text)
            holds = holds or any(_fold(quote) in text for quote in question.quotes)
            allowed = not holds and not repeats.any()
            if allowed and self._score is not None and self._answers_as_well(question, row, self._score):
                allowed = False
                self.refused_by_score += 1
            self._allowed[key] = allowed
        return self._allowed[key]

    def _answers_as_well(self, question: Question, row: int, score: ScorePairs) -> bool:
        """By the cross-encoder, which is asked about the chunks near the oracles at once: pairs alone are slow."""
        oracles = self.oracle_rows(question)
        scores = self._scores.setdefault(question.id, {})
        if row not in scores:
            wanted = sorted({*oracles, row, *self.nearest(oracles, _JUDGED)} - scores.keys())
            found = score([(question.question, self.chunks[place].search_text) for place in wanted])
            scores.update(zip(wanted, found.tolist(), strict=True))
        return scores[row] > (1 - self._margin) * min(scores[oracle] for oracle in oracles)

    def replacement(self, question: Question, taken: Sequence[int]) -> int | None:
        """The chunk nearest to the question's oracles that may be shown with it and is not taken."""
        oracles = self.oracle_rows(question)
        candidates = self.nearest(oracles, _REPLACEMENTS + len(taken))
        return next((row for row in candidates if row not in taken and self.allows(question, row)), None)


def best(scores: np.ndarray, count: int, without: set[int]) -> Iterator[int]:
    """The places of the `count` highest scores, highest first, ties by place; skips those in `without`."""
    count = min(count, len(scores))
    top = np.argpartition(-scores, count - 1)[:count] if count < len(scores) else np.arange(len(scores))
    top.sort()
    for place in top[np.argsort(-scores[top], kind="stable")]:
        if int(place) not in without:
            yield int(place)


def _stands_in(words: str, text: str) -> bool:
    """Whether the words stand in the text and neither begin nor end inside a longer word."""
    place = text.find(words)
    while place >= 0:
        borders = (text[max(place - 1, 0) : place + 1], text[place + len(words) - 1 : place + len(words) + 1])
        if not any(len(LETTER.findall(border)) == 2 for border in borders):
            return True
        place = text.find(words, place + 1)
    return False


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())
