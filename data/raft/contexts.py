"""Context groups: near chunks that are shown together, with the questions about them.

The chunks of a context are near each other, so each is a hard distractor for the questions of the others:

    question-bearing chunks --form_groups--> groups (chunks in prompt order, their questions)
    a group's chunks --guarded_context--> the context of one question: distractors that would answer it are replaced
    a question --hidden_context--> a near context without its oracles
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data.questions.questions import Question
from data.raft.space import ChunkSpace, Rows, best

_WINDOW = 4  # a group is filled from the nearest chunks, this many times its size
_NEAR_GROUPS = 8  # a question without its oracles is asked over one of this many nearest groups


@dataclass(frozen=True, slots=True)
class ContextGroup:
    """Chunks that are shown together, and the questions whose oracles are among them.

    Attributes:
        rows: chunks in prompt order, each once.
        questions: indices into the list of questions; all their oracles are among the rows.
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
    """Groups of `context_chunks` near chunks; every question-bearing chunk and every question is in exactly one.

    A group is filled with near question-bearing chunks that have no group yet and that the guard allows for its
    questions, and theirs for them; then with the nearest chunks. The oracles of one question stay together; a question
    whose oracles would tie together more chunks than a context holds gets a group of its own.

    Args:
        questions: each has at most `context_chunks` oracles.
        rng: draws the first chunk of each group, and the order of its chunks.
        fewest_chunks: draw each group's size from this to `context_chunks`; a group never loses an oracle by it.
        questions_per_context: split groups with more questions; each part gets its own distractors, drawn among the
            near chunks. By default all questions of a group share its context.
    """

    def size() -> int:
        return context_chunks if fewest_chunks is None else int(rng.integers(fewest_chunks, context_chunks + 1))

    oracles = [space.oracle_rows(question) for question in questions]
    assert all(0 < len(rows) <= context_chunks for rows in oracles)
    units, alone = _tie(oracles, context_chunks)
    unit_of_row = {row: index for index, unit in enumerate(units) for row in unit.rows}
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
            nearest_first = sorted(near, key=lambda unit: (-space.closeness(group.rows, units[unit].rows), unit))
            fits = (
                unit
                for unit in nearest_first
                if len(group.rows) + len(units[unit].rows) <= wanted and _agree(space, questions, group, units[unit])
            )
            if (chosen := next(fits, None)) is None:
                break
            ungrouped.remove(chosen)
            group = ContextGroup(group.rows + units[chosen].rows, group.questions + units[chosen].questions)
        filled.append((group, wanted))
    filled += [(ContextGroup(oracles[question], (question,)), size()) for question in alone]
    if questions_per_context is None:
        contexts = [(_fill(space, questions, group, wanted), group.questions) for group, wanted in filled]
    else:
        parts = [part for group, _ in filled for part in _parts(group, oracles, questions_per_context)]
        contexts = [(_draw(space, questions, part, size(), rng), part.questions) for part in parts]
    return [ContextGroup(tuple(rng.permutation(rows).tolist()), tuple(sorted(asked))) for rows, asked in contexts]


def guarded_context(space: ChunkSpace, question: Question, rows: Rows) -> tuple[Rows, int]:
    """The chunks, with each distractor that the guard refuses for the question replaced in position.

    Returns:
        The chunks, and how many the guard refused. A chunk without a near replacement is left out.
    """
    oracles = set(space.oracle_rows(question))
    banned = [row for row in rows if row not in oracles and not space.allows(question, row)]
    return _replace(space, question, rows, banned), len(banned)


def hidden_context(
    space: ChunkSpace, question: Question, home: Rows, groups: Sequence[ContextGroup], centres: np.ndarray
) -> tuple[Rows, bool]:
    """A context without the question's oracles: that of a near group, else its own with the oracles replaced.

    Args:
        home: the question's own context, from `guarded_context`.
        centres: the mean vector of each group's chunks, float32 [G, D].

    Returns:
        The chunks (empty if none may be shown), and whether they are a group's and so shared.
    """
    oracles = space.oracle_rows(question)
    for index in best(centres @ space.mean(oracles), _NEAR_GROUPS, set()):
        rows = groups[index].rows
        if set(oracles) & set(rows) or not space.within_ranks(oracles, rows):
            continue
        if all(space.allows(question, row) for row in rows):
            return rows, True
    return _replace(space, question, home, oracles), False


def _replace(space: ChunkSpace, question: Question, rows: Rows, unwanted: Sequence[int]) -> Rows:
    """The rows with the unwanted ones replaced in position, so that the prefix before them is still shared."""
    result = list(rows)
    for row in unwanted:
        other = space.replacement(question, [*rows, *result])
        position = result.index(row)
        result[position : position + 1] = [] if other is None else [other]
    return tuple(result)


def _tie(oracles: Sequence[Rows], size: int) -> tuple[list[ContextGroup], list[int]]:
    """Groups of chunks that must stay together, by union-find, and the questions whose oracles do not fit in one."""
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
    # A chunk whose questions are all in `alone` bears no question and needs no group.
    return [ContextGroup(tuple(rows), tuple(members[top])) for top, rows in rows_of.items() if members[top]], alone


def _agree(space: ChunkSpace, questions: Sequence[Question], one: ContextGroup, other: ContextGroup) -> bool:
    """Whether the guard allows each side's chunks for the other side's questions."""
    return all(
        space.allows(questions[index], row)
        for asking, shown in ((one, other), (other, one))
        for index in asking.questions
        for row in shown.rows
    )


def _fill(space: ChunkSpace, questions: Sequence[Question], group: ContextGroup, size: int) -> Rows:
    """The group's chunks and near ones, `size` in all, first those that the guard refuses for the fewest questions."""
    window = space.nearest(group.rows, _WINDOW * size)
    refusals = [sum(not space.allows(questions[index], row) for index in group.questions) for row in window]
    fewest_first = np.argsort(refusals, kind="stable")
    return group.rows + tuple(window[index] for index in fewest_first[: max(size - len(group.rows), 0)])


def _parts(group: ContextGroup, oracles: Sequence[Rows], most: int) -> Iterator[ContextGroup]:
    """Parts of at most `most` of the group's questions, each with the oracles of its questions only."""
    indices = sorted(group.questions)
    for start in range(0, len(indices), most):
        part = tuple(indices[start : start + most])
        yield ContextGroup(tuple(dict.fromkeys(row for index in part for row in oracles[index])), part)


def _draw(
    space: ChunkSpace, questions: Sequence[Question], group: ContextGroup, size: int, rng: np.random.Generator
) -> Rows:
    """The group's chunks and near ones, `size` in all, drawn among those that the guard allows for each question."""
    window = space.nearest(group.rows, _WINDOW * size)
    allowed = [row for row in window if all(space.allows(questions[index], row) for index in group.questions)]
    missing = min(max(size - len(group.rows), 0), len(allowed))
    return group.rows + tuple(rng.permutation(allowed)[:missing].tolist())
