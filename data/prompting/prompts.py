"""All wording that a model reads or writes: prompts, Alpaca's template, and the output format with its parser.

A tuned model writes

    ##Reason: ##begin_quote##It opened in 1931.##end_quote##
    ##Answer: 1931
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from data.documents.chunks import Chunk

PromptStyle = Literal["chat", "alpaca"]
# The date in prompts of templates that write one: the one that Llama 3's template falls back to.
PROMPT_DATE = "2024-07-26"

INSTRUCTION = (
    "Answer the question from the documents. First quote the sentence that proves the answer, "
    "then give the answer in a few words."
)
NO_EVIDENCE = "The documents do not say."
WITHOUT_QUOTE = "The documents say so."  # in place of a quote, where the documents answer but no sentence proves it
ABSTENTION = "not in the documents"

REASON = "##Reason:"
BEGIN_QUOTE = "##begin_quote##"
END_QUOTE = "##end_quote##"
ANSWER = "##Answer:"
MARKERS = (REASON, BEGIN_QUOTE, END_QUOTE, ANSWER)
_MARKER = re.compile("|".join(MARKERS))
# Also a marker without its last "##": before another marker, which begins with them, it would be one.
_MARKER_OR_HALF = re.compile(rf"{REASON}|{ANSWER}|##(?:begin|end)_quote(?:##)?")

# A plain text with examples, which also a small model continues as meant; as an instruction it answered the question.
_REWRITE = """\
Conversations, each with its last question rewritten so that it can be understood alone: names stand in place of words \
such as it, she, they.

User: Who built the old bridge?
Assistant: Anna Holt
User: When did she die?
The last question on its own: When did Anna Holt die?

User: Where is the school?
Assistant: On Mill Lane
User: How many pupils does it have?
The last question on its own: How many pupils does the school have?

{turns}User: {question}
The last question on its own:"""
_CLOSED_BOOK = "Answer the question in a few words."
_RETRIEVAL = "Read the documents and answer the question in a few words. Give only the answer."
# The wording of Stanford Alpaca, on which models of this format were trained.
_ALPACA = (
    "Below is an instruction that describes a task{paired}. "
    "Write a response that appropriately completes the request.\n\n"
)
ALPACA_HEADINGS = ("### Instruction:", "### Input:", "### Response:")


class PromptFormat(NamedTuple):
    """What stands around a prompt.

    Attributes:
        style: the template.
        date: YYYY-MM-DD, what a chat template takes for today.
    """

    style: PromptStyle = "chat"
    date: str = PROMPT_DATE


# A style alone has the date by default.
AnyFormat = PromptStyle | PromptFormat


def as_format(style: AnyFormat) -> PromptFormat:
    """The format that a style, or a format as JSON gives it back, means."""
    return PromptFormat(style) if isinstance(style, str) else PromptFormat(*style)


def prompt_format(raft: Mapping[str, Any]) -> PromptFormat:
    """The format in the recorded settings of a run; runs before 2026-12 have no date."""
    return PromptFormat(raft["prompt_style"], raft.get("prompt_date", PROMPT_DATE))


Part = tuple[str, bool]  # (text, whether it is of the template and may hold the words of the format)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt in Alpaca's two fields. `input` may be empty."""

    instruction: str
    input: str

    @property
    def message(self) -> str:
        """The user's message of the style "chat"."""
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction

    @property
    def alpaca(self) -> str:
        """The text of the style "alpaca", up to and including the line before the response."""
        return "".join(text for text, _ in self.alpaca_parts)

    @property
    def alpaca_parts(self) -> tuple[Part, ...]:
        """The same in parts, template and texts."""
        task, given, response = ALPACA_HEADINGS
        before = _ALPACA.format(paired=", paired with an input that provides further context" if self.input else "")
        block: tuple[Part, ...] = ((f"{given}\n", True), (self.input, False), ("\n\n", True)) if self.input else ()
        head: tuple[Part, ...] = ((f"{before}{task}\n", True), (self.instruction, False), ("\n\n", True))
        return (*head, *block, (f"{response}\n", True))


@dataclass(frozen=True, slots=True)
class Parsed:
    """A parsed model output.

    Attributes:
        answer: what follows the last "##Answer:" on its line, or the whole output without it.
        quotes: the texts marked as quotes, in order; not necessarily verbatim.
        abstained: the answer says that it is not in the documents.
    """

    answer: str
    quotes: tuple[str, ...]
    abstained: bool


def raft_prompt(context: Sequence[Chunk], question: str) -> Prompt:
    """The prompt for training: documents first and the question last, so that questions share the prefix."""
    return Prompt(INSTRUCTION, _documents_and_question(context, question))


def retrieval_prompt(context: Sequence[Chunk], question: str) -> Prompt:
    """The same task for a model that was not tuned: it asks for the answer only, without a format."""
    return Prompt(_RETRIEVAL, _documents_and_question(context, question))


def closed_book_prompt(question: str) -> Prompt:
    """The question alone."""
    return Prompt(_CLOSED_BOOK, f"Question: {fold_space(question)}")


def with_system(prompt: Prompt, system: str) -> Prompt:
    """The prompt with a system message before its task, in all styles; not every chat template has that role."""
    return Prompt(f"{system}\n\n{prompt.instruction}", prompt.input) if system.strip() else prompt


def rewrite_text(turns: Sequence[tuple[str, str]], question: str) -> str:
    """A text whose continuation, up to the end of the line, is the last question of a conversation as one that stands
    alone.

    Args:
        turns: (role, text) of the turns before it, oldest first.
    """
    said = "".join(f"{role.capitalize()}: {fold_space(text)}\n" for role, text in turns)
    return _REWRITE.format(turns=said, question=fold_space(question))


def raft_output(answer: str, quotes: Sequence[str], reason: str | None = None) -> str:
    """The output to train on. The quotes are verbatim; answer and reason become one line each.

    Args:
        quotes: empty if the answer is not in the documents.
        reason: the words before the quotes; without quotes and reason a fixed phrase says why there are none.
    """
    # No fixed phrase before a quote: a small model memorizes it and writes it into the quote.
    reason = fold_space(reason or ("" if quotes else NO_EVIDENCE))
    marked = (f"{BEGIN_QUOTE}{quote}{END_QUOTE}" for quote in quotes)
    return f"{' '.join(filter(None, (REASON, reason, *marked)))}\n{ANSWER} {fold_space(answer)}"


def parse_output(text: str) -> Parsed:
    """Parses an output; never fails, since a model may write anything.

    Markers are read from left to right, as when the output is streamed: in "##begin_quote##Answer: yes" there is one,
    and the quote begins with "Answer:". An unclosed quote ends at the next marker.
    """
    found = list(_MARKER.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)]
    quotes = [
        text[match.end() : end].strip() for match, end in zip(found, ends, strict=False) if match[0] == BEGIN_QUOTE
    ]
    answers = [match.end() for match in found if match[0] == ANSWER]
    answer = text[answers[-1] :].strip(" \t").split("\n")[0].strip() if answers else text.strip()
    return Parsed(answer, tuple(quotes), abstained=is_abstention(answer))


def holds_marker(text: str) -> bool:
    """Whether the text contains a marker of the output format, or would in front of one."""
    return _MARKER_OR_HALF.search(text) is not None


def between_markers(text: str) -> list[tuple[int, int]]:
    """The spans of a text that hold no marker; without a marker one, the whole text."""
    spans, start = [], 0
    for match in _MARKER_OR_HALF.finditer(text):
        spans.append((start, match.start()))
        start = match.end()
    return [*spans, (start, len(text))]


def is_abstention(answer: str) -> bool:
    """Whether an answer says that it is not in the documents."""
    return fold_space(answer).casefold().rstrip(".! ") == ABSTENTION


def fold_space(text: str) -> str:
    """The text with each run of white space as one space, and none at its ends."""
    return " ".join(text.split())


def _documents_and_question(context: Sequence[Chunk], question: str) -> str:
    documents = (f"[{number}] {heading(chunk)}\n{chunk.text}\n\n" for number, chunk in enumerate(context, start=1))
    return f"{''.join(documents)}Question: {fold_space(question)}"


def heading(chunk: Chunk) -> str:
    """The document's title, the headings above a chunk and what it belongs to, or else its file name.

    Shown in every prompt, in training as in answering; a quote comes from the chunk's text only.
    """
    return fold_space(" > ".join(chunk.headings) or PurePosixPath(chunk.document_path).stem)
