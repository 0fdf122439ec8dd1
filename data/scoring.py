"""Scores of answers: exact match and F1 as in SQuAD, quotes, citations, abstention, retrieval; intervals and a table.

question, output, chunks --score_answer--> AnswerScore --summarize--> one rung as a dict --rung_table--> Markdown
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.chunks import Chunk
from data.prompts import Parsed, fold_space
from data.questions import Question

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_BLOCK = 1 << 22  # draws of the bootstrap that are held at once

# Key of a rung and head of its column, in the table's order.
COLUMNS = {
    "exact_match": "exact match",
    "token_f1": "token F1",
    "quote_precision": "quote precision",
    "quote_rate": "with a quote",
    "oracle_citation": "cites the oracle",
    "abstention": "abstains",
    "recall": "recall@k",
}


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """The scores of one answer.

    Attributes:
        question_id: `Question.id`.
        exact_match, token_f1: 0 to 1, against the question's answer.
        quotes: how many the answer gives.
        verbatim_quotes: how many of these stand in a chunk that was shown, after white-space folding.
        cites_oracle: whether one of these stands in an oracle chunk.
        abstained: whether it says that the documents do not hold the answer.
        recall: share of the question's oracles among the chunks shown; None when none were, or where there are no
            oracles, since the documents do not answer the question.
    """

    question_id: str
    exact_match: float
    token_f1: float
    quotes: int
    verbatim_quotes: int
    cites_oracle: bool
    abstained: bool
    recall: float | None


def score_answer(question: Question, parsed: Parsed, shown: Sequence[Chunk], oracles: Sequence[Chunk]) -> AnswerScore:
    """Scores one answer.

    Args:
        shown: the chunks of the prompt; none for a closed-book one.
        oracles: the chunks of `question.oracle_ids`.
    """
    shown_ids = [chunk.id for chunk in shown]
    return AnswerScore(
        question_id=question.id,
        exact_match=exact_match(parsed.answer, question.answer),
        token_f1=token_f1(parsed.answer, question.answer),
        quotes=len(parsed.quotes),
        verbatim_quotes=sum(stands_in(quote, shown) for quote in parsed.quotes),
        cites_oracle=bool(question.quotes) and any(stands_in(quote, oracles) for quote in parsed.quotes),
        abstained=parsed.abstained,
        recall=recall_at_k(shown_ids, question.oracle_ids, len(shown_ids)) if shown and question.quotes else None,
    )


def normalize_answer(text: str) -> str:
    """SQuAD's normalisation (rajpurkar/SQuAD-explorer, evaluate-v2.0.py).

    Lower case; no ASCII punctuation, articles or extra spaces.
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, answer: str) -> float:
    """1 when both are the same after normalisation, else 0."""
    return float(normalize_answer(prediction) == normalize_answer(answer))


def token_f1(prediction: str, answer: str) -> float:
    """Harmonic mean of precision and recall of the normalised words, as bags; 0 to 1."""
    predicted, expected = normalize_answer(prediction).split(), normalize_answer(answer).split()
    if not predicted or not expected:
        return float(predicted == expected)
    common = sum((Counter(predicted) & Counter(expected)).values())
    return 2 * common / (len(predicted) + len(expected))


def stands_in(quote: str, chunks: Sequence[Chunk]) -> bool:
    """Whether a quote stands in one of the chunks, letter for letter after white-space folding; an empty one never."""
    folded = fold_space(quote)
    return bool(folded) and any(folded in fold_space(chunk.text) for chunk in chunks)


def recall_at_k(found_ids: Sequence[str], oracle_ids: Sequence[str], k: int) -> float:
    """The share of the oracles among the first k found."""
    return len(set(found_ids[:k]) & set(oracle_ids)) / len(set(oracle_ids))


def bootstrap_interval(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The percentile interval of sum(values) / sum(weights) when the questions are drawn anew.

    Args:
        values: [N], one for each question.
        weights: [N], what each counts for, at least one of them not 0; 1 each when left out, which makes it a mean.

    Returns:
        The low and the high end.
    """
    values = np.asarray(values, np.float64)
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    rng = np.random.default_rng(seed)
    ratios: list[np.ndarray] = []
    rows = max(1, _BLOCK // len(values))
    for start in range(0, resamples, rows):
        drawn = rng.integers(0, len(values), (min(rows, resamples - start), len(values)))
        totals = weights[drawn].sum(axis=1)
        # A draw without anything that counts says nothing about the ratio.
        ratios.append(values[drawn].sum(axis=1)[totals > 0] / totals[totals > 0])
    low, high = np.quantile(np.concatenate(ratios), ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)


def summarize(name: str, scores: Sequence[AnswerScore], *, seed: int = 0) -> dict[str, Any]:
    """One rung of the evaluation ladder.

    Returns:
        `name`, `questions` (how many), and for each key of `COLUMNS` {"value", "low", "high"} with a 95% interval,
        0 to 1, or None where nothing counts (quote precision without a quote, recall without retrieval).
        quote_precision is over all quotes, the others over all questions.
    """
    if not scores:
        raise ValueError(f"no answer to score for {name!r}: give at least one question of a held-out document")
    quotes = np.array([score.quotes for score in scores])
    retrieved = np.array([score.recall is not None for score in scores])
    ones = np.ones(len(scores))
    measured = {
        "exact_match": (np.array([score.exact_match for score in scores]), ones),
        "token_f1": (np.array([score.token_f1 for score in scores]), ones),
        "quote_precision": (np.array([score.verbatim_quotes for score in scores]), quotes),
        "quote_rate": (quotes > 0, ones),
        "oracle_citation": (np.array([score.cites_oracle for score in scores]), ones),
        "abstention": (np.array([score.abstained for score in scores]), ones),
        "recall": (np.array([score.recall or 0.0 for score in scores]), retrieved),
    }
    assert list(measured) == list(COLUMNS)
    rung: dict[str, Any] = {"name": name, "questions": len(scores)}
    for key, (values, weights) in measured.items():
        rung[key] = None
        if weights.sum() > 0:
            low, high = bootstrap_interval(values, weights, seed=seed)
            rung[key] = {"value": float(values.sum() / weights.sum()), "low": low, "high": high}
    return rung


def rung_table(rungs: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table, aligned so that it reads well as plain text too: a row a rung, percent with 95% intervals."""
    rows = [["", "questions", *COLUMNS.values()]]
    rows += [[rung["name"], str(rung["questions"]), *(percent(rung[key]) for key in COLUMNS)] for rung in rungs]
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table, the first row its head, padded so that it reads well as plain text too."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def percent(score: Mapping[str, float] | None) -> str:
    if score is None:
        return "-"
    return f"{100 * score['value']:.1f} ({100 * score['low']:.1f} to {100 * score['high']:.1f})"
