"""Answers of an evaluation and points of a sweep, made up."""

from typing import Any

from data.evaluation.sweep_points import ScoreInterval, SweepPoint
from data.scoring.evaluated import Answered


def answered(rung: str, number: int, f1: float, **more: Any) -> Answered:
    """The answer of a rung to the question `q<number>`."""
    fields: dict[str, Any] = {
        "rung": rung,
        "question_id": f"q{number}",
        "question": f"Who is {number}?",
        "expected": "She",
        "output": f"{rung} says",
        "answer": "",
        "quotes": (),
        "context_ids": (),
        "context_places": (),
        "oracle_ids": (),
        "exact_match": float(f1 == 1),
        "token_f1": f1,
        "verbatim_quotes": 0,
        "cites_oracle": False,
    }
    return Answered(**fields | more)


def sweep_point(value: str, score: ScoreInterval, **more: Any) -> SweepPoint:
    """A point of a sweep whose adapter scores `score` in token F1 and exact match."""
    fields: dict[str, Any] = {
        "parameters": 4000,
        "adapter_bytes": 16_000,
        "scale": 2.0,
        "step_seconds": 2.5,
        "updates": 10,
        "examples": 1200,
        "fewer_chunks": 3,
        "token_f1": score,
        "exact_match": score,
        "questions": 80,
        "adapter": "artifacts/adapter/a",
        "evaluation": "artifacts/evaluation/b",
    }
    return SweepPoint(value=value, **fields | more)
