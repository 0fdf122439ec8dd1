"""Near duplicates among texts: by the cosine of their vectors, and by shared runs of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.text.words import WORD, AlikeTexts, Runs, word_runs

_PRODUCTS = 1 << 25  # products held at once


@dataclass(frozen=True, slots=True)
class Repeat:
    """The most similar other text: its index, the cosine, and the similarity of words if it was computed."""

    index: int
    cosine: float
    words: float = 0.0


def nearest_cosines(vectors: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of N vectors the index of the nearest of M others and their cosine, int64 [N] and float32 [N].

    Args:
        vectors, others: normalized, float32 [N, D] and [M, D]. Without others, indices are 0 and cosines -1.
    """
    indices, cosines = np.zeros(len(vectors), np.int64), np.full(len(vectors), -1, np.float32)
    step = max(_PRODUCTS // max(len(others), 1), 1)
    for start in range(0, len(vectors) if len(others) else 0, step):
        products = vectors[start : start + step] @ others.T
        indices[start : start + step] = products.argmax(axis=1)
        cosines[start : start + step] = products.max(axis=1)
    return indices, cosines


def shared_words(texts: Sequence[str], others: Sequence[str], least: float) -> dict[int, tuple[int, float]]:
    """The most similar other text, for each text whose runs of words have at least this Jaccard similarity with one.

    Returns:
        Index of the text -> (index of the other, similarity), in the order of the texts.
    """
    runs_of_texts, runs_of_others = ([_runs(text) for text in each] for each in (texts, others))
    alike = AlikeTexts(least, [*runs_of_texts, *runs_of_others])
    for runs in runs_of_others:
        alike.add(runs)
    nearest: dict[int, tuple[int, float]] = {}
    for index, runs in enumerate(runs_of_texts):
        if repeats := alike.find(runs):
            nearest[index] = max(repeats, key=lambda item: (item[1], -item[0]))
    return nearest


def _runs(text: str) -> Runs:
    """The runs of a text; a text too short for a run is one run."""
    return word_runs(text) or frozenset((" ".join(WORD.findall(text.casefold())).encode(),))
