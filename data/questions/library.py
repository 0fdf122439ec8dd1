"""The documents as grounding reads them: looked up by name, with their chunks, sentences and quotes.

A sentence is one of a chunk (`quotable_runs`), so that no quote crosses the border of a chunk, and every quote can be
written under the grammar that holds quotes.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

from data.documents.chunks import Chunk, Span
from data.documents.documents import Document
from data.documents.duplicates import Duplicate
from data.prompting.quotable import quotable_runs
from data.questions.document_names import DocumentNames
from data.questions.repair import FoldedText, QuoteMatch
from data.text.folded import SearchText, answer_forms, fold
from data.text.sentences import trim_span
from data.text.support import is_verdict

_ALIKE = 0.8  # least similarity of two sentences that say the same, by their characters
_MOST_PLACES = 200  # occurrences of an answer in a document that are looked at
_WORD = re.compile(r"[^\W_]")
_HEADING = re.compile(r"#{1,6}[ \t]+$")
# A value: "pets: no", "oil=True,", "| no |".
_BEFORE_VALUE = re.compile(r"(?:[:=：]|\|)[ \t]*[\"'`*_]*$")
_AFTER_VALUE = re.compile(r"[\"'`*_]*[ \t]*(?:[|,;.)\]}\n]|$)")


@dataclass(frozen=True, slots=True)
class Piece:
    """One or more sentences of a chunk: a span of the chunk's document, in offsets of the document."""

    chunk: Chunk
    start: int
    end: int

    @property
    def quote(self) -> str:
        """The text of the piece."""
        return self.chunk.text[self.start - self.chunk.start : self.end - self.chunk.start]

    @property
    def is_heading(self) -> bool:
        """Whether it is a heading, which says what a text is about but seldom more."""
        before = self.chunk.text[: self.start - self.chunk.start]
        return self.quote in self.chunk.heading_path or _HEADING.search(before[-16:]) is not None


class DocumentText:
    """A document with its chunks and sentences."""

    def __init__(self, document: Document, chunks: list[Chunk], collapsed: Collection[str] = ()) -> None:
        self.document = document
        self.text = document.text
        self.chunks = chunks  # both starts and ends ascend
        self.collapsed = collapsed  # ids of the chunks that were collapsed into another
        self._runs: dict[str, list[list[Span]]] = {}

    def runs(self, chunk: Chunk) -> list[list[Span]]:
        """The sentences of a chunk that can be quoted, in runs, in offsets of the document."""
        if chunk.id not in self._runs:
            runs = quotable_runs(chunk.text)
            self._runs[chunk.id] = [[(chunk.start + first, chunk.start + last) for first, last in run] for run in runs]
        return self._runs[chunk.id]

    def sentences(self, chunk: Chunk) -> list[Piece]:
        """The sentences of a chunk, each alone."""
        return [Piece(chunk, *span) for run in self.runs(chunk) for span in run]

    def touching(self, span: Span) -> list[Chunk]:
        """The chunks that share text with the span, in order."""
        first = bisect_right(self.chunks, span[0], key=lambda chunk: chunk.end)
        return self.chunks[first : bisect_left(self.chunks, span[1], key=lambda chunk: chunk.start)]

    def pieces(self, span: Span, chunks: Sequence[Chunk] | None = None) -> list[Piece]:
        """The whole sentences that hold a span, as quotes.

        One quote if a chunk holds the span, first of chunks that are not collapsed; else one for each chunk that holds
        a part of it. Where a chunk ends inside a sentence, its part of the sentence is one. Empty if the span touches
        no sentence.

        Args:
            chunks: look in these only.
        """
        touching = [chunk for chunk in self.touching(span) if chunks is None or chunk in chunks]
        whole = [chunk for chunk in touching if chunk.start <= span[0] and span[1] <= chunk.end]
        for chunk in sorted(whole, key=lambda chunk: chunk.id in self.collapsed):
            if pieces := self._sentences_at(span, chunk):
                return pieces
        parts: list[Piece] = []
        done = span[0]
        for chunk in touching if not whole else ():
            part = trim_span(self.text, max(done, chunk.start), min(span[1], chunk.end))
            if part[0] < part[1] and _WORD.search(self.text, *part):
                parts += self._sentences_at(part, chunk)
            done = max(done, min(span[1], chunk.end))
        return parts

    def _sentences_at(self, span: Span, chunk: Chunk) -> list[Piece]:
        """The sentences of a chunk that share a word with the span, one piece a run."""
        pieces = []
        for run in self.runs(chunk):
            first = bisect_right(run, span[0], key=lambda one: one[1])
            touched = run[first : bisect_left(run, span[1], key=lambda one: one[0])]
            shared = [one for one in touched if _WORD.search(self.text, max(one[0], span[0]), min(one[1], span[1]))]
            if touched := shared or touched:
                pieces.append(Piece(chunk, touched[0][0], touched[-1][1]))
        return pieces

    def find_quote(self, quote: str) -> Span | None:
        """The span of a verbatim quote, whatever the white space: preferably inside a chunk that is not collapsed, else
        inside any chunk, else the first. None if there is none."""
        spans = [match.span() for match in re.finditer(_any_space(quote), self.text)]

        def worse(span: Span) -> int:
            holders = [chunk for chunk in self.touching(span) if chunk.start <= span[0] and span[1] <= chunk.end]
            return 2 if not holders else int(all(chunk.id in self.collapsed for chunk in holders))

        return min(spans, key=worse, default=None)

    @cached_property
    def searched(self) -> SearchText:
        """The document's text, folded for the search of answers."""
        return SearchText(self.text)

    @cached_property
    def _folded(self) -> FoldedText:
        return FoldedText(self.text)

    def near_quote(self, quote: str, most_edits: int) -> list[QuoteMatch]:
        """The nearest matches of a quote that is not verbatim; several if they are equally near and differ.

        A quote that differs in typography alone (`SearchText`) has no edits.
        """
        for found in self.searched.find(fold(quote)):
            return [QuoteMatch(self.searched.source(*found), 0)]
        return self._folded.matches(quote, most_edits)

    def may_hold(self, quote: str) -> bool:
        """Whether the document may hold a quote; a quick test before `find_quote`."""
        return fold(quote) in self.searched.folded

    def places(self, answer: str, within: Span | None = None) -> Iterator[Span]:
        """The spans at which an answer stands in the document, as complete words, whatever the typography.

        Yes, no and the like stand there only as the value of a field or a cell ("pets: no"): elsewhere they prove
        nothing.
        """
        verdict = is_verdict(answer)
        for form in answer_forms(answer):
            count = 0
            for found in self.searched.find(form):
                span = self.searched.source(*found)
                if within and not (within[0] <= span[0] and span[1] <= within[1]):
                    continue
                if verdict and not self._is_value(span):
                    continue
                yield span
                count += 1
                if count == _MOST_PLACES:
                    break
            if count:
                return

    def _is_value(self, span: Span) -> bool:
        before, after = self.text[max(0, span[0] - 16) : span[0]], self.text[span[1] : span[1] + 16]
        return _BEFORE_VALUE.search(before) is not None and _AFTER_VALUE.match(after) is not None


@dataclass(frozen=True, slots=True)
class Proof:
    """A verbatim quote from a chunk of the index."""

    chunk: Chunk
    quote: str


class Library:
    """The documents of a corpus, with their chunks.

    A collapsed chunk still has its span in its document; its proofs come from the chunk that was kept for it.
    """

    def __init__(
        self, documents: Sequence[Document], chunks: Sequence[Chunk], duplicates: Sequence[Duplicate] = ()
    ) -> None:
        by_document: dict[str, list[Chunk]] = {document.id: [] for document in documents}
        for chunk in chunks:
            by_document[chunk.document_id].append(chunk)
        by_id = {document.id: document for document in documents}
        for copy in duplicates:
            text = by_id[copy.document_id].text[copy.start : copy.end]
            by_document[copy.document_id].append(
                Chunk(copy.id, copy.document_id, copy.document_path, copy.start, copy.end, (), text)
            )
        for own in by_document.values():
            own.sort(key=lambda chunk: chunk.start)
        collapsed = {copy.id for copy in duplicates}
        self.texts = {
            document.id: DocumentText(document, by_document[document.id], collapsed) for document in documents
        }
        self.chunks = {chunk.id: chunk for chunk in chunks}
        self._kept_for = {copy.id: self.chunks[copy.kept_id] for copy in duplicates}
        self._names = DocumentNames(documents)

    def named(self, name: str) -> list[DocumentText]:
        """The documents that a name means (document_names.py)."""
        return [self.texts[document.id] for document in self._names.find(name)]

    def proof(self, piece: Piece, answer: str) -> Proof | None:
        """A piece as a proof. The proof of a piece of a collapsed chunk is searched in the chunk that was kept for it:
        verbatim, or the most similar sentence, which must hold the answer if the piece does. None if there is neither.
        """
        kept = self._kept_for.get(piece.chunk.id)
        return Proof(piece.chunk, piece.quote) if kept is None else self._proof_elsewhere(kept, piece.quote, answer)

    def kept(self, chunk: Chunk) -> Chunk:
        """The chunk of the index that stands for a chunk: itself, unless it was collapsed into another."""
        return self._kept_for.get(chunk.id, chunk)

    def _proof_elsewhere(self, chunk: Chunk, quote: str, answer: str) -> Proof | None:
        text = self.texts[chunk.document_id]
        if same := re.search(_any_space(quote), chunk.text, re.IGNORECASE):
            pieces = text.pieces((chunk.start + same.start(), chunk.start + same.end()), [chunk])
            if len(pieces) == 1:
                return Proof(chunk, pieces[0].quote)
        needed = answer if SearchText(quote).holds(answer) else ""
        alike = {
            piece.quote: SequenceMatcher(None, piece.quote, quote, autojunk=False).ratio()
            for piece in text.sentences(chunk)
            if not needed or SearchText(piece.quote).holds(needed)
        }
        best = max(alike, key=lambda sentence: alike[sentence], default=None)
        return Proof(chunk, best) if best is not None and alike[best] >= _ALIKE else None


def _any_space(words: str) -> str:
    """A pattern that matches the words with any white space between them."""
    return r"\s+".join(map(re.escape, words.split()))
