"""The split of documents, and with them their questions, into training, validation and evaluation.

Evaluation documents are used for the final scores only. Validation documents, if any, decide when training stops and
which adapter is kept.

A document's side is a function of its name, of the seed and of the shares, so that it keeps its side for life: other
documents that come, go or change never move it. The shares are therefore met on average only.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from data.documents.documents import Document
from data.questions.document_names import DocumentNames
from data.questions.questions import Question, RawQuestion, same_wording
from data.questions.repeats import repeats_a_question
from user_error import UserError

SplitBy = Literal["document", "question"]
#: Said wherever scores of a split by question are shown.
LEAK_NOTE = (
    "The split is by question (split.by=question): the documents of evaluation questions are trained on as well, so "
    "that scores are too high for documents that training never saw."
)
_ROW = re.compile(r"#\d+(\.txt)?$")  # the end of a path that is a row or a part of a file


class SplitSettings(BaseModel):
    """Which documents are held out for evaluation, and for validation during training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: SplitBy = Field(
        default="document",
        description="What is held out: documents with all their questions, or single questions (for one document: its "
        "text is then trained on, and scores are too high).",
    )
    eval_fraction: float = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="Share of the documents held out for evaluation, on average: each document's path decides, so "
        "that it keeps its side. At least one.",
    )
    validation_fraction: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the other documents held out to measure the loss during training, on average and at "
        "least one; 0: none.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of the draw of documents.")
    near_duplicate: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Drop training questions whose embedding has at least this cosine to a held-out question's, and "
        "validation questions that repeat evaluation questions in the same way. Those that differ in a number, or in "
        "a word and the answer, are no repetitions.",
    )


@dataclass(frozen=True, slots=True)
class Sides:
    """The keys of what is split for training, validation (may be empty) and evaluation: sorted and disjoint.

    Attributes:
        moved: keys that are not on the side that the hash gives them, so that no side is empty.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    eval: tuple[str, ...]
    moved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionSplit:
    """Questions for training, validation and evaluation, in input order.

    Attributes:
        dropped: questions for training that nearly repeat a held-out question, and questions for validation that
            nearly repeat an evaluation question.
        facts: how it was split, as plain JSON: `by`, `seed`, `documents` and `questions` of each part, `moved`, `note`.
    """

    train: tuple[Question, ...]
    validation: tuple[Question, ...]
    eval: tuple[Question, ...]
    dropped: tuple[Question, ...]
    facts: Mapping[str, Any]


def document_key(document: Document) -> str:
    """What a document keeps its side by: its path or, for a row of a file, the file's path and the row's text.

    A row's number changes when another row is inserted before it; a renamed file counts as another document.
    """
    path = unicodedata.normalize("NFC", document.path)
    if row := _ROW.search(path):
        return f"{path[: row.start()]}#{hashlib.sha256(document.text.encode()).hexdigest()}"
    return path


def split_keys(keys: Iterable[str], settings: SplitSettings) -> Sides:
    """The side of each key, by hashes of seed and key; no key's side depends on the others, except as `Sides.moved`.

    If the hashes leave a side empty, the key whose hash is nearest goes there, and returns when another one comes. Of
    two numbers of one key, one decides about evaluation and one about validation, so that a larger share adds to a
    side and takes nothing from it, and evaluation does not depend on validation.

    Raises:
        UserError: there are too few keys for the sides.
    """
    unique = sorted(set(keys))
    check_enough(len(unique), settings)
    validates = settings.validation_fraction > 0

    def drawn(names: Sequence[str], purpose: str, share: float, most: int) -> tuple[list[str], list[str]]:
        """The names that the share draws, at least one and at most `most`; and those that this moved."""
        order = sorted(names, key=lambda name: (_draw(settings.seed, purpose, name), name))
        hashed = sum(_draw(settings.seed, purpose, name) < share for name in order)
        number = min(max(hashed, 1), most)
        return order[:number], order[min(number, hashed) : max(number, hashed)]

    evaluation, moved = drawn(unique, "eval", settings.eval_fraction, len(unique) - 1 - validates)
    others = sorted(set(unique) - set(evaluation))
    validation: list[str] = []
    if validates:
        validation, more = drawn(others, "validation", settings.validation_fraction, len(others) - 1)
        moved += more
    train = set(others) - set(validation)
    return Sides(tuple(sorted(train)), tuple(sorted(validation)), tuple(sorted(evaluation)), tuple(sorted(set(moved))))


def check_enough(number: int, settings: SplitSettings) -> None:
    """Checks that there are enough documents, or questions, for a training, an evaluation and a validation side.

    Raises:
        UserError: there are not; says what would be enough.
    """
    needed = 3 if settings.validation_fraction > 0 else 2
    if number >= needed:
        return
    sides = "one to train on and one to evaluate on" + (" and one to validate on" if needed == 3 else "")
    if settings.by == "question":
        raise UserError(f"{number} questions are left to be split: give at least {needed}, {sides}")
    have = "1 document has" if number == 1 else f"{number} documents have"
    fewer = " or set split.validation_fraction to 0," if needed == 3 and number == 2 else ""
    raise UserError(
        f"{have} questions: give at least {needed}, {sides};{fewer} or set split.by=question, which holds out "
        "questions of documents that are trained on, so that scores are too high"
    )


def most_documents(questions: Sequence[RawQuestion], documents: Sequence[Document]) -> int:
    """How many documents the questions may be about, as far as their names tell: without a name, any."""
    if not questions or any(raw.document is None for raw in questions):
        return len(documents)
    names = DocumentNames(documents)
    meant = (names.find(name) for name in {raw.document for raw in questions} if name is not None)
    return len({document_key(document) for found in meant if len(found) == 1 for document in found})


def split_questions(
    questions: Sequence[Question],
    documents: Mapping[str, Document],
    settings: SplitSettings,
    embed: Callable[[Sequence[str]], np.ndarray],
) -> QuestionSplit:
    """Splits the questions by document or by wording, and drops those that nearly repeat one held out from them.

    Args:
        documents: by id.
        embed: texts to normalized vectors, float32 [N, D] (`Embedder.embed`).

    Raises:
        UserError: too few documents have questions, or every validation question nearly repeats an evaluation question.
    """
    if settings.by == "document":
        keys = [document_key(documents[question.document_id]) for question in questions]
    else:
        keys = [same_wording(question.question) for question in questions]
    sides = split_keys(keys, settings)
    part_of = {key: part for part in ("train", "validation", "eval") for key in getattr(sides, part)}
    train, validation, evaluation = (
        [question for question, key in zip(questions, keys, strict=True) if part_of[key] == part]
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
        tuple(kept),
        tuple(kept_validation),
        tuple(evaluation),
        dropped=(*dropped, *dropped_validation),
        facts=_facts({"train": train, "validation": validation, "eval": evaluation}, documents, sides, settings),
    )


def _draw(seed: int, purpose: str, key: str) -> float:
    """A number from 0 to 1 that seed, purpose and key decide."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _facts(
    parts: Mapping[str, Sequence[Question]], documents: Mapping[str, Document], sides: Sides, settings: SplitSettings
) -> dict[str, Any]:
    held = {part: len({question.document_id for question in questions}) for part, questions in parts.items()}
    every = {question.document_id for questions in parts.values() for question in questions}
    total = sum(map(len, parts.values()))
    if settings.by == "question":
        unit, drawn, all_of_it, decides = "questions", len(parts["eval"]), total, "wording of each question"
    else:
        unit, drawn, all_of_it, decides = "documents", held["eval"], len(every), "path of each document"
    note = f"{drawn} of {all_of_it} {unit} ({drawn / all_of_it:.0%}) are held out for evaluation"
    if settings.by == "document":
        note += f", with {len(parts['eval'])} of {total} questions"
    if settings.validation_fraction > 0:
        validated = len(parts["validation"]) if settings.by == "question" else held["validation"]
        note += f", and {validated} for validation"
    note += f". The {decides} decides, for life; split.eval_fraction={settings.eval_fraction:g} is met on average."
    moved = []
    if sides.moved:
        by_key = {document_key(document): document.path for document in documents.values()}
        moved = sorted(by_key.get(key, key) for key in sides.moved)
        some = ", ".join(moved[:5]) + (f" and {len(moved) - 5} more" if len(moved) > 5 else "")
        note += (
            f" {some} changed sides, since one side would have been empty; this may change when documents are added."
        )
    if settings.by == "question":
        note += f" {LEAK_NOTE}"
    return {
        "by": settings.by,
        "seed": settings.seed,
        "documents": held,
        "questions": {part: len(questions) for part, questions in parts.items()},
        "moved": moved,
        "note": note,
    }


def _apart(
    questions: Sequence[Question],
    others: Sequence[Question],
    settings: SplitSettings,
    embed: Callable[[Sequence[str]], np.ndarray],
) -> tuple[list[Question], list[Question]]:
    """The questions that repeat none of the others, and those that do."""
    if not questions:
        return [], []
    vectors, other_vectors = (embed([question.question for question in some]) for some in (questions, others))
    pairs = [(question.question, question.answers) for question in questions]
    repeats = repeats_a_question(pairs, vectors, others, other_vectors, settings.near_duplicate)
    kept = [question for question, repeated in zip(questions, repeats, strict=True) if not repeated]
    return kept, [question for question, repeated in zip(questions, repeats, strict=True) if repeated]
