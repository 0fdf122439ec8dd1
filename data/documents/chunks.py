"""Chunks: the retrievable parts of a document, cut at headings, paragraphs and sentences."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data.documents.documents import Document, is_plain
from data.text.blocks import Block, lines_of, read_blocks, units_of
from data.text.sentences import sentence_spans, trim_span
from user_error import UserError

CountTokens = Callable[[Sequence[str]], list[int]]
Span = tuple[int, int]


class ChunkSettings(BaseModel):
    """Length and overlap of chunks, in tokens of the base model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens: int = Field(default=160, ge=16, description="Most tokens in a chunk.")
    overlap_tokens: int = Field(
        default=0,
        ge=0,
        description="A chunk repeats complete sentences, up to this many tokens, from the end of the previous chunk of "
        "its section.",
    )
    near_duplicate: float | None = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Drop a chunk that shares this part of its runs of three words with an earlier chunk and has the "
        "same numbers; 1: only identical chunks; null: none.",
    )
    heading_path: bool = Field(
        default=True,
        description="Put the headings above a chunk before its text, for embedding and in prompts.",
    )

    @model_validator(mode="after")
    def _overlap_is_shorter(self) -> ChunkSettings:
        if self.overlap_tokens >= self.max_tokens:
            raise UserError(
                f"overlap_tokens={self.overlap_tokens} must be less than max_tokens={self.max_tokens}: lower it"
            )
        return self


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous part of a document: `text == document.text[start:end]`.

    Attributes:
        id: "<document id>-<start>-<end>".
        document_id, document_path: of the `Document` it was cut from.
        start, end: offsets in characters of the document's text.
        heading_path: the headings above it, outermost first, including those at the start of its text.
        text: without white space at its ends.
        pages: the numbers, from 1, of the pages or slides that it touches; empty if the format has none.
    """

    id: str
    document_id: str
    document_path: str
    start: int
    end: int
    heading_path: tuple[str, ...]
    text: str
    pages: tuple[int, ...] = ()

    @property
    def place(self) -> str:
        """The document and pages, for people: "handbook.pdf, pages 3 to 4"."""
        if not self.pages:
            return self.document_path
        numbers = " to ".join(str(page) for page in dict.fromkeys((self.pages[0], self.pages[-1])))
        return f"{self.document_path}, {'page' if len(self.pages) == 1 else 'pages'} {numbers}"

    @property
    def search_text(self) -> str:
        """The text to embed: the heading path says what a chunk from the middle of a section is about."""
        return "\n".join([" > ".join(self.heading_path), self.text]) if self.heading_path else self.text


def chunk_documents(documents: Iterable[Document], count_tokens: CountTokens, settings: ChunkSettings) -> list[Chunk]:
    """The chunks of all documents, in order."""
    return [chunk for document in documents for chunk in chunk_document(document, count_tokens, settings)]


def chunk_document(document: Document, count_tokens: CountTokens, settings: ChunkSettings) -> list[Chunk]:
    """Cuts a document into chunks that together hold all its text.

    Neighbouring paragraphs of a section are joined as long as they fit. A longer paragraph is cut between sentences,
    but not inside list items, tables and listings that fit; those that do not fit are cut between sentences (items) or
    lines (tables, listings). A longer sentence or line is cut between words, a longer word between characters. A
    heading stays with the text that follows it.

    Args:
        count_tokens: the number of tokens of each text, by the base model's tokenizer and without special tokens.
    """
    cutter = _Cutter(document.text, count_tokens, settings)
    chunks = []
    for heading_path, paragraphs in _sections(document):
        pieces = [piece for paragraph in paragraphs for piece in cutter.cut(paragraph)]
        for start, end in cutter.join(pieces):
            chunks.append(
                Chunk(
                    id=f"{document.id}-{start}-{end}",
                    document_id=document.id,
                    document_path=document.path,
                    start=start,
                    end=end,
                    heading_path=heading_path if settings.heading_path else (),
                    text=document.text[start:end],
                    pages=_pages(document, start, end),
                )
            )
    return chunks


def _pages(document: Document, start: int, end: int) -> tuple[int, ...]:
    """Numbers of the pages that the span touches. A page without text begins at the same offset as the next."""
    first, last = bisect_right(document.pages, start), bisect_left(document.pages, end)
    return tuple(range(first, last + 1)) if document.pages else ()


@dataclass(frozen=True, slots=True)
class _Paragraph:
    """A paragraph from `start` to `end`; the headings before it are between `start` and `body`."""

    start: int
    body: int
    end: int


def _sections(document: Document) -> list[tuple[tuple[str, ...], list[_Paragraph]]]:
    """(heading path, paragraphs) of each section, in order."""
    sections: list[tuple[tuple[str, ...], list[_Paragraph]]] = []
    above: list[tuple[int, str]] = []  # (level, title), outermost first
    waiting: list[Block] = []  # headings not yet followed by a paragraph
    for block in read_blocks(document.text, is_plain(document.path)):
        if block.level:
            above = [(level, title) for level, title in above if level < block.level]
            above.append((block.level, block.title))
            waiting.append(block)
            continue
        if waiting or not sections:
            sections.append((tuple(title for _, title in above), []))
        sections[-1][1].append(_Paragraph(waiting[0].start if waiting else block.start, block.start, block.end))
        waiting = []
    if waiting:  # at the end of the document, with no text after them
        path = tuple(title for _, title in above)
        sections.append((path, [_Paragraph(waiting[0].start, waiting[0].start, waiting[-1].end)]))
    return sections


class _Cutter:
    """Cuts and joins spans of one text so that each has at most `max_tokens` tokens."""

    def __init__(self, text: str, count_tokens: CountTokens, settings: ChunkSettings) -> None:
        self.text = text
        self.count_tokens = count_tokens
        self.settings = settings

    def join(self, pieces: Sequence[Span]) -> list[Span]:
        """Joins neighbouring spans as long as they fit, and starts each chunk with the overlap."""
        chunks: list[Span] = []
        start, end = pieces[0]
        for piece_start, piece_end in pieces[1:]:
            if not self._fits(start, piece_end):
                chunks.append((start, end))
                start = self._overlap_start((start, end), (piece_start, piece_end))
            end = piece_end
        return [*chunks, (start, end)]

    def cut(self, paragraph: _Paragraph) -> list[Span]:
        """The paragraph if it fits, else spans of its parts that fit; the first includes the headings."""
        if self._fits(paragraph.start, paragraph.end):
            return [(paragraph.start, paragraph.end)]
        parts = self._parts(paragraph.body, paragraph.end)
        parts[0] = (paragraph.start, parts[0][1])
        return [piece for part in parts for piece in self._cut_sentence(*part)]

    def _parts(self, start: int, end: int) -> list[Span]:
        """Items, listings and tables that fit; else their sentences or lines."""
        parts: list[Span] = []
        for unit in units_of(self.text[start:end]):
            first, last = start + unit.start, start + unit.end
            text = self.text[first:last]
            if unit.kind != "prose" and self._fits(first, last):
                parts.append((first, last))
            elif unit.kind == "lines":
                lines = (trim_span(self.text, first + at, first + at + len(line)) for at, line in lines_of(text))
                parts.extend((begin, stop) for begin, stop in lines if begin < stop)
            else:
                parts.extend((first + begin, first + stop) for begin, stop in sentence_spans(text))
        return parts

    def _cut_sentence(self, start: int, end: int) -> list[Span]:
        pieces = []
        while not self._fits(start, end):
            cut = self._longest_prefix(start, end)
            pieces.append(trim_span(self.text, start, cut))
            while self.text[cut].isspace():
                cut += 1
            start = cut
        return [*pieces, (start, end)]

    def _longest_prefix(self, start: int, end: int) -> int:
        """The offset of the cut: after the last word that fits, or inside a word longer than a chunk."""
        end = self._window_end(start, end)
        words = [start + match.end() for match in re.finditer(r"\S+", self.text[start:end])]
        if self._fits(start, words[0]):
            return self._last_that_fits(start, words)
        return self._last_that_fits(start, range(start + 1, words[0] + 1))

    def _last_that_fits(self, start: int, ends: Sequence[int]) -> int:
        most = self.settings.max_tokens
        low, high = 0, len(ends) - 1  # ends[low] fits, ends[high] does not
        below, above = self._count(start, ends[low]), self._count(start, ends[high])
        assert below <= most, "one character has more tokens than a chunk"
        if above <= most:
            return ends[high]
        halve = False  # every other time, since interpolation is slow on uneven text
        while high - low > 1:
            share = 0.5 if halve else (most - below) / (above - below)
            middle = min(max(low + int((high - low) * share), low + 1), high - 1)
            count = self._count(start, ends[middle])
            if count <= most:
                low, below = middle, count
            else:
                high, above = middle, count
            halve = not halve
        return ends[low]

    def _overlap_start(self, previous: Span, piece: Span) -> int:
        """The start of the earliest sentence of the previous chunk from which the overlap fits."""
        if self.settings.overlap_tokens == 0:
            return piece[0]
        first, last = previous
        starts = [first + start for start, _ in sentence_spans(self.text[first:last])][1:]
        counts = self.count_tokens([self.text[start:last] for start in starts]) if starts else []
        for start, count in zip(starts, counts, strict=True):
            if count <= self.settings.overlap_tokens and self._fits(start, piece[1]):
                return start
        return piece[0]

    def _fits(self, start: int, end: int) -> bool:
        return self._window_end(start, end) == end and self._count(start, end) <= self.settings.max_tokens

    def _window_end(self, start: int, end: int) -> int:
        """The end, or an earlier offset up to which there are already too many tokens.

        Without it all of a long text would be tokenized for each cut.
        """
        length = 5 * self.settings.max_tokens  # characters; about as many as fit, for prose
        # A cut inside a word adds a few tokens.
        while length < end - start and self._count(start, start + length) <= self.settings.max_tokens + 8:
            length *= 2
        return min(end, start + length)

    def _count(self, start: int, end: int) -> int:
        return self.count_tokens([self.text[start:end]])[0]
