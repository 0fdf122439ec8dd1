"""Context groups: near chunks that are shown together, and the guard that keeps false distractors out.

Every chunk of a context is near the others, so each is a hard distractor for the questions of the others:

    question-bearing chunks --form_groups--> groups (chunks in the order in which they are shown, their questions)
    a group's chunks --guarded_context--> the context of one question: a distractor that would answer it is replaced
    a group's questions --hidden_context--> a context near by that does not hold their oracles
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data.chunks import Chunk
from data.questions import Question

Rows = tuple[int, ...]  # rows of the vectors, which are places in the list of chunks

_WINDOW = 4  # a group is filled from this many times as many near chunks as it has
_REPLACEMENTS = 256  # a replacement is sought among this many near chunks; farther ones are easy distractors
_NEAR_GROUPS = 8  # a question without its oracle is asked over one of this many near groups
# A letter of a script that puts spaces between words; in Chinese, Thai and others a word has no visible border.
_LETTER = re.compile(
    r"[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]"
)


@dataclass(frozen=True, slots=True)
class ContextGroup:
    """Chunks that are shown together and the questions at home there.

    Attributes:
        rows: chunks in the order in which they are shown, each once.
        questions: places in the list of questions; all their oracles are among the rows.
    """

    rows: Rows
    questions: tuple[int, ...]


class ChunkSpace:
    """The chunks with their vectors: what is near what, and what a question must not be shown."""

    def __init__(self, chunks: Sequence[Chunk], vectors: np.ndarray, near_duplicate: float) -> None:
        """
        Args:
            vectors: normalized, float32 [N, D], in the order of the chunks.
            near_duplicate: a chunk whose cosine to an oracle is more than this nearly repeats it.
        """
        if vectors.ndim != 2 or len(vectors) != len(chunks):
            raise ValueError(f"vectors of shape {vectors.shape} for {len(chunks)} chunks: give one vector a chunk")
        self.chunks = chunks
        self._vectors = np.asarray(vectors, np.float32)
        self._row = {chunk.id: row for row, chunk in enumerate(chunks)}
        self._texts = [_fold(chunk.text) for chunk in chunks]
        self._near_duplicate = near_duplicate
        self._allowed: dict[tuple[str, int], bool] = {}

    def oracle_rows(self, question: Question) -> Rows:
        """Where the question's oracles are.

        Raises:
            ValueError: one is not among the chunks.
        """
        missing = [oracle for oracle in question.oracle_ids if oracle not in self._row]
        if missing:
            raise ValueError(
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

    def closeness(self, rows: Sequence[int], others: Sequence[int]) -> float:
        """The mean cosine to some chunks of that one of the others which is nearest to them."""
        return float((self._vectors[list(others)] @ self.mean(rows)).max())

    def nearest(self, rows: Sequence[int], count: int) -> list[int]:
        """The `count` chunks nearest to these, nearest first, without these."""
        return list(_best(self.nearness(rows), count + len(rows), set(rows)))[:count]

    def allows(self, question: Question, row: int) -> bool:
        """The false-negative guard: whether a chunk that is no oracle of the question may be shown with it.

        It may not when it holds the answer (whole words, whatever the case and white space) or a quote, or when it
        nearly repeats an oracle.
        """
        key = (question.id, row)
        if key not in self._allowed:
            text = self._texts[row]
            repeats = self._vectors[list(self.oracle_rows(question))] @ self._vectors[row] > self._near_duplicate
            holds = _stands_in(_fold(question.answer.rstrip(".!? \n")), text)
            holds = holds or any(_fold(quote) in text for quote in question.quotes)
            self._allowed[key] = not holds and not repeats.any()
        return self._allowed[key]

    def replacement(self, question: Question, taken: Sequence[int]) -> int | None:
        """The chunk nearest to the question's oracles that may be shown with it and is not taken."""
        oracles = self.oracle_rows(question)
        candidates = self.nearest(oracles, _REPLACEMENTS + len(taken))
        return next((row for row in candidates if row not in taken and self.allows(question, row)), None)


def form_groups(
    space: ChunkSpace, questions: Sequence[Question], context_chunks: int, rng: np.random.Generator
) -> list[ContextGroup]:
    """Puts every question-bearing chunk into one group of `context_chunks` near chunks, and every question into one.

    A group is filled with question-bearing chunks near by that have no group yet, as long as the guard has nothing
    against any pair, else with the nearest chunks. Chunks that are the oracles of one question stay together; a
    question whose oracles would tie more chunks than a context holds gets a group of its own.

    Args:
        questions: each has at most `context_chunks` oracles.
        rng: draws where groups begin, and the order of the chunks in each.
    """
    oracles = [space.oracle_rows(question) for question in questions]
    assert all(0 < len(rows) <= context_chunks for rows in oracles)
    units, alone = _tie(oracles, context_chunks)
    unit_of_row = {row: place for place, unit in enumerate(units) for row in unit.rows}
    ungrouped = set(range(len(units)))
    filled: list[ContextGroup] = []
    for first in rng.permutation(len(units)).tolist():
        if first not in ungrouped:
            continue
        ungrouped.remove(first)
        group = units[first]
        window = space.nearest(group.rows, _WINDOW * context_chunks)
        while len(group.rows) < context_chunks:
            near = {unit_of_row[row] for row in window if unit_of_row.get(row) in ungrouped}
            nearest_first = sorted(near, key=lambda place: (-space.closeness(group.rows, units[place].rows), place))
            fits = (
                place
                for place in nearest_first
                if len(group.rows) + len(units[place].rows) <= context_chunks
                and _agree(space, questions, group, units[place])
            )
            if (chosen := next(fits, None)) is None:
                break
            ungrouped.remove(chosen)
            group = ContextGroup(group.rows + units[chosen].rows, group.questions + units[chosen].questions)
        filled.append(group)
    filled += [ContextGroup(oracles[place], (place,)) for place in alone]
    return [
        ContextGroup(
            tuple(rng.permutation(_fill(space, questions, group, context_chunks)).tolist()),
            tuple(sorted(group.questions)),
        )
        for group in filled
    ]


def guarded_context(space: ChunkSpace, question: Question, rows: Rows) -> tuple[Rows, int]:
    """The chunks with each distractor that would answer the question replaced, in its place.

    Returns:
        The chunks, and how many the guard kept out. When nothing near can replace a chunk, it is left out.
    """
    oracles = set(space.oracle_rows(question))
    banned = [row for row in rows if row not in oracles and not space.allows(question, row)]
    return _replace(space, question, rows, banned), len(banned)


def hidden_context(
    space: ChunkSpace, question: Question, home: Rows, groups: Sequence[ContextGroup], centres: np.ndarray
) -> tuple[Rows, bool]:
    """A context that lacks the question's oracles: that of a near group, else its own with the oracles replaced.

    Args:
        home: the question's own context, as `guarded_context` gives it.
        centres: the mean vector of each group's chunks, float32 [G, D].

    Returns:
        The chunks (none when nothing may be shown), and whether they are a group's, and so shared.
    """
    oracles = space.oracle_rows(question)
    for place in _best(centres @ space.mean(oracles), _NEAR_GROUPS, set()):
        rows = groups[place].rows
        if not set(oracles) & set(rows) and all(space.allows(question, row) for row in rows):
            return rows, True
    return _replace(space, question, home, oracles), False


def _replace(space: ChunkSpace, question: Question, rows: Rows, unwanted: Sequence[int]) -> Rows:
    """In place, so that the order and the chunks before it are still shared."""
    result = list(rows)
    for row in unwanted:
        other = space.replacement(question, [*rows, *result])
        place = result.index(row)
        result[place : place + 1] = [] if other is None else [other]
    return tuple(result)


def _tie(oracles: Sequence[Rows], size: int) -> tuple[list[ContextGroup], list[int]]:
    """The smallest groups, of chunks that must stay together, and the questions whose chunks cannot (union-find)."""
    root = {row: row for rows in oracles for row in rows}
    weight = dict.fromkeys(root, 1)

    def find(row: int) -> int:
        while root[row] != row:
            root[row] = root[root[row]]
            row = root[row]
        return row

    for rows in oracles:
        tops = sorted({find(row) for row in rows})
        total = sum(weight[top] for top in tops)
        if total <= size:
            for top in tops:
                root[top] = tops[0]
            weight[tops[0]] = total
    rows_of: dict[int, list[int]] = {}
    for row in sorted(root):
        rows_of.setdefault(find(row), []).append(row)
    members: dict[int, list[int]] = {top: [] for top in rows_of}
    alone = []
    for number, rows in enumerate(oracles):
        tops = sorted({find(row) for row in rows})
        if len(tops) == 1:
            members[tops[0]].append(number)
        else:
            alone.append(number)
    # A chunk none of whose questions found room here bears no question: it needs no group.
    return [ContextGroup(tuple(rows), tuple(members[top])) for top, rows in rows_of.items() if members[top]], alone


def _agree(space: ChunkSpace, questions: Sequence[Question], one: ContextGroup, other: ContextGroup) -> bool:
    """Whether the guard lets the questions of each side see the other side's chunks."""
    return all(
        space.allows(questions[place], row)
        for asking, shown in ((one, other), (other, one))
        for place in asking.questions
        for row in shown.rows
    )


def _fill(space: ChunkSpace, questions: Sequence[Question], group: ContextGroup, size: int) -> Rows:
    """The group's chunks and near ones up to `size` in all, first those that the guard keeps from the fewest."""
    window = space.nearest(group.rows, _WINDOW * size)
    kept_from = [sum(not space.allows(questions[place], row) for place in group.questions) for row in window]
    fewest_first = np.argsort(kept_from, kind="stable")
    return group.rows + tuple(window[place] for place in fewest_first[: size - len(group.rows)])


def _best(scores: np.ndarray, count: int, without: set[int]) -> Iterator[int]:
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
        if not any(len(_LETTER.findall(border)) == 2 for border in borders):
            return True
        place = text.find(words, place + 1)
    return False


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())
