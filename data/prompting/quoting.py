"""A grammar that constrains quotes to the context: what a tuned model may write.

A marked quote is one or more consecutive sentences of one run of one chunk, verbatim (`quotable_runs`); everything
else is free. The syntax is llguidance's, which constrains generation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from data.documents.chunks import Chunk
from data.prompting.prompts import BEGIN_QUOTE, END_QUOTE
from data.prompting.quotable import quotable_runs

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
        for run in quotable_runs(chunk.text):
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


def _quoted(text: str) -> str:
    return json.dumps(text)
