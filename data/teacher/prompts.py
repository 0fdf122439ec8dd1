"""The teacher's prompt, and the JSON schema of its answer.

The rules come first and are the same for every call, then the documents: a server with a prefix cache computes the
rules once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data.documents.chunks import Chunk
from data.prompting.prompts import ABSTENTION, Prompt, fold_space
from data.teacher.settings import Kind

RULES = f"""You write questions and answers about documents. A model is trained with them to answer from the documents.
Rules:
- A question is understood by someone who has not seen the text: it names what it is about. Never write "the text", "the passage", "above" or "according to".
- "reason": one short sentence that says how the quotes lead to the answer.
- "quotes": the sentences that prove the answer, copied from the text letter for letter.
- "answer": a few words.
- A question of the kind unanswerable is about the same things and sounds as if the text answered it, but it does not: "quotes" is [] and "answer" is "{ABSTENTION}".
Write JSON and nothing else, in this form:
{{"questions": [{{"kind": "fact", "question": "...", "reason": "...", "quotes": ["..."], "answer": "..."}}]}}"""  # noqa: E501

_WANTED: dict[Kind, str] = {
    "fact": "fact: asks for a fact that the text states",
    "why": "why: asks for a reason or a cause that the text gives",
    "how_to": "how_to: asks how something is done, or in which order",
    "compare": "compare: can only be answered from both texts, with a quote from each",
    "unanswerable": "unanswerable: the text does not answer it",
}

#: `response_format` of the OpenAI protocol.
RESPONSE_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "questions",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "questions": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "kind": {"type": "string", "enum": list(_WANTED)},
                            "question": {"type": "string"},
                            "reason": {"type": "string"},
                            "quotes": {"type": "array", "items": {"type": "string"}},
                            "answer": {"type": "string"},
                        },
                        "required": ["kind", "question", "reason", "quotes", "answer"],
                        "additionalProperties": False,
                    },
                }
            },
            "required": ["questions"],
            "additionalProperties": False,
        },
    },
}


def teacher_prompt(chunks: Sequence[Chunk], kinds: Sequence[Kind]) -> Prompt:
    """The prompt for one question of each of the kinds, in order, over one chunk, or over two to compare."""
    texts = "\n\n".join(_shown(chunk, number) for number, chunk in enumerate(chunks, start=1))
    wanted = "\n".join(f"{number}. {_WANTED[kind]}" for number, kind in enumerate(kinds, start=1))
    many = f"{len(kinds)} questions" if len(kinds) > 1 else "one question"
    return Prompt(RULES, f"{texts}\n\nWrite {many}:\n{wanted}")


def _shown(chunk: Chunk, number: int) -> str:
    heading = fold_space(" > ".join((*chunk.heading_path, *chunk.belongs_to))) or chunk.document_path
    return f"Text {number} ({heading}):\n{chunk.text}"
