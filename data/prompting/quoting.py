"""A grammar that constrains quotes to the context: what a tuned model may write.

A marked quote is one or more consecutive sentences of one chunk, verbatim; everything else is free. A marker of the
output format that a document holds is never quoted: it ends a sentence there, and no quote goes on across it. Else the
document could end the quote and write the answer. The syntax is llguidance's, which constrains generation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from data.documents.chunks import Chunk
from data.prompting.prompts import BEGIN_QUOTE, END_QUOTE, between_markers
from data.text.sentences import sentence_spans, trim_span

_GRAMMAR = """\
start: quoted* rest
quoted: begun quote {end}
begun[lazy]: TEXT {begin}
rest: TEXT
TEXT: /(?s:.*)/
quote: {sentences}
{rules}
"""


def quote_grammar(context: Sequence[Chunk]) -> str | None:
    """The grammar of answers over these chunks; None if there is no sentence to quote."""
    # One rule per sentence: its text and, if the quote continues, the space and the next sentence. As regular
    # expressions (`substring_chunks`), five paragraphs were too many for llguidance's lexer.
    rules: list[str] = []
    for chunk in context:
        for run in _quotable(chunk.text):
            for number, (start, end) in enumerate(run):
                sentence = _quoted(chunk.text[start:end])
                if number + 1 < len(run):
                    space = chunk.text[end : run[number + 1][0]]
                    sentence += f" ({_quoted(space) if space else ''} s{len(rules) + 1})?"
                rules.append(f"s{len(rules)}: {sentence}")
    if not rules:
        return None
    return _GRAMMAR.format(
        begin=_quoted(BEGIN_QUOTE),
        end=_quoted(END_QUOTE),
        sentences=" | ".join(f"s{number}" for number in range(len(rules))),
        rules="\n".join(rules),
    )


def _quotable(text: str) -> list[list[tuple[int, int]]]:
    """Runs of sentences that one quote may hold, as offsets. A marker separates runs and may cut a sentence in two."""
    runs: list[list[tuple[int, int]]] = [[]]
    for start, end in sentence_spans(text):
        pieces = [(start + first, start + last) for first, last in between_markers(text[start:end])]
        runs[-1].append(pieces[0])
        runs += [[piece] for piece in pieces[1:]]
    trimmed = [[trim_span(text, *piece) for piece in run] for run in runs]
    return [[(start, end) for start, end in run if start < end] for run in trimmed]


def _quoted(text: str) -> str:
    return json.dumps(text)
