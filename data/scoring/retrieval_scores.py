"""Recall@k, MRR and nDCG of retrieval on the oracles of questions, and recall@k of their documents."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from data.questions.questions import Question
from data.retrieval.retriever import Retriever
from data.scoring.bootstrap import bootstrap_interval
from data.scoring.retrieval_misses import FIRST, Misses
from data.scoring.scores import aligned, percent, recall_at_k

log = logging.getLogger(__name__)

RECALL_AT = (1, 3, 5, 10)
DEPTH = 10  # of MRR and nDCG
_BY_CHUNK = {**{f"recall_at_{k}": f"recall@{k}" for k in RECALL_AT}, "mrr": f"MRR@{DEPTH}", "ndcg": f"nDCG@{DEPTH}"}
_BY_DOCUMENT = {f"document_recall_at_{k}": f"document recall@{k}" for k in RECALL_AT}
#: Key of a score -> display name. The table has those of a document at 1 and 5 only; the files have all.
COLUMNS = _BY_CHUNK | _BY_DOCUMENT
_SHOWN = (*_BY_CHUNK, "document_recall_at_1", "document_recall_at_5")


def measure_retrieval(
    retriever: Retriever, parts: Mapping[str, Sequence[Question]], misses: Misses | None = None
) -> list[dict[str, Any]]:
    """A row for each part of the questions and each step of retrieval (embeddings, BM25, hybrid, reranked).

    Args:
        misses: receives what the last step finds for each question.

    Returns:
        Rows with `part`, `step`, `questions` (their number) and, for each key of `COLUMNS`, {"value", "low", "high"},
        0 to 1, with a 95% interval. Parts without questions have no row.
    """
    rows = []
    for part, questions in parts.items():
        if not questions:
            continue
        rankings_by_step = retriever.rankings([question.question for question in questions], max(*RECALL_AT, DEPTH))
        rankings: list[list[str]] = []
        for step, rankings in rankings_by_step.items():
            scores = [
                score_ranking(ids, question.oracle_ids, retriever.chunks_of(question.document_id))
                for ids, question in zip(rankings, questions, strict=True)
            ]
            row: dict[str, Any] = {"part": part, "step": step, "questions": len(questions)}
            for key in COLUMNS:
                values = np.array([score[key] for score in scores])
                low, high = bootstrap_interval(values)
                row[key] = {"value": float(values.mean()), "low": low, "high": high}
            rows.append(row)
        if misses is not None:
            for question, ids in zip(questions, rankings, strict=True):
                misses.add(question, ids[:FIRST])
        last = rows[-1]
        log.info(
            "retrieval (%s): recall@5 %.1f%% by chunk and %.1f%% by document, MRR %.1f%% over %d %s questions",
            last["step"],
            100 * last["recall_at_5"]["value"],
            100 * last["document_recall_at_5"]["value"],
            100 * last["mrr"]["value"],
            len(questions),
            part,
        )
    return rows


def score_ranking(
    retrieved_ids: Sequence[str], oracle_ids: Sequence[str], document_chunk_ids: Collection[str] = ()
) -> dict[str, float]:
    """The scores of one question, 0 to 1, by the keys of `COLUMNS`.

    MRR is 1 / rank of the first oracle. nDCG is the sum of 1 / log2(rank + 1) over the oracles, divided by that of the
    best order. Recall of the document is 1 if one of its chunks is among the first k, whether or not it is an oracle.

    Args:
        document_chunk_ids: all chunks of the question's document; without them the document's recall is 0.
    """
    wanted = set(oracle_ids)
    ranks = [rank for rank, name in enumerate(retrieved_ids[:DEPTH], start=1) if name in wanted]
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(len(wanted), DEPTH) + 1))
    return {
        **{f"recall_at_{k}": recall_at_k(retrieved_ids, oracle_ids, k) for k in RECALL_AT},
        **{
            f"document_recall_at_{k}": float(any(name in document_chunk_ids for name in retrieved_ids[:k]))
            for k in RECALL_AT
        },
        "mrr": 1 / ranks[0] if ranks else 0.0,
        "ndcg": sum(1 / math.log2(rank + 1) for rank in ranks) / ideal,
    }


def retrieval_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """An aligned Markdown table."""
    return aligned(retrieval_cells(rows))


def retrieval_cells(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Rows of a table, column names first; percent with 95% intervals. Runs before 2026-12 have no document recall."""
    shown = [key for key in _SHOWN if all(key in row for row in rows)]
    cells = [["questions", "retrieval", "number", *(COLUMNS[key] for key in shown)]]
    cells += [[row["part"], row["step"], str(row["questions"]), *(percent(row[key]) for key in shown)] for row in rows]
    return cells
