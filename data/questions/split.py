"""The split of documents, and with them their questions, into training, validation and evaluation.

Evaluation documents are used for the final scores only. Validation documents, if any, decide when training stops and
which adapter is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from data.documents.near_duplicates import nearest_cosines
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
        description="Share of the other documents held out to measure the loss during training, at least one; 0: none.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the draw of documents.")
    near_duplicate: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Drop training questions whose embedding has at least this cosine to a held-out question's, and "
        "validation questions that repeat evaluation questions in the same way.",
    )


@dataclass(frozen=True, slots=True)
class DocumentSplit:
    """Document ids for training, validation (may be empty) and evaluation: sorted and disjoint."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    eval: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QuestionSplit:
    """Questions for training, validation and evaluation, in input order.

    Attributes:
        dropped: questions of training documents that nearly repeat a held-out question, and questions of validation
            documents that nearly repeat an evaluation question.
    """

    train: tuple[Question, ...]
    validation: tuple[Question, ...]
    eval: tuple[Question, ...]
    dropped: tuple[Question, ...]


def split_documents(document_ids: Iterable[str], settings: SplitSettings) -> DocumentSplit:
    """A random split of the documents that have questions; it depends on the seed and the set of ids, not their order.

    The evaluation documents do not depend on `validation_fraction`.

    Raises:
        UserError: fewer than two documents, or fewer than three with validation.
    """
    ids = sorted(set(document_ids))
    if len(ids) < 2:
        raise UserError(f"{len(ids)} documents have questions: give at least 2, one to train on and one to evaluate on")
    held_out = min(max(round(len(ids) * settings.eval_fraction), 1), len(ids) - 1)
    left = len(ids) - held_out
    validated = 0
    if settings.validation_fraction > 0:
        if left < 2:
            raise UserError(
                f"{len(ids)} documents have questions and {held_out} of them are held out for evaluation: give more "
                "documents, lower split.eval_fraction, or set split.validation_fraction to 0"
            )
        validated = min(max(round(left * settings.validation_fraction), 1), left - 1)
    order = np.random.default_rng(settings.seed).permutation(len(ids))
    parts = np.split(order, [held_out, held_out + validated])
    evaluation, validation, train = (tuple(sorted(ids[i] for i in part)) for part in parts)
    return DocumentSplit(train=train, validation=validation, eval=evaluation)


def split_questions(
    questions: Sequence[Question],
    split: DocumentSplit,
    settings: SplitSettings,
    embed: Callable[[Sequence[str]], np.ndarray],
) -> QuestionSplit:
    """Assigns each question to its document's part, and drops those that nearly repeat a question held out from it.

    Args:
        embed: texts to normalized vectors, float32 [N, D] (`Embedder.embed`).

    Raises:
        UserError: every validation question nearly repeats an evaluation question.
    """
    part_of = {name: part for part in ("train", "validation", "eval") for name in getattr(split, part)}
    train, validation, evaluation = (
        [question for question in questions if part_of[question.document_id] == part]
        for part in ("train", "validation", "eval")
    )
    kept_validation, dropped_validation = _apart(validation, evaluation, settings, embed)
    if validation and not kept_validation:
        raise UserError(
            f"all {len(validation)} validation questions nearly repeat evaluation questions: raise "
            "split.validation_fraction or split.near_duplicate, or choose another split.seed"
        )
    # Dropped validation questions count as well: a validation document keeps its questions out of training.
    kept, dropped = _apart(train, validation + evaluation, settings, embed)
    return QuestionSplit(
        tuple(kept), tuple(kept_validation), tuple(evaluation), dropped=(*dropped, *dropped_validation)
    )


def repeats_a_question(
    texts: Sequence[str], vectors: np.ndarray, held_out: Sequence[Question], held_out_vectors: np.ndarray, cosine: float
) -> list[bool]:
    """Whether each text has the wording of a held-out question, or at least this cosine to one.

    Args:
        vectors, held_out_vectors: of texts and held-out questions, normalized, float32 [N, D] and [H, D].
    """
    wordings = {same_wording(question.question) for question in held_out}
    nearest = nearest_cosines(vectors, held_out_vectors)[1]
    return [same_wording(text) in wordings or near >= cosine for text, near in zip(texts, nearest, strict=True)]


def _apart(
    questions: Sequence[Question],
    others: Sequence[Question],
    settings: SplitSettings,
    embed: Callable[[Sequence[str]], np.ndarray],
) -> tuple[list[Question], list[Question]]:
    """The questions that repeat none of the others, and those that do."""
    if not questions:
        return [], []
    texts = [question.question for question in questions]
    vectors, other_vectors = embed(texts), embed([other.question for other in others])
    repeats = repeats_a_question(texts, vectors, others, other_vectors, settings.near_duplicate)
    kept = [question for question, repeated in zip(questions, repeats, strict=True) if not repeated]
    return kept, [question for question, repeated in zip(questions, repeats, strict=True) if repeated]
