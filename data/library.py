"""The documents as grounding sees them: found by their names, with their chunks, sentences and quotes."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import PurePosixPath

from data.blocks import read_blocks
from data.chunks import Chunk, Span
from data.documents import Document, is_plain
from data.repair import FoldedText, Place
from data.sentences import sentence_spans

# Words that stand in most documents and prove nothing there.
_YES_NO = frozenset({"yes", "no", "true", "false", "none"})
_LIST_MARK = re.compile(r"(?:[-*+•>]|\d{1,3}[.)])[ \t]+")


class DocumentText:
    """A document with its chunks and sentences."""

    def __init__(self, document: Document, chunks: list[Chunk]) -> None:
        self.document = document
        self.text = document.text
        self.chunks = chunks  # both their starts and their ends ascend

    @cached_property
    def sentences(self) -> list[Span]:
        """Sentences that can be quoted: with words, without list marks, no headings."""
        spans = []
        for block in read_blocks(self.text, is_plain(self.document.path)):
            for start, end in sentence_spans(self.text[block.start : block.end]) if not block.level else ():
                span = (block.start + start, block.start + end)
                mark = _LIST_MARK.match(self.text, *span)
                if re.search(r"\w", self.text[slice(*span)]):
                    spans.append((mark.end(), span[1]) if mark else span)
        return spans

    def holders(self, span: Span) -> list[Chunk]:
        """The chunks that hold the span entirely."""
        first = bisect_left(self.chunks, span[1], key=lambda chunk: chunk.end)
        return self.chunks[first : bisect_right(self.chunks, span[0], key=lambda chunk: chunk.start)]

    def cut_at_borders(self, span: Span) -> list[Span]:
        """The span, or runs of its sentences that each lie in one chunk; nothing when a sentence lies in none."""
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
        """Where the quote stands, letter for letter after white-space folding; inside one chunk if it can be."""
        pattern = r"\s+".join(map(re.escape, quote.split()))
        spans = [match.span() for match in re.finditer(pattern, self.text)]
        return next((span for span in spans if self.holders(span)), spans[0] if spans else None)

    @cached_property
    def _folded(self) -> FoldedText:
        return FoldedText(self.text)

    def near_quote(self, quote: str, most_edits: int) -> list[Place]:
        """The places nearest to a quote that does not stand here; more than one where nobody can say which is meant."""
        return self._folded.places(quote, most_edits)

    def sentences_with(self, answer: str, within: Span) -> list[Span]:
        """The sentence, or neighbouring sentences, around each place where the answer stands as whole words."""
        words = answer.strip().rstrip(".!?").split()
        if not words or " ".join(words).casefold() in _YES_NO:
            return []
        # Not inside a word or a number: "3" does not stand in "3.5" nor in "1,300".
        pattern = r"(?<!\w)(?<!\d[.,])" + r"\s+".join(map(re.escape, words)) + r"(?!\w|[.,]\d)"
        found: dict[Span, None] = {}
        for match in re.compile(pattern, re.IGNORECASE).finditer(self.text, *within):
            first = bisect_right(self.sentences, match.start(), key=lambda span: span[1])
            touched = self.sentences[first : bisect_left(self.sentences, match.end(), key=lambda span: span[0])]
            if touched:
                found[touched[0][0], touched[-1][1]] = None
        return list(found)


class Library:
    """Documents by every name that a person may use for them."""

    def __init__(self, documents: Sequence[Document], chunks: Sequence[Chunk]) -> None:
        by_document: dict[str, list[Chunk]] = {document.id: [] for document in documents}
        for chunk in chunks:
            by_document[chunk.document_id].append(chunk)
        self.texts = {document.id: DocumentText(document, by_document[document.id]) for document in documents}
        self.chunks = {chunk.id: chunk for chunk in chunks}
        # The first of these that knows a name decides.
        self._names = (
            _grouped((document.path, document) for document in documents),
            _grouped((PurePosixPath(document.path).name, document) for document in documents),
            _grouped((PurePosixPath(document.path).stem, document) for document in documents),
            _grouped((document.title, document) for document in documents),
        )

    def named(self, name: str) -> list[DocumentText]:
        """The documents with this path, or else this file name, stem or title."""
        found: list[Document] = next((names[name] for names in self._names if name in names), [])
        return [self.texts[document.id] for document in found]


def _grouped(pairs: Iterable[tuple[str, Document]]) -> dict[str, list[Document]]:
    groups: dict[str, list[Document]] = {}
    for name, document in pairs:
        groups.setdefault(name, []).append(document)
    return groups
