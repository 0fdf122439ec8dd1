"""What a teacher is asked: for each chunk, questions of kinds that are drawn by the seed and the chunk's own text.

A draw depends on nothing else, so that a corpus that grows asks only about what is new, and what was paid stays paid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from data.documents.chunks import Chunk
from data.prompting.prompts import Prompt
from data.teacher.prompts import RESPONSE_FORMAT, teacher_prompt
from data.teacher.settings import Kind, TeacherSettings
from user_error import UserError


@dataclass(frozen=True, slots=True)
class PlainCall:
    """A prompt whose answer is taken as it is."""

    response_format: ClassVar[None] = None

    prompt: Prompt


@dataclass(frozen=True, slots=True)
class TeacherCall:
    """One call of the teacher for questions.

    Attributes:
        chunks: the chunk that is asked about; before another one of its document where two are compared.
        kinds: of the questions wanted, in order.
    """

    chunks: tuple[Chunk, ...]
    kinds: tuple[Kind, ...]

    @property
    def prompt(self) -> Prompt:
        """What the model reads."""
        return teacher_prompt(self.chunks, self.kinds)

    @property
    def response_format(self) -> dict[str, Any]:
        """What it is asked to write."""
        return RESPONSE_FORMAT


def plan_calls(chunks: Sequence[Chunk], settings: TeacherSettings) -> list[TeacherCall]:
    """The calls for some chunks, in their order.

    A chunk has one call, and one more where a comparison is drawn for it. The only chunk of a document has nothing to
    be compared with: its comparisons are drawn again among the other kinds.

    Raises:
        UserError: comparisons are all that is wanted, and no document has two chunks.
    """
    by_document: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        by_document.setdefault(chunk.document_id, []).append(chunk)
    draws = {chunk.id: _rng(chunk, settings.seed) for chunk in chunks}
    room = len(chunks) * settings.questions_per_chunk
    if settings.max_questions is not None:
        room = min(room, settings.max_questions)
    # By a number that is the chunk's own: with more room, the chunks of a smaller one are asked about as before.
    order = sorted(range(len(chunks)), key=lambda place: (draws[chunks[place].id].random(), place))
    planned: dict[int, list[TeacherCall]] = {}
    for place in order:
        if room <= 0:
            break
        planned[place] = _calls_of(chunks[place], by_document, draws[chunks[place].id], settings, room)
        room -= sum(len(call.kinds) for call in planned[place])
    calls = [call for place in sorted(planned) for call in planned[place]]
    if not calls:
        raise UserError("only comparisons are wanted, and no document has two chunks: give other kinds a share")
    return calls


def _calls_of(
    chunk: Chunk, by_document: dict[str, list[Chunk]], rng: np.random.Generator, settings: TeacherSettings, room: int
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
    kinds = [names[number] for number in drawn.tolist()][:room]
    calls = []
    if alone := tuple(kind for kind in kinds if kind != "compare"):
        calls.append(TeacherCall((chunk,), alone))
    if together := tuple(kind for kind in kinds if kind == "compare"):
        calls.append(TeacherCall((chunk, others[int(rng.integers(len(others)))]), together))
    return calls


def _rng(chunk: Chunk, seed: int) -> np.random.Generator:
    """Draws that are the chunk's own: by its text and headings, and not by its place in the document."""
    digest = hashlib.sha256("\0".join((str(seed), *chunk.heading_path, chunk.text)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
