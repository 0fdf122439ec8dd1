"""Scores of answers: exact match and F1 as in SQuAD, ROUGE-L, quotes, citations, abstention, retrieval.

Where several answers are right, each metric is the best over them, as in SQuAD. Of abstentions SQuAD 2.0's convention
holds: where the documents do not hold the answer, an abstention scores 1 and all else 0; elsewhere it scores 0.

question, output, chunks --score_answer--> AnswerScore --summarize--> one rung as a dict --rung_table--> Markdown
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from data.documents.chunks import Chunk
from data.prompting.prompts import Parsed, fold_space
from data.questions.questions import Question
from data.scoring.bootstrap import bootstrap_interval
from data.text.answer_words import normalize_answer
from data.text.support import split_words
from user_error import UserError

# Key of a rung -> display name, in the order of the files.
METRICS = {
    "exact_match": "exact match",
    "token_f1": "token F1",
    "rouge_l": "ROUGE-L",
    "contains_answer": "contains the answer",
    "quote_precision": "quote precision",
    "quotes_unaided": "quotes unaided",
    "quote_rate": "with a quote",
    "oracle_citation": "cites the oracle",
    "abstention": "abstains",
    "abstention_precision": "abstention precision",
    "abstention_recall": "abstention recall",
    "recall": "recall@k",
    "output_tokens": "output tokens",
}
# Printed under a table with that column.
UNAIDED_NOTE = (
    "Quotes were constrained to sentences of the documents (generation.quotes). Unaided: share of quoting answers that "
    "are identical without constrained decoding."
)
# Columns of the table, if some rung has a value; the files have all metrics.
COLUMNS = (
    "exact_match",
    "token_f1",
    "contains_answer",
    "quote_precision",
    "quotes_unaided",
    "oracle_citation",
    "abstention_precision",
    "abstention_recall",
    "recall",
)


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """The scores of one answer.

    Attributes:
        question_id: `Question.id`.
        exact_match, token_f1, rouge_l: 0 to 1, the best over the question's answers.
        contains_answer: 1 if the answer contains the words of an expected one in a row, else 0.
        quotes: number of quotes.
        verbatim_quotes: number of quotes in a chunk of the prompt, letter for letter after white-space folding.
        cites_oracle: whether a quote is in an oracle.
        abstained: the answer says that the documents do not hold it.
        answerable: the documents hold the answer.
        recall: share of the question's oracles among the chunks of the prompt; None for closed-book and for
            unanswerable questions.
        output_tokens: length of the output.
        unaided: identical without constrained decoding; None if it was not constrained or has no quote.
    """

    question_id: str
    exact_match: float
    token_f1: float
    rouge_l: float
    contains_answer: float
    quotes: int
    verbatim_quotes: int
    cites_oracle: bool
    abstained: bool
    answerable: bool
    recall: float | None
    output_tokens: int
    unaided: bool | None = None


def score_answer(
    question: Question,
    parsed: Parsed,
    shown: Sequence[Chunk],
    oracles: Sequence[Chunk],
    output_tokens: int = 0,
    overruled: int | None = None,
) -> AnswerScore:
    """The scores of one answer.

    Args:
        shown: the chunks of the prompt; empty for closed-book.
        oracles: the chunks of `question.oracle_ids`.
        output_tokens: length of the output, its end token included.
        overruled: number of these that constrained decoding chose over likelier ones; None if unconstrained.
    """
    shown_ids = [chunk.id for chunk in shown]
    return AnswerScore(
        question_id=question.id,
        exact_match=best(exact_match, parsed, question),
        token_f1=best(token_f1, parsed, question),
        rouge_l=best(rouge_l, parsed, question),
        contains_answer=best(contains_answer, parsed, question),
        quotes=len(parsed.quotes),
        verbatim_quotes=sum(stands_in(quote, shown) for quote in parsed.quotes),
        cites_oracle=question.answerable and any(stands_in(quote, oracles) for quote in parsed.quotes),
        abstained=parsed.abstained,
        answerable=question.answerable,
        output_tokens=output_tokens,
        unaided=overruled == 0 if overruled is not None and parsed.quotes else None,
        recall=recall_at_k(shown_ids, question.oracle_ids, len(shown_ids)) if shown and question.answerable else None,
    )


def best(metric: Callable[[str, str], float], parsed: Parsed, question: Question) -> float:
    """A metric's best value over the question's answers, 0 to 1; abstentions are right or wrong as a whole."""
    if parsed.abstained or not question.answerable:
        return float(parsed.abstained and not question.answerable)
    return max(metric(parsed.answer, answer) for answer in question.answers)


def exact_match(prediction: str, answer: str) -> float:
    """1 if both are equal after normalisation, else 0."""
    return float(normalize_answer(prediction) == normalize_answer(answer))


def token_f1(prediction: str, answer: str) -> float:
    """Harmonic mean of precision and recall of the normalised words as multisets; 0 to 1."""
    predicted, expected = normalize_answer(prediction).split(), normalize_answer(answer).split()
    if not predicted or not expected:
        return float(predicted == expected)
    common = sum((Counter(predicted) & Counter(expected)).values())
    return 2 * common / (len(predicted) + len(expected))


def rouge_l(prediction: str, answer: str) -> float:
    """F-measure of the longest common subsequence of words, 0 to 1, by Google's library rouge-score, without stemming.

    Its own tokenizer knows Latin letters and digits only; ours (`split_words`) knows other scripts.
    """
    return float(_rouge().score(answer, prediction)["rougeL"].fmeasure)


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import Tokenizer

    class Words(Tokenizer):
        def tokenize(self, text: str) -> list[str]:
            return split_words(text)

    return RougeScorer(["rougeL"], tokenizer=Words())


def contains_answer(prediction: str, answer: str) -> float:
    """1 if the prediction contains the expected words in a row after normalisation, else 0."""
    return float(holds_words(prediction, answer))


def holds_words(text: str, words: str) -> bool:
    """Whether the text contains the words in a row after normalisation; False for no words.

    Korean is compared by syllable here, since endings are attached to its words.
    """
    normal = normalize_answer(words, split_korean=True)
    return bool(normal) and f" {normal} " in f" {normalize_answer(text, split_korean=True)} "


def stands_in(quote: str, chunks: Sequence[Chunk]) -> bool:
    """Whether a chunk contains the quote letter for letter after white-space folding; False for an empty quote."""
    folded = fold_space(quote)
    return bool(folded) and any(folded in fold_space(chunk.text) for chunk in chunks)


def recall_at_k(retrieved_ids: Sequence[str], oracle_ids: Sequence[str], k: int) -> float:
    """The share of the oracles among the first k retrieved."""
    return len(set(retrieved_ids[:k]) & set(oracle_ids)) / len(set(oracle_ids))


def measured(scores: Sequence[AnswerScore]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Metric -> (values, weights) of the answers, float64 [N] each; a rung's score is the ratio of their sums.

    Quote precision is over all quotes, quotes unaided over the quoting answers of constrained decoding, the rates of
    quoting and citing over answerable questions, abstention precision over the answers that abstain, its recall over
    unanswerable questions, and the others over all questions.
    """

    def of(name: str) -> np.ndarray:
        return np.array([getattr(score, name) for score in scores], np.float64)

    ones, answerable, quotes = np.ones(len(scores)), of("answerable"), of("quotes")
    rightly = of("abstained") * (1 - answerable)
    pairs = {
        "exact_match": (of("exact_match"), ones),
        "token_f1": (of("token_f1"), ones),
        "rouge_l": (of("rouge_l"), ones),
        "contains_answer": (of("contains_answer"), ones),
        "quote_precision": (of("verbatim_quotes"), quotes),
        "quotes_unaided": (
            np.array([float(score.unaided or False) for score in scores]),
            np.array([float(score.unaided is not None) for score in scores]),
        ),
        "quote_rate": ((quotes > 0) * answerable, answerable),
        "oracle_citation": (of("cites_oracle") * answerable, answerable),
        "abstention": (of("abstained"), ones),
        "abstention_precision": (rightly, of("abstained")),
        "abstention_recall": (rightly, 1 - answerable),
        "recall": (
            np.array([score.recall or 0.0 for score in scores]),
            np.array([float(score.recall is not None) for score in scores]),
        ),
        "output_tokens": (of("output_tokens"), ones),
    }
    assert list(pairs) == list(METRICS)
    return pairs


def summarize(name: str, scores: Sequence[AnswerScore], *, seed: int = 0) -> dict[str, Any]:
    """The summary of one rung.

    Returns:
        `name`, `questions` (their number), and for each key of `METRICS` {"value", "low", "high"} with a 95% interval,
        0 to 1 (output_tokens: tokens), or None if the weights (`measured`) are all 0: quote precision without a quote,
        recall without retrieval.

    Raises:
        UserError: there are no answers.
    """
    if not scores:
        raise UserError(f"no answers to score for {name!r}: give at least one question about a held-out document")
    rung: dict[str, Any] = {"name": name, "questions": len(scores)}
    for key, (values, weights) in measured(scores).items():
        rung[key] = None
        if weights.sum() > 0:
            low, high = bootstrap_interval(values, weights, seed=seed)
            rung[key] = {"value": float(values.sum() / weights.sum()), "low": low, "high": high}
    return rung


def rung_table(rungs: Sequence[Mapping[str, Any]]) -> str:
    """An aligned Markdown table: one row for each rung, percent with 95% intervals.

    Columns that no rung fills are left out. A note explains constrained decoding, if it was used.
    """
    shown = [key for key in COLUMNS if any(rung[key] is not None for rung in rungs)]
    rows = [["", "questions", *(METRICS[key] for key in shown)]]
    rows += [[rung["name"], str(rung["questions"]), *(percent(rung[key]) for key in shown)] for rung in rungs]
    return aligned(rows) + (f"\n{UNAIDED_NOTE}\n" if "quotes_unaided" in shown else "")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table, the first row its head, padded to read well as plain text."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def percent(score: Mapping[str, float] | None) -> str:
    """A score with its interval in percent, or "-" for None."""
    if score is None:
        return "-"
    return f"{100 * score['value']:.1f} ({100 * score['low']:.1f} to {100 * score['high']:.1f})"
