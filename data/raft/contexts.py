"""Context groups: near chunks that are shown together, and the guard that keeps false distractors out.

Every chunk of a context is near the others, so each is a hard distractor for the questions of the others:

    question-bearing chunks --form_groups--> groups (chunks in the order in which they are shown, their questions)
    a group's chunks --guarded_context--> the context of one question: a distractor that would answer it is replaced
    a group's questions --hidden_context--> a context near by that does not hold their oracles
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data.questions.questions import Question
from data.raft.space import ChunkSpace, Rows, best

_WINDOW = 4  # a group is filled from this many times as many near chunks as it has
_NEAR_GROUPS = 8  # a question without its oracle is asked over one of this many near groups


@dataclass(frozen=True, slots=True)
class ContextGroup:
    """Chunks that are shown together and the questions at home there.

    Attributes:
        rows: chunks in the order in which they are shown, each once.
        questions: places in the list of questions; all their oracles are among the rows.
    """

    rows: Rows
    questions: tuple[int, ...]


def form_groups(
    space: ChunkSpace,
    questions: Sequence[Question],
    context_chunks: int,
    rng: np.random.Generator,
    *,
    fewest_chunks: int | None = None,
    questions_per_context: int | None = None,
) -> list[ContextGroup]:
    """Puts every question-bearing chunk into one group of `context_chunks` near chunks, and every question into one.

    A group is filled with question-bearing chunks near by that have no group yet, as long as the guard has nothing
    against any pair, else with the nearest chunks. Chunks that are the oracles of one question stay together; a
    question whose oracles would tie more chunks than a context holds gets a group of its own.

    Args:
        questions: each has at most `context_chunks` oracles.
        rng: draws where groups begin, and the order of the chunks in each.
        fewest_chunks: draw each group's size from this to `context_chunks`; a group never loses an oracle by it.
        questions_per_context: a group with more questions is parted, and each part gets distractors of its own, drawn
            among the near chunks. By default all that are at home in a group share it.
    """

    def size() -> int:
        return context_chunks if fewest_chunks is None else int(rng.integers(fewest_chunks, context_chunks + 1))

    oracles = [space.oracle_rows(question) for question in questions]
    assert all(0 < len(rows) <= context_chunks for rows in oracles)
    units, alone = _tie(oracles, context_chunks)
    unit_of_row = {row: place for place, unit in enumerate(units) for row in unit.rows}
    ungrouped = set(range(len(units)))
    filled: list[tuple[ContextGroup, int]] = []
    for first in rng.permutation(len(units)).tolist():
        if first not in ungrouped:
            continue
        ungrouped.remove(first)
        group, wanted = units[first], size()
        window = space.nearest(group.rows, _WINDOW * context_chunks)
        while len(group.rows) < wanted:
            near = {unit_of_row[row] for row in window if unit_of_row.get(row) in ungrouped}
            nearest_first = sorted(near, key=lambda place: (-space.closeness(group.rows, units[place].rows), place))
            fits = (
                place
                for place in nearest_first
                if len(group.rows) + len(units[place].rows) <= wanted and _agree(space, questions, group, units[place])
            )
            if (chosen := next(fits, None)) is None:
                break
            ungrouped.remove(chosen)
            group = ContextGroup(group.rows + units[chosen].rows, group.questions + units[chosen].questions)
        filled.append((group, wanted))
    filled += [(ContextGroup(oracles[place], (place,)), size()) for place in alone]
    if questions_per_context is None:
        whole = [(_fill(space, questions, group, wanted), group.questions) for group, wanted in filled]
    else:
        parts = [part for group, _ in filled for part in _parts(group, oracles, questions_per_context)]
        whole = [(_draw(space, questions, part, size(), rng), part.questions) for part in parts]
    return [ContextGroup(tuple(rng.permutation(rows).tolist()), tuple(sorted(places))) for rows, places in whole]


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
    for place in best(centres @ space.mean(oracles), _NEAR_GROUPS, set()):
        rows = groups[place].rows
        if set(oracles) & set(rows) or not space.within_ranks(oracles, rows):
            continue
        if all(space.allows(question, row) for row in rows):
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
    return group.rows + tuple(window[place] for place in fewest_first[: max(size - len(group.rows), 0)])


def _parts(group: ContextGroup, oracles: Sequence[Rows], most: int) -> Iterator[ContextGroup]:
    """The group's questions in runs of at most `most`, each with its own oracles alone."""
    places = sorted(group.questions)
    for start in range(0, len(places), most):
        part = tuple(places[start : start + most])
        yield ContextGroup(tuple(dict.fromkeys(row for place in part for row in oracles[place])), part)


def _draw(
    space: ChunkSpace, questions: Sequence[Question], group: ContextGroup, size: int, rng: np.random.Generator
) -> Rows:
    """The group's chunks and, up to `size` in all, near ones drawn among those that all its questions may be shown."""
    window = space.nearest(group.rows, _WINDOW * size)
    allowed = [row for row in window if all(space.allows(questions[place], row) for place in group.questions)]
    missing = min(max(size - len(group.rows), 0), len(allowed))
    return group.rows + tuple(rng.permutation(allowed)[:missing].tolist())
