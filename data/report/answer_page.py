"""An answer and its chunks as HTML, with quotes marked in the chunks. All text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from data.documents.chunks import Chunk
from data.prompting.prompts import Parsed, heading
from data.report.highlight import mark_quotes
from data.scoring.scores import stands_in

NOT_FOUND = "not verbatim in the retrieved documents: do not rely on it"


def answer_html(name: str, parsed: Parsed, context: Sequence[Chunk], *, finished: bool) -> str:
    """HTML of a model's answer so far, its quotes and their places."""
    answer = parsed.answer or ("(no answer within its tokens)" if finished else "…")
    parts = [f"<h3>{escape(name)}</h3>", f'<p class="jora-answer">{escape(answer)}</p>']
    for quote in parsed.quotes:
        chunk = next((chunk for chunk in context if stands_in(quote, [chunk])), None)
        place = f"{chunk.place}, {heading(chunk)}" if chunk else NOT_FOUND if finished else "…"
        parts.append(f"<blockquote>{escape(quote)}<br><small>{escape(place)}</small></blockquote>")
    return "\n".join(parts)


def context_html(context: Sequence[Chunk], quotes: Sequence[str]) -> str:
    """HTML of the chunks, best first, with the quotes marked."""
    parts = []
    for number, chunk in enumerate(context, start=1):
        pieces = mark_quotes(chunk.text, quotes)
        text = "".join(f"<mark>{escape(piece)}</mark>" if quoted else escape(piece) for piece, quoted in pieces)
        parts.append(
            f"<details open><summary>[{number}] {escape(heading(chunk))} <small>{escape(chunk.place)}</small></summary>"
            f'<p style="white-space: pre-wrap">{text}</p></details>'
        )
    return "\n".join(parts)
