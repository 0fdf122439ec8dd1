"""Examples for people to read: chunks, oracles, and quotes marked in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.documents.chunks import Chunk
from data.prompting.prompts import heading, parse_output
from data.questions.questions import Question
from data.raft.alpaca import AlpacaRecord

QuotedPiece = tuple[str, bool]  # (text, whether it is quoted)


@dataclass(frozen=True, slots=True)
class ShownChunk:
    """A chunk of a context, with its text in pieces."""

    title: str
    path: str
    pieces: tuple[QuotedPiece, ...]
    oracle: bool


@dataclass(frozen=True, slots=True)
class ShownExample:
    """An example for a person to read.

    Attributes:
        output: in pieces, quotes marked.
        oracle_shown: whether the context holds the oracles.
    """

    id: str
    question: str
    chunks: tuple[ShownChunk, ...]
    output: tuple[QuotedPiece, ...]
    answer: str
    oracle_shown: bool
    source: str


def show_example(record: AlpacaRecord, chunks: Mapping[str, Chunk], questions: Mapping[str, Question]) -> ShownExample:
    """The record with its oracles and quotes marked. A mixed-in record has no chunks.

    Args:
        chunks, questions: by id, all that the record refers to.
    """
    parsed = parse_output(record.output)
    question = questions.get(record.question_id)
    return ShownExample(
        id=record.id,
        question=record.prompt.message if question is None else question.question,
        chunks=tuple(
            ShownChunk(
                heading(chunks[id]),
                chunks[id].document_path,
                mark_quotes(chunks[id].text, parsed.quotes),
                id in record.oracle_ids,
            )
            for id in record.context_ids
        ),
        output=mark_quotes(record.output, parsed.quotes),
        answer=parsed.answer,
        oracle_shown=record.oracle_shown,
        source=record.source,
    )


def mark_quotes(text: str, quotes: Sequence[str]) -> tuple[QuotedPiece, ...]:
    """The text split into quoted and other pieces. Quotes match whatever the white space."""
    patterns = [r"\s+".join(map(re.escape, quote.split())) for quote in quotes if quote.split()]
    if not patterns:
        return ((text, False),)
    parts = re.split(f"({'|'.join(sorted(patterns, key=len, reverse=True))})", text)
    return tuple((part, bool(number % 2)) for number, part in enumerate(parts) if part)
