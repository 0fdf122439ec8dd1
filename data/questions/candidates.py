"""The quotes from which grounding chooses one for a question: few, since each that is compared is embedded.

A question's words choose a short list of sentences, then the embeddings choose among these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np

from data.documents.chunks import Chunk, Span
from data.questions.library import DocumentText, Library, Piece, Proof
from data.text.support import content_words, is_verdict, split_words

Embed = Callable[[Sequence[str]], np.ndarray]
#: (question, text) pairs to numbers from 0 to 1, float32 [N]: a cross-encoder.
ScorePairs = Callable[[Sequence[tuple[str, str]]], np.ndarray]

#: The proofs of one question, each with its chunk; a proof without a quote stands for the chunk.
Proofs = tuple[Proof, ...]

_COMPARED = 8
_COMPARED_CHUNKS = 3  # a chunk takes as long to embed as several sentences
_STEM = 4  # first letters, in which two forms of a word agree


class Vectors:
    """Vectors of texts; each text is embedded once."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._known: dict[str, np.ndarray] = {}

    def get(self, texts: Sequence[str]) -> np.ndarray:
        """The normalized vectors, float32 [N, D]."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if missing:
            self._known.update(zip(missing, self._embed(missing), strict=True))
        return np.stack([self._known[text] for text in texts]) if texts else np.zeros((0, 0), np.float32)


def proofs_of_answer(
    question: str, answer: str, text: DocumentText, library: Library, within: Chunk | None = None
) -> tuple[bool, list[Proofs]]:
    """Whether an answer stands in a document (or a chunk of it), and the likeliest of the quotes that hold it.

    Headings are quoted only where no sentence holds the answer. There may be no quote although it stands there, where
    only a chunk that was collapsed into another holds it.
    """
    span: Span | None = (within.start, within.end) if within else None
    choices: dict[tuple[Piece, ...], None] = {}
    for place in text.places(answer, span):
        if pieces := text.pieces(place, [within] if within else None):
            choices[tuple(pieces)] = None
    asked = _stems(question)
    if is_verdict(answer):  # "pets: no" answers a question about pets
        choices = {pieces: None for pieces in choices if any(asked & _stems(piece.quote) for piece in pieces)}
    sentences = [choice for choice in choices if not all(piece.is_heading for piece in choice)] or list(choices)
    found: list[Proofs] = []
    for choice in _likeliest(sentences, asked):
        proofs = dict.fromkeys(library.proof(piece, answer) for piece in choice)
        if None not in proofs and len({proof.chunk.document_id for proof in proofs if proof}) == 1:
            found.append(tuple(proof for proof in proofs if proof))
        if len(found) == _COMPARED:
            break
    return bool(choices), found


def nearest_sentences(question: str, answer: str, chunks: Iterable[Chunk], library: Library) -> list[Proofs]:
    """The sentences that share the most words with question and answer, as far as they are still in the index."""
    pieces: list[tuple[Piece, ...]] = [
        (piece,)
        for chunk in chunks
        for piece in library.texts[chunk.document_id].sentences(chunk)
        if not piece.is_heading
    ]
    found: list[Proofs] = []
    for (piece,) in _likeliest(pieces, _stems(f"{question} {answer}")):
        if len(found) < _COMPARED and (proof := library.proof(piece, answer)):
            found.append((proof,))
    return found


def nearest_chunks(question: str, answer: str, chunks: Iterable[Chunk], library: Library) -> list[Proofs]:
    """The chunks that share the most words with question and answer, without a quote."""
    asked = _stems(f"{question} {answer}")
    kept = list(dict.fromkeys(library.kept(chunk) for chunk in chunks))
    ranked = sorted(kept, key=lambda chunk: -len(asked & _stems(chunk.search_text)))
    return [(Proof(chunk, ""),) for chunk in ranked[:_COMPARED_CHUNKS]]


def wording(proofs: Proofs) -> str:
    """What is embedded of proofs: their quotes, or the chunk."""
    return " ".join(" ".join(proof.quote.split()) if proof.quote else proof.chunk.search_text for proof in proofs)


def _likeliest(choices: Sequence[tuple[Piece, ...]], asked: frozenset[str]) -> Sequence[tuple[Piece, ...]]:
    """The choices, those first that share the most words with what is asked; as they are where there are few."""
    if len(choices) <= _COMPARED:
        return choices
    return sorted(choices, key=lambda pieces: -len(asked & _stems(" ".join(piece.quote for piece in pieces))))


@lru_cache(maxsize=100_000)
def _stems(text: str) -> frozenset[str]:
    """The content words of a text, as far as two forms of a word agree, and its numbers."""
    words = content_words(text) or split_words(text)
    return frozenset(word if word[0].isdecimal() else word[:_STEM] for word in words)
