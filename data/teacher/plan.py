"""Plans the calls of a teacher: for each chunk, questions of kinds drawn by the seed and the chunk's own text.

A draw depends on nothing else, so that a growing corpus adds calls for new chunks only, and paid answers stay valid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.documents.chunks import Chunk
from data.prompting.prompts import Prompt
from data.teacher.prompts import RESPONSE_FORMAT, teacher_prompt
from data.teacher.settings import Kind, TeacherSettings
from user_error import UserError


@dataclass(frozen=True, slots=True)
class TeacherCall:
    """One call of the teacher for questions.

    Attributes:
        chunks: the chunk; for a comparison followed by another one of its document.
        kinds: of the requested questions, in order.
    """

    chunks: tuple[Chunk, ...]
    kinds: tuple[Kind, ...]

    @property
    def prompt(self) -> Prompt:
        """The prompt of the model."""
        return teacher_prompt(self.chunks, self.kinds)

    @property
    def response_format(self) -> dict[str, Any]:
        """The JSON schema of the answer."""
        return RESPONSE_FORMAT


def plan_calls(chunks: Sequence[Chunk], settings: TeacherSettings) -> list[TeacherCall]:
    """The calls for the chunks, in their order.

    A chunk has one call, and another if a comparison is drawn for it. The kinds of a document's only chunk are drawn
    without comparisons.

    Raises:
        UserError: only comparisons are requested, and no document has two chunks.
    """
    by_document: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        by_document.setdefault(chunk.document_id, []).append(chunk)
    draws = {chunk.id: _rng(chunk, settings.seed) for chunk in chunks}
    left = len(chunks) * settings.questions_per_chunk
    if settings.max_questions is not None:
        left = min(left, settings.max_questions)
    # In the order of each chunk's own random number: a larger max_questions keeps the calls of a smaller one.
    order = sorted(range(len(chunks)), key=lambda index: (draws[chunks[index].id].random(), index))
    planned: dict[int, list[TeacherCall]] = {}
    for index in order:
        if left <= 0:
            break
        planned[index] = _calls_of(chunks[index], by_document, draws[chunks[index].id], settings, left)
        left -= sum(len(call.kinds) for call in planned[index])
    calls = [call for index in sorted(planned) for call in planned[index]]
    if not calls:
        raise UserError(
            "teacher.kinds requests only comparisons, and no document has two chunks: give other kinds a share"
        )
    return calls


def _calls_of(
    chunk: Chunk, by_document: dict[str, list[Chunk]], rng: np.random.Generator, settings: TeacherSettings, most: int
) -> list[TeacherCall]:
    others = [other for other in by_document[chunk.document_id] if other.id != chunk.id]
    shares = settings.kinds.shares
    if not others:
        shares = {kind: share for kind, share in shares.items() if kind != "compare"}
    total = sum(shares.values())
    if not total:
        return []
    names: list[Kind] = list(shares)
    drawn = rng.choice(len(names), size=settings.questions_per_chunk, p=[shares[name] / total for name in names])
    kinds = [names[number] for number in drawn.tolist()][:most]
    calls = []
    if alone := tuple(kind for kind in kinds if kind != "compare"):
        calls.append(TeacherCall((chunk,), alone))
    if together := tuple(kind for kind in kinds if kind == "compare"):
        calls.append(TeacherCall((chunk, others[int(rng.integers(len(others)))]), together))
    return calls


def _rng(chunk: Chunk, seed: int) -> np.random.Generator:
    """A generator seeded by the chunk's text and headings, not by its position in the document."""
    digest = hashlib.sha256("\0".join((str(seed), *chunk.heading_path, chunk.text)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
