"""The documents as grounding reads them: looked up by name, with their chunks, sentences and quotes."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

from data.documents.chunks import Chunk, Span
from data.documents.documents import Document, is_plain
from data.documents.duplicates import Duplicate
from data.questions.document_names import DocumentNames
from data.questions.repair import FoldedText, QuoteMatch
from data.text.blocks import lines_of, read_blocks, units_of
from data.text.sentences import sentence_spans, trim_span
from data.text.words import phrase_pattern

# Most documents hold these words, so they prove nothing.
_YES_NO = frozenset({"yes", "no", "true", "false", "none"})
_ALIKE = 0.8  # least similarity of two sentences that say the same, by their characters
_LIST_MARK = re.compile(r"(?:[-*+•>]|\d{1,3}[.)])[ \t]+")


class DocumentText:
    """A document with its chunks and sentences."""

    def __init__(self, document: Document, chunks: list[Chunk], collapsed: Collection[str] = ()) -> None:
        self.document = document
        self.text = document.text
        self.chunks = chunks  # both starts and ends ascend
        self.collapsed = collapsed  # ids of the chunks that were collapsed into another

    @cached_property
    def sentences(self) -> list[Span]:
        """Spans of the sentences that can be quoted: with words, without list marks, no headings."""
        spans = []
        for block in read_blocks(self.text, is_plain(self.document.path)):
            for start, end in _quotable(self.text[block.start : block.end]) if not block.level else ():
                span = (block.start + start, block.start + end)
                mark = _LIST_MARK.match(self.text, *span)
                if re.search(r"\w", self.text[slice(*span)]):
                    spans.append((mark.end(), span[1]) if mark else span)
        return spans

    def holders(self, span: Span) -> list[Chunk]:
        """The chunks that contain the span."""
        first = bisect_left(self.chunks, span[1], key=lambda chunk: chunk.end)
        return self.chunks[first : bisect_right(self.chunks, span[0], key=lambda chunk: chunk.start)]

    def cut_at_borders(self, span: Span) -> list[Span]:
        """The span, or runs of its sentences that one chunk contains each; empty if no chunk contains a sentence."""
        if self.holders(span):
            return [span]
        runs: list[Span] = []
        for start, end in self.sentences:
            start, end = max(start, span[0]), min(end, span[1])
            if start >= end:
                continue
            if not self.holders((start, end)):
                return []
            if runs and self.holders((runs[-1][0], end)):
                runs[-1] = (runs[-1][0], end)
            else:
                runs.append((start, end))
        return runs

    def find_quote(self, quote: str) -> Span | None:
        """The span of a verbatim quote, whatever the white space: preferably inside a chunk that is not collapsed, else
        inside any chunk, else the first. None if there is none."""
        spans = [match.span() for match in re.finditer(_any_space(quote), self.text)]

        def worse(span: Span) -> int:
            holders = self.holders(span)
            return 2 if not holders else int(all(chunk.id in self.collapsed for chunk in holders))

        return min(spans, key=worse, default=None)

    @cached_property
    def _folded(self) -> FoldedText:
        return FoldedText(self.text)

    def near_quote(self, quote: str, most_edits: int) -> list[QuoteMatch]:
        """The nearest matches of a quote that is not verbatim; several if they are equally near and differ."""
        return self._folded.matches(quote, most_edits)

    def sentences_with(self, answer: str, within: Span) -> list[Span]:
        """The spans of the sentence, or adjacent sentences, around each occurrence of the answer as complete words."""
        words = answer.strip().rstrip(".!?").split()
        if not words or " ".join(words).casefold() in _YES_NO:
            return []
        pattern = phrase_pattern(" ".join(words))
        assert pattern is not None
        spans: dict[Span, None] = {}
        for match in pattern.finditer(self.text, *within):
            first = bisect_right(self.sentences, match.start(), key=lambda span: span[1])
            touched = self.sentences[first : bisect_left(self.sentences, match.end(), key=lambda span: span[0])]
            if touched:
                spans[touched[0][0], touched[-1][1]] = None
        return list(spans)


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

    def proof(self, text: DocumentText, span: Span, answer: str) -> Proof | None:
        """The first chunk that contains a span of a document, and the span's text.

        If only a collapsed chunk contains it, the text is searched in the chunk that was kept for it: verbatim, or the
        most similar sentence, which must hold the answer if the text does. None if there is neither.
        """
        holders = text.holders(span)
        quote = text.text[slice(*span)]
        kept = next((chunk for chunk in holders if chunk.id not in self._kept_for), None)
        if kept is not None:
            return Proof(kept, quote)
        return self._proof_elsewhere(self._kept_for[holders[0].id], quote, answer) if holders else None

    def _proof_elsewhere(self, chunk: Chunk, quote: str, answer: str) -> Proof | None:
        same = re.search(_any_space(quote), chunk.text, re.IGNORECASE)
        if same:
            return Proof(chunk, same[0])
        needed = answer.casefold() if answer.casefold() in quote.casefold() else ""
        text = self.texts[chunk.document_id]
        inside = (span for span in text.sentences if chunk.start <= span[0] and span[1] <= chunk.end)
        sentences = [text.text[slice(*span)] for span in inside]
        alike = {
            sentence: SequenceMatcher(None, sentence, quote, autojunk=False).ratio()
            for sentence in sentences
            if needed in sentence.casefold()
        }
        best = max(alike, key=lambda sentence: alike[sentence], default=None)
        return Proof(chunk, best) if best is not None and alike[best] >= _ALIKE else None


def _any_space(words: str) -> str:
    """A pattern that matches the words with any white space between them."""
    return r"\s+".join(map(re.escape, words.split()))


def _quotable(paragraph: str) -> Iterator[Span]:
    """Spans of the sentences of a paragraph, or of the lines of a listing, which chunks may separate."""
    for unit in units_of(paragraph):
        text = paragraph[unit.start : unit.end]
        spans = [(at, at + len(line)) for at, line in lines_of(text)] if unit.kind == "lines" else sentence_spans(text)
        for start, end in spans:
            start, end = trim_span(text, start, end)
            if start < end:
                yield unit.start + start, unit.start + end
