"""Texts that nearly repeat others: by the cosine of their vectors, and by the runs of words that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.text.words import WORD, AlikeTexts, Runs, word_runs

_PRODUCTS = 1 << 25  # products held at once


@dataclass(frozen=True, slots=True)
class Repeat:
    """The text that one repeats most: its place among the others, their cosine, and the share of words if looked at."""

    place: int
    cosine: float
    words: float = 0.0


def nearest_cosines(vectors: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of N vectors the place of the nearest of M others and their cosine, int64 [N] and float32 [N].

    Args:
        vectors, others: normalized, float32 [N, D] and [M, D]. Without others, places are 0 and cosines -1.
    """
    places, cosines = np.zeros(len(vectors), np.int64), np.full(len(vectors), -1, np.float32)
    step = max(_PRODUCTS // max(len(others), 1), 1)
    for start in range(0, len(vectors) if len(others) else 0, step):
        products = vectors[start : start + step] @ others.T
        places[start : start + step] = products.argmax(axis=1)
        cosines[start : start + step] = products.max(axis=1)
    return places, cosines


def shared_words(texts: Sequence[str], others: Sequence[str], least: float) -> dict[int, tuple[int, float]]:
    """For the texts that share at least this part of their runs of words with one of the others: which, and how much.

    Returns:
        Place of the text -> place of the other that shares most, and the share (Jaccard), in the order of the texts.
    """
    runs_of_texts, runs_of_others = ([_runs(text) for text in each] for each in (texts, others))
    alike = AlikeTexts(least, [*runs_of_texts, *runs_of_others])
    for runs in runs_of_others:
        alike.add(runs)
    found: dict[int, tuple[int, float]] = {}
    for place, runs in enumerate(runs_of_texts):
        if repeats := alike.find(runs):
            found[place] = max(repeats, key=lambda item: (item[1], -item[0]))
    return found


def _runs(text: str) -> Runs:
    """The runs of a text; the whole of one that is too short for any."""
    return word_runs(text) or frozenset((" ".join(WORD.findall(text.casefold())).encode(),))
