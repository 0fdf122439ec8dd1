"""The split into documents for training, for validation and for evaluation, and the questions that follow them.

Evaluation documents are for the final scores alone. Validation documents, if any, watch the training: when it stops and
which adapter is kept are decisions of training, and evaluation documents have no part in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from data.questions.questions import Question, same_wording
from user_error import UserError


class SplitSettings(BaseModel):
    """Which documents are held out for evaluation, and for validation during training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    eval_fraction: float = Field(
        default=0.25, gt=0, lt=1, description="Share of the documents held out for evaluation, at least one."
    )
    validation_fraction: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the other documents held out to watch the loss in training, at least one; 0 for none.",
    )
    seed: int = Field(default=0, ge=0, description="Chooses the documents.")
    near_duplicate: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="A training question is dropped when the cosine of its embedding and a held-out question's is at "
        "least this; likewise a validation question beside those of evaluation.",
    )


@dataclass(frozen=True, slots=True)
class Split:
    """Document ids for training, validation (perhaps none) and evaluation, sorted; no id stands in two."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    eval: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuestionSplit:
    """Questions for training, validation and evaluation, in their first order.

    Attributes:
        dropped: questions of training documents that nearly repeat a held-out question, and of validation documents
            that nearly repeat one of evaluation.
    """

    train: tuple[Question, ...]
    validation: tuple[Question, ...]
    eval: tuple[Question, ...]
    dropped: tuple[Question, ...]


def split_documents(document_ids: Iterable[str], settings: SplitSettings) -> Split:
    """Splits the documents that have questions, at random by the seed; the order of the ids does not matter.

    The evaluation documents are the same whatever `validation_fraction` is.

    Raises:
        UserError: fewer than two documents, or fewer than three where there is to be validation.
    """
    ids = sorted(set(document_ids))
    if len(ids) < 2:
        raise UserError(f"{len(ids)} documents have questions: give at least 2, one to train on and one to evaluate on")
    held_out = min(max(round(len(ids) * settings.eval_fraction), 1), len(ids) - 1)
    left = len(ids) - held_out
    watched = 0
    if settings.validation_fraction > 0:
        if left < 2:
            raise UserError(
                f"{len(ids)} documents have questions and {held_out} of them are held out for evaluation: give more "
                "documents, lower split.eval_fraction, or set split.validation_fraction to 0"
            )
        watched = min(max(round(left * settings.validation_fraction), 1), left - 1)
    order = np.random.default_rng(settings.seed).permutation(len(ids))
    parts = np.split(order, [held_out, held_out + watched])
    evaluation, validation, train = (tuple(sorted(ids[i] for i in part)) for part in parts)
    return Split(train=train, validation=validation, eval=evaluation)


def split_questions(
    questions: Sequence[Question],
    split: Split,
    settings: SplitSettings,
    embed: Callable[[Sequence[str]], np.ndarray],
) -> QuestionSplit:
    """Gives each question to its document's side and drops those that nearly repeat a question held out from them.

    Args:
        embed: texts to normalized vectors, float32 [N, D] (`Embedder.embed`).

    Raises:
        UserError: every validation question nearly repeats one of evaluation.
    """
    sides = {name: side for side in ("train", "validation", "eval") for name in getattr(split, side)}
    train, validation, evaluation = (
        [question for question in questions if sides[question.document_id] == side]
        for side in ("train", "validation", "eval")
    )
    watched, dropped_watched = _apart(validation, evaluation, settings, embed)
    if validation and not watched:
        raise UserError(
            f"all {len(validation)} validation questions nearly repeat evaluation questions: raise "
            "split.validation_fraction or split.near_duplicate, or choose another split.seed"
        )
    # Also apart from what was dropped: a validation document keeps its questions out of training.
    kept, dropped = _apart(train, validation + evaluation, settings, embed)
    return QuestionSplit(tuple(kept), tuple(watched), tuple(evaluation), dropped=(*dropped, *dropped_watched))


def _apart(
    questions: Sequence[Question],
    others: Sequence[Question],
    settings: SplitSettings,
    embed: Callable[[Sequence[str]], np.ndarray],
) -> tuple[list[Question], list[Question]]:
    """The questions that repeat none of the others, and those that nearly do."""
    if not questions:
        return [], []
    wordings = {same_wording(other.question) for other in others}
    nearest = _largest_cosines(embed([q.question for q in questions]), embed([q.question for q in others]))
    kept: list[Question] = []
    dropped: list[Question] = []
    for question, cosine in zip(questions, nearest, strict=True):
        repeats = same_wording(question.question) in wordings or cosine >= settings.near_duplicate
        (dropped if repeats else kept).append(question)
    return kept, dropped


def _largest_cosines(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of N vectors the largest inner product with any of M others, float32 [N], in blocks of rows."""
    if len(others) == 0:
        return np.full(len(vectors), -1, np.float32)
    blocks = [(vectors[i : i + 1024] @ others.T).max(axis=1) for i in range(0, len(vectors), 1024)]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
