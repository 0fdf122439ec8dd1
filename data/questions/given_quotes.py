"""Given quotes: located in their document, repaired if they differ by a few characters, and made whole sentences."""

from __future__ import annotations

from collections.abc import Sequence

from data.documents.chunks import Chunk, Span
from data.prompting.prompts import fold_space, is_abstention
from data.questions.candidates import Proofs
from data.questions.library import DocumentText, Library, Proof
from data.questions.questions import RawQuestion, Unusable
from data.questions.repair import Repaired, Repairs
from data.text.folded import SearchText

ONLY_IN_A_COPY = "proved only by a collapsed chunk"


def proofs_of_quotes(raw: RawQuestion, text: DocumentText, library: Library, repairs: Repairs | None) -> Proofs:
    """The whole sentences that hold the given quotes.

    Raises:
        Unusable: the document does not hold one of them, or holds it in several places, or in a collapsed chunk only.
    """
    proofs: dict[Proof | None, None] = {}
    for quote in raw.quotes:
        span = text.find_quote(quote) or _repaired(quote, raw, text, repairs)
        pieces = text.pieces(span) if span else []
        if span is None or not pieces:
            raise Unusable("quote not in document", f"{text.document.path} does not hold {quote!r}")
        for piece in pieces:
            proofs[library.proof(piece, raw.answer)] = None
        given, whole = text.text[slice(*span)], " ".join(piece.quote for piece in pieces)
        if repairs and fold_space(given) != fold_space(whole) and not is_abstention(raw.answer):
            repairs.done.append(Repaired(raw.question, given, whole, 0, raw.source, to_sentences=True))
    known = tuple(proof for proof in proofs if proof is not None)
    if len(known) < len(proofs) or len({proof.chunk.document_id for proof in known}) > 1:
        raise Unusable(ONLY_IN_A_COPY, f"{raw.quotes[0]!r} in {text.document.path}")
    return known


def _repaired(quote: str, raw: RawQuestion, text: DocumentText, repairs: Repairs | None) -> Span | None:
    """The span that differs from the quote by a few characters; None if there is none."""
    matches = text.near_quote(quote, repairs.most_edits) if repairs else []
    if repairs is None or not matches:
        return None
    if len(matches) > 1:
        raise Unusable("ambiguous quote", f"{quote!r} equally matches {len(matches)} passages of {text.document.path}")
    (match,) = matches
    repaired = text.text[slice(*match.span)]
    if fold_space(raw.answer) in fold_space(quote) and not SearchText(repaired).holds(raw.answer):
        raise Unusable("quote differs at the answer", f"{quote!r} reads {repaired!r} in {text.document.path}")
    repairs.done.append(Repaired(raw.question, quote, repaired, match.edits, raw.source))
    return match.span


def document_with_quotes(
    raw: RawQuestion, library: Library, chunks: Sequence[Chunk], repairs: Repairs | None
) -> DocumentText:
    """The document of the first retrieved chunk that holds the quotes, else any document with the quotes.

    Raises:
        Unusable: none holds them.
    """
    retrieved = [library.texts[name] for name in dict.fromkeys(chunk.document_id for chunk in chunks)]
    for text in [*retrieved, *library.texts.values()]:
        if all(text.may_hold(quote) and text.find_quote(quote) for quote in raw.quotes):
            return text
    if repairs and (nearest := _nearest_to_quotes(raw, retrieved, repairs.most_edits)):
        return nearest
    raise Unusable("quote not in document", f"no document holds {raw.quotes[0]!r}")


def _nearest_to_quotes(raw: RawQuestion, texts: Sequence[DocumentText], most_edits: int) -> DocumentText | None:
    """The document that matches the quotes with the fewest edits, or None."""
    by_edits: dict[int, list[DocumentText]] = {}
    for text in texts:
        matches = [text.near_quote(quote, most_edits) for quote in raw.quotes]
        if all(matches):
            by_edits.setdefault(sum(of_quote[0].edits for of_quote in matches), []).append(text)
    if not by_edits:
        return None
    nearest = by_edits[min(by_edits)]
    if len(nearest) > 1:
        paths = ", ".join(text.document.path for text in nearest)
        raise Unusable("ambiguous quote", f"{raw.quotes[0]!r} equally matches passages of {paths}")
    return nearest[0]
