"""The wording of the judge's prompts, and the JSON schema of its verdicts.

The rules come first and are the same for every call, so a server with prefix caching computes them once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data.prompting.prompts import Prompt, fold_space

RULES = """You judge the answer of a model to a question, strictly and without knowledge of your own.
Rules:
- "correct": true if the answer says the same as the expected answer, in whatever words. More words are no fault; another fact, a part that is missing or that contradicts is one. If the expected answer says that the documents do not hold it, only an answer that says so is correct.
- "faithful": true if the documents state or imply all that the answer claims, right or not. An answer that says that the documents do not hold it claims nothing: true. Where no documents are shown: false if it claims anything.
- "reason": one short sentence, first.
Write JSON and nothing else, in this form:
{"reason": "...", "faithful": true, "correct": false}"""  # noqa: E501

#: `response_format` of the OpenAI protocol.
RESPONSE_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "reason": {"type": "string"},
                "faithful": {"type": "boolean"},
                "correct": {"type": "boolean"},
            },
            "required": ["reason", "faithful", "correct"],
            "additionalProperties": False,
        },
    },
}


def judge_prompt(question: str, expected: str, answer: str, documents: Sequence[str]) -> Prompt:
    """The prompt that asks for a verdict on one answer.

    Args:
        documents: texts of the answer's prompt; empty for closed-book.
    """
    texts = "\n\n".join(f"Document {number}:\n{text}" for number, text in enumerate(documents, start=1))
    return Prompt(
        RULES,
        f"{texts or 'No documents were shown.'}\n\nQuestion: {fold_space(question)}\n"
        f"Expected answer: {fold_space(expected)}\nAnswer of the model: {fold_space(answer) or '(empty)'}",
    )
