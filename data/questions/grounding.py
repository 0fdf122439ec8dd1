"""Ties questions to documents, to quotes that stand there verbatim, and to the chunks that hold the quotes.

A quote that is given is found in the document, or repaired where all but a slip of it stands there. Without one, it is
the sentence that holds the answer, or, when the answer does not stand in the document word for word, the sentence
nearest to question and answer by embedding. Without a document, retrieval finds the chunk. What cannot be tied is
returned with its reason.

A question whose answer is the abstention is unanswerable: it is tied like the others, and keeps no quote.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from data.documents.chunks import Chunk, Span
from data.documents.documents import Document
from data.documents.duplicates import Duplicate
from data.prompting.prompts import ABSTENTION, fold_space, is_abstention
from data.questions.library import DocumentText, Library, Proof
from data.questions.questions import (
    Question,
    QuestionSettings,
    QuoteSource,
    RawQuestion,
    Rejected,
    TiedBy,
    same_wording,
)
from data.questions.repair import Repaired, Repairs
from user_error import UserError

log = logging.getLogger(__name__)

_ONLY_IN_A_COPY = "proved only by a collapsed chunk"

Embed = Callable[[Sequence[str]], np.ndarray]
Search = Callable[[Sequence[str], int], Sequence[Sequence[str]]]


def ground_questions(
    raw_questions: Sequence[RawQuestion],
    documents: Sequence[Document],
    chunks: Sequence[Chunk],
    settings: QuestionSettings,
    embed: Embed,
    search: Search,
    duplicates: Sequence[Duplicate] = (),
    repairs: Repairs | None = None,
) -> tuple[list[Question], list[Rejected]]:
    """Ties each question to its document, quotes and oracle chunks, or rejects it with a reason.

    What a collapsed chunk proves is proved by the chunk that stands for it: its document is the question's then, so
    that the split by document keeps question and oracle together.

    Args:
        duplicates: the chunks that were collapsed, which are not among `chunks`.
        embed: texts to normalized vectors, float32 [N, D] (`Embedder.embed`).
        search: (texts, k) to the ids of the best k chunks of each text, best first.
        repairs: how far given quotes may be repaired, and where to note those that were; without it none is.

    Returns:
        The questions and the rejected ones, each in the order of `raw_questions`.
    """
    library = Library(documents, chunks, duplicates)
    hits = _retrieve(raw_questions, search, settings.retrieval_depth)
    drafts: list[_Draft | Rejected] = []
    for raw in raw_questions:
        try:
            drafts.append(_draft(raw, library, hits.get(_retrieval_text(raw), ()), settings, repairs))
        except _Unusable as why:
            drafts.append(Rejected(raw.question, why.reason, why.detail, raw.source))
    _choose_nearest([draft for draft in drafts if isinstance(draft, _Draft)], embed)

    questions: list[Question] = []
    rejected: list[Rejected] = []
    # The first of each wording about a document; before a question that says it has no answer, one that is answered.
    first: dict[tuple[str, str], _Draft] = {}
    usable = [draft for draft in drafts if isinstance(draft, _Draft)]
    for one in sorted(usable, key=lambda one: is_abstention(one.raw.answer)):
        first.setdefault(one.key, one)
    cut = 0
    for draft in drafts:
        if isinstance(draft, Rejected):
            rejected.append(draft)
            continue
        if first[draft.key] is not draft:
            detail = f"of the same document asked elsewhere ({first[draft.key].raw.source})"
            rejected.append(Rejected(draft.raw.question, "duplicate", detail, draft.raw.source))
            continue
        questions.append(_question(draft))
        cut += len(draft.quotes) > max(1, len(draft.raw.quotes))
    if repairs:
        kept = {(draft.raw.question, draft.raw.source) for draft in first.values()}
        repairs.done = [item for item in repairs.done if (item.question, item.source) in kept]
    if rejected:
        log.warning("%d of %d questions are rejected: %s", len(rejected), len(raw_questions), tell_reasons(rejected))
    if cut:
        log.info("%d questions have a quote that crosses a chunk border and was cut there into two", cut)
    return questions, rejected


def check_names(raw_questions: Sequence[RawQuestion], documents: Sequence[Document]) -> None:
    """Refuses questions that all name documents which are not there, before anything is built for them.

    Raises:
        UserError: with the first name, and one that would be found.
    """
    library = Library(documents, ())
    if not any(raw.document is None or library.named(raw.document) for raw in raw_questions):
        raise UserError(
            f"none of {len(raw_questions)} questions names a document of the corpus: the first names "
            f"{raw_questions[0].document!r}; give a path, file name, stem or title, such as {documents[0].path!r}, or "
            "leave the document out"
        )


def tell_reasons(rejected: Sequence[Rejected]) -> str:
    """The reasons with their numbers, the commonest first: `unknown document (3), duplicate (1)`."""
    reasons = Counter(item.reason for item in rejected).most_common()
    return ", ".join(f"{reason} ({count})" for reason, count in reasons)


class _Unusable(Exception):
    """Why a question cannot be used: a fixed phrase, and what exactly."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class _Draft:
    """A question on its way: tied to its document, its quotes found or still to be chosen among candidates."""

    raw: RawQuestion
    text: DocumentText
    tied_by: TiedBy
    quote_source: QuoteSource
    quotes: list[Proof]  # all of one document; empty until the nearest candidate is chosen
    candidates: list[list[Proof]]  # each is the quotes of one choice

    @property
    def key(self) -> tuple[str, str]:
        """Wording and document: what may be asked once."""
        return same_wording(self.raw.question), self.quotes[0].chunk.document_id


def _retrieval_text(raw: RawQuestion) -> str:
    return f"{raw.question} {raw.answer}"


def _retrieve(raw_questions: Sequence[RawQuestion], search: Search, depth: int) -> dict[str, Sequence[str]]:
    """Chunk ids, best first, for the questions that name no document."""
    texts = list(dict.fromkeys(_retrieval_text(raw) for raw in raw_questions if raw.document is None and raw.answer))
    return dict(zip(texts, search(texts, depth), strict=True)) if texts else {}


def _draft(
    raw: RawQuestion, library: Library, hits: Sequence[str], settings: QuestionSettings, repairs: Repairs | None
) -> _Draft:
    if not raw.answer.strip():
        raise _Unusable("no answer")
    if raw.document is not None:
        text = _named(raw.document, library)
        within = (0, len(text.text))
    else:
        text, within = _tie_by_retrieval(raw, library, hits, repairs)
    tied_by: TiedBy = "retrieval" if raw.document is None else "given"
    if raw.quotes:
        return _Draft(raw, text, tied_by, "given", _given_quotes(raw, text, library, repairs), [])

    source: QuoteSource = "sentence"
    spans = text.sentences_with(raw.answer, within)
    if not spans:
        if settings.reject_unquoted and not is_abstention(raw.answer):
            raise _Unusable("answer not in document", f"{raw.answer!r} does not stand in {text.document.path}")
        source = "nearest"
        spans = [span for span in text.sentences if within[0] <= span[0] and span[1] <= within[1]]
    # Whole sentences first: one is cut only when every choice crosses a border.
    choices = [[span] for span in spans if text.holders(span)]
    choices = choices or [cut for span in spans if (cut := text.cut_at_borders(span))]
    if not choices:
        raise _Unusable("quote crosses a chunk border", f"no sentence of {text.document.path} lies in one chunk")
    candidates = [proofs for choice in choices if (proofs := _proofs(raw, text, choice, library))]
    if not candidates:
        raise _Unusable(_ONLY_IN_A_COPY, f"{raw.answer!r} in {text.document.path}")
    return _Draft(raw, text, tied_by, source, [], candidates)


def _proofs(raw: RawQuestion, text: DocumentText, spans: Sequence[Span], library: Library) -> list[Proof] | None:
    """The proofs of all spans, each once; None where one has none or they are of several documents."""
    found = [library.proof(text, span, raw.answer) for span in spans]
    proofs = list(dict.fromkeys(proof for proof in found if proof is not None))
    whole = None not in found and len({proof.chunk.document_id for proof in proofs}) == 1
    return proofs if whole else None


def _named(name: str, library: Library) -> DocumentText:
    texts = library.named(name)
    if not texts:
        raise _Unusable("unknown document", f"no document has the path, file name, stem or title {name!r}")
    if len(texts) > 1:
        paths = ", ".join(text.document.path for text in texts)
        raise _Unusable("ambiguous document", f"{name!r} names {len(texts)} documents: {paths}")
    return texts[0]


def _given_quotes(raw: RawQuestion, text: DocumentText, library: Library, repairs: Repairs | None) -> list[Proof]:
    quotes: list[Span] = []
    for quote in raw.quotes:
        span = text.find_quote(quote) or _repaired(quote, raw, text, repairs)
        if span is None:
            raise _Unusable("quote not in document", f"{quote!r} does not stand in {text.document.path}")
        pieces = text.cut_at_borders(span)
        if not pieces:
            raise _Unusable("quote crosses a chunk border", f"{quote!r} in {text.document.path}")
        quotes.extend(piece for piece in pieces if piece not in quotes)
    proofs = _proofs(raw, text, quotes, library)
    if proofs is None:
        raise _Unusable(_ONLY_IN_A_COPY, f"{raw.quotes[0]!r} in {text.document.path}")
    return proofs


def _repaired(quote: str, raw: RawQuestion, text: DocumentText, repairs: Repairs | None) -> Span | None:
    """Where a quote stands but for a few characters; None when it stands nowhere."""
    places = text.near_quote(quote, repairs.most_edits) if repairs else []
    if repairs is None or not places:
        return None
    if len(places) > 1:
        raise _Unusable("ambiguous quote", f"{quote!r} is as near to {len(places)} places of {text.document.path}")
    (place,) = places
    repaired = text.text[slice(*place.span)]
    if fold_space(raw.answer) in fold_space(quote) and fold_space(raw.answer) not in fold_space(repaired):
        raise _Unusable("quote differs at the answer", f"{quote!r} reads {repaired!r} in {text.document.path}")
    repairs.done.append(Repaired(raw.question, quote, repaired, place.edits, raw.source))
    return place.span


def _tie_by_retrieval(
    raw: RawQuestion, library: Library, hits: Sequence[str], repairs: Repairs | None
) -> tuple[DocumentText, Span]:
    """The retrieved chunk that holds the quote or the answer, else any document with the quote, else the best chunk."""
    chunks = [library.chunks[hit] for hit in hits]
    assert chunks, "a search that finds nothing"
    for chunk in chunks:
        text, within = library.texts[chunk.document_id], (chunk.start, chunk.end)
        if all(map(text.find_quote, raw.quotes)) if raw.quotes else text.sentences_with(raw.answer, within):
            return text, within
    for text in library.texts.values() if raw.quotes else ():
        if all(map(text.find_quote, raw.quotes)):
            return text, (0, len(text.text))
    if raw.quotes:
        if repairs and (nearest := _nearest_to_quotes(raw, library, chunks, repairs.most_edits)):
            return nearest, (0, len(nearest.text))
        raise _Unusable("quote not in document", f"{raw.quotes[0]!r} stands in none of the documents")
    return library.texts[chunks[0].document_id], (chunks[0].start, chunks[0].end)


def _nearest_to_quotes(
    raw: RawQuestion, library: Library, chunks: Sequence[Chunk], most_edits: int
) -> DocumentText | None:
    """Of the retrieved documents the one in which the quotes stand with the fewest edits."""
    by_edits: dict[int, list[DocumentText]] = {}
    for document_id in dict.fromkeys(chunk.document_id for chunk in chunks):
        text = library.texts[document_id]
        places = [text.near_quote(quote, most_edits) for quote in raw.quotes]
        if all(places):
            by_edits.setdefault(sum(place[0].edits for place in places), []).append(text)
    if not by_edits:
        return None
    nearest = by_edits[min(by_edits)]
    if len(nearest) > 1:
        paths = ", ".join(text.document.path for text in nearest)
        raise _Unusable("ambiguous quote", f"{raw.quotes[0]!r} is as near to places of {paths}")
    return nearest[0]


def _choose_nearest(drafts: Sequence[_Draft], embed: Embed) -> None:
    """Sets the quotes of drafts that have candidates, by one embedding of all texts involved."""
    rows: dict[str, int] = {}
    open_drafts = [draft for draft in drafts if len(draft.candidates) > 1]
    for draft in open_drafts:
        for text in (_sought(draft), *map(_wording, draft.candidates)):
            rows.setdefault(text, len(rows))
    vectors = embed(list(rows)) if rows else np.zeros((0, 0), np.float32)
    for draft in drafts:
        best = 0
        if len(draft.candidates) > 1:
            places = [rows[_wording(candidate)] for candidate in draft.candidates]
            best = int(np.argmax(vectors[places] @ vectors[rows[_sought(draft)]]))
        if draft.candidates:
            draft.quotes = draft.candidates[best]


def _sought(draft: _Draft) -> str:
    return _retrieval_text(draft.raw) if draft.quote_source == "nearest" else draft.raw.question


def _wording(proofs: Sequence[Proof]) -> str:
    return " ".join(" ".join(proof.quote.split()) for proof in proofs)


def _question(draft: _Draft) -> Question:
    raw = draft.raw
    # An unanswerable question has a chunk that is near it, and no evidence.
    abstains = is_abstention(raw.answer)
    parts = (raw.question, raw.answer, draft.quotes[0].chunk.document_path)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return Question(
        id=digest[:16],
        question=raw.question,
        answer=ABSTENTION if abstains else raw.answer,
        quotes=() if abstains else tuple(proof.quote for proof in draft.quotes),
        document_id=draft.quotes[0].chunk.document_id,
        oracle_ids=tuple(dict.fromkeys(proof.chunk.id for proof in draft.quotes)),
        quote_source=draft.quote_source,
        tied_by=draft.tied_by,
        reason=raw.reason,
    )
