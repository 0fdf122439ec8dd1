"""Answers of an evaluation, made up."""

from typing import Any

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
