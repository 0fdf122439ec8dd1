"""The split into documents for training and documents for evaluation, and the questions that follow them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from data.questions import Question, same_wording


class SplitSettings(BaseModel):
    """Which documents are held out for evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    eval_fraction: float = Field(
        default=0.25, gt=0, lt=1, description="Share of the documents held out for evaluation, at least one."
    )
    seed: int = Field(default=0, ge=0, description="Chooses the documents.")
    near_duplicate: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="A training question is dropped when the cosine of its embedding and an evaluation question's is "
        "at least this.",
    )


@dataclass(frozen=True, slots=True)
class Split:
    """Document ids for training and for evaluation, sorted; no id stands in both."""

    train: tuple[str, ...]
    eval: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuestionSplit:
    """Questions for training and for evaluation, in their first order.

    Attributes:
        dropped: questions of training documents that nearly repeat an evaluation question.
    """

    train: tuple[Question, ...]
    eval: tuple[Question, ...]
    dropped: tuple[Question, ...]


def split_documents(document_ids: Iterable[str], settings: SplitSettings) -> Split:
    """Splits the documents that have questions, at random by the seed; the order of the ids does not matter.

    Raises:
        ValueError: fewer than two documents.
    """
    ids = sorted(set(document_ids))
    if len(ids) < 2:
        raise ValueError(
            f"{len(ids)} documents have questions: give at least 2, one to train on and one to evaluate on"
        )
    held_out = min(max(round(len(ids) * settings.eval_fraction), 1), len(ids) - 1)
    order = np.random.default_rng(settings.seed).permutation(len(ids))
    return Split(
        train=tuple(sorted(ids[i] for i in order[held_out:])),
        eval=tuple(sorted(ids[i] for i in order[:held_out])),
    )


def split_questions(
    questions: Sequence[Question],
    split: Split,
    settings: SplitSettings,
    embed: Callable[[Sequence[str]], np.ndarray],
) -> QuestionSplit:
    """Gives each question to its document's side and drops training questions that nearly repeat one of evaluation.

    Args:
        embed: texts to normalized vectors, float32 [N, D] (`Embedder.embed`).
    """
    in_train, in_eval = set(split.train), set(split.eval)
    assert all((q.document_id in in_train) != (q.document_id in in_eval) for q in questions)
    train = [question for question in questions if question.document_id in in_train]
    held_out = [question for question in questions if question.document_id in in_eval]
    wordings = {same_wording(question.question) for question in held_out}
    nearest = _largest_cosines(embed([q.question for q in train]), embed([q.question for q in held_out]))
    kept: list[Question] = []
    dropped: list[Question] = []
    for question, cosine in zip(train, nearest, strict=True):
        repeats = same_wording(question.question) in wordings or cosine >= settings.near_duplicate
        (dropped if repeats else kept).append(question)
    return QuestionSplit(train=tuple(kept), eval=tuple(held_out), dropped=tuple(dropped))


def _largest_cosines(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of N vectors the largest inner product with any of M others, float32 [N], in blocks of rows."""
    if len(others) == 0:
        return np.full(len(vectors), -1, np.float32)
    blocks = [(vectors[i : i + 1024] @ others.T).max(axis=1) for i in range(0, len(vectors), 1024)]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
