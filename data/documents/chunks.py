"""Chunks: the retrievable parts of a document, cut at headings, records, paragraphs and sentences."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data.documents.belonging import Belonging, document_names
from data.documents.cutting import CountTokens as CountTokens
from data.documents.cutting import Cutter
from data.documents.documents import Document
from data.documents.sections import Span as Span
from data.documents.sections import groups_of, naming_fields, sections_of
from user_error import UserError


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
        description="Put what a chunk belongs to before its text, for search and in prompts: the headings above it, "
        "the document's title if no heading says it and, for a chunk from the middle of a record or table, the first "
        "fields or the header row (each up to an eighth of max_tokens).",
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
        title: of the document, if no heading says it.
        belongs_to: lines from before the chunk that say what it is a part of: the first fields of its record, the
            header row of its table, the beginning of its line. Not part of its text: they cannot be quoted from it.
        fields: more fields of its record, for BM25 only.
    """

    id: str
    document_id: str
    document_path: str
    start: int
    end: int
    heading_path: tuple[str, ...]
    text: str
    pages: tuple[int, ...] = ()
    title: str = ""
    belongs_to: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The document and pages, for people: "handbook.pdf, pages 3 to 4"."""
        if not self.pages:
            return self.document_path
        numbers = " to ".join(str(page) for page in dict.fromkeys((self.pages[0], self.pages[-1])))
        return f"{self.document_path}, {'page' if len(self.pages) == 1 else 'pages'} {numbers}"

    @property
    def headings(self) -> tuple[str, ...]:
        """Title of the document, headings and what the chunk belongs to, from the outermost to the innermost."""
        return (*filter(None, (self.title,)), *self.heading_path, *self.belongs_to)

    @property
    def keyword_text(self) -> str:
        """The text that BM25 indexes."""
        return "\n".join((*self.fields, self.search_text))

    @property
    def search_text(self) -> str:
        """The text to embed: first come title and headings, then the lines that it belongs to."""
        path = " > ".join((*filter(None, (self.title,)), *self.heading_path))
        return "\n".join((*filter(None, (path,)), *self.belongs_to, self.text))


def chunk_documents(documents: Iterable[Document], count_tokens: CountTokens, settings: ChunkSettings) -> list[Chunk]:
    """The chunks of all documents, in order."""
    return [chunk for document in documents for chunk in chunk_document(document, count_tokens, settings)]


def chunk_document(document: Document, count_tokens: CountTokens, settings: ChunkSettings) -> list[Chunk]:
    """Cuts a document into chunks that together hold all its text.

    Records (groups of "key: value" lines, entries of a log) and paragraphs of a section are joined with their
    neighbours as long as they fit. A longer paragraph is cut between sentences, but not inside list items, tables and
    listings that fit; those that do not fit are cut between sentences (items), rows (tables) or lines (listings). A
    longer record is cut between lines, and its parts are joined with one another only. A longer row is cut between
    cells, a longer line between sentences, a longer sentence between words, a longer word between characters. A
    heading stays with the text that follows it.

    Args:
        count_tokens: the number of tokens of each text, by the base model's tokenizer and without special tokens.
    """
    cutter = Cutter(document.text, count_tokens, settings.max_tokens, settings.overlap_tokens)
    sections = sections_of(document)
    names = document_names(document, sections)
    naming = naming_fields(document.text, sections)
    belonging = Belonging(document.text, naming, count_tokens, settings.max_tokens)
    chunks = []
    for section, name in zip(sections, names, strict=True):
        pieces = [piece for group in groups_of(document.text, section) for piece in cutter.cut(group)]
        for (start, end), piece in cutter.join(pieces):
            belongs_to, fields = belonging.of(piece, start) if settings.heading_path else ((), ())
            chunks.append(
                Chunk(
                    id=f"{document.id}-{start}-{end}",
                    document_id=document.id,
                    document_path=document.path,
                    start=start,
                    end=end,
                    heading_path=section.heading_path if settings.heading_path else (),
                    text=document.text[start:end],
                    pages=_pages(document, start, end),
                    title=name if settings.heading_path else "",
                    belongs_to=belongs_to,
                    fields=fields,
                )
            )
    return chunks


def _pages(document: Document, start: int, end: int) -> tuple[int, ...]:
    """Numbers of the pages that the span touches. A page without text begins at the same offset as the next."""
    first, last = bisect_right(document.pages, start), bisect_left(document.pages, end)
    return tuple(range(first, last + 1)) if document.pages else ()
