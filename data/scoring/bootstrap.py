"""Confidence intervals and paired tests by resampling questions (the percentile bootstrap)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_BLOCK = 1 << 22  # drawn indices in memory at once
_RESAMPLES, _CONFIDENCE = 2000, 0.95


def bootstrap_interval(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    seed: int = 0,
    resamples: int = _RESAMPLES,
    confidence: float = _CONFIDENCE,
) -> tuple[float, float]:
    """The percentile interval of sum(values) / sum(weights) over resampled questions.

    Args:
        values: [N], one for each question.
        weights: [N], not all 0; 1 each by default, which makes the ratio a mean.

    Returns:
        The low and the high end.
    """
    values = np.asarray(values, np.float64)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    ratios: list[np.ndarray] = []
    for drawn in _draws(len(values), seed, resamples):
        totals = weights[drawn].sum(axis=1)
        # The ratio is undefined in a resample without any weight.
        ratios.append(values[drawn].sum(axis=1)[totals > 0] / totals[totals > 0])
    low, high = np.quantile(np.concatenate(ratios), _ends(confidence))
    return float(low), float(high)


class PairedDifference(NamedTuple):
    """The difference of two sides, its interval, and the two-sided p of no difference."""

    change: float
    low: float
    high: float
    p: float


def paired_difference(
    new: tuple[np.ndarray, np.ndarray],
    standing: tuple[np.ndarray, np.ndarray],
    *,
    seed: int = 0,
    resamples: int = _RESAMPLES,
    confidence: float = _CONFIDENCE,
) -> PairedDifference:
    """The difference new - standing over the same resampled questions.

    Questions that are hard for both sides do not widen the interval. p is twice the smaller share of resamples on one
    side of zero (Efron and Tibshirani 1993, 15.4); resamples without a difference count for both sides, and the
    smallest p is 2 / (resamples + 1).

    Args:
        new, standing: (values, weights), float64 [N] each, in the same order; weights are not all 0.
    """
    sides = [tuple(np.asarray(part, np.float64) for part in side) for side in (new, standing)]
    resampled: list[np.ndarray] = []
    for drawn in _draws(len(sides[0][0]), seed, resamples):
        totals = [weights[drawn].sum(axis=1) for _, weights in sides]
        sums = [values[drawn].sum(axis=1) for values, _ in sides]
        counts = (totals[0] > 0) & (totals[1] > 0)
        resampled.append(sums[0][counts] / totals[0][counts] - sums[1][counts] / totals[1][counts])
    changes = np.concatenate(resampled)
    low, high = np.quantile(changes, _ends(confidence))
    change = [values.sum() / weights.sum() for values, weights in sides]
    rounding = 1e-9
    shares = [float((1 + (side * changes <= rounding).sum()) / (1 + len(changes))) for side in (1, -1)]
    return PairedDifference(float(change[0] - change[1]), float(low), float(high), min(1.0, 2 * min(shares)))


def _ends(confidence: float) -> tuple[float, float]:
    return (1 - confidence) / 2, (1 + confidence) / 2


def _draws(count: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Blocks of drawn indices, int64 [rows, count], `resamples` rows in all."""
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // count)
    for start in range(0, resamples, rows):
        yield rng.integers(0, count, (min(rows, resamples - start), count))
