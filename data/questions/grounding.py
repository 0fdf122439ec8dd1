"""Ties questions to documents, to verbatim quotes from them, and to the chunks that hold the quotes.

A given quote is located in the document, or repaired if it differs by a few characters. Without a quote, the quote is
the sentence that holds the answer or, if the document does not hold the answer word for word, the sentence nearest to
question and answer by embedding. Without a document, retrieval chooses the chunk. Questions that cannot be tied are
returned with a reason.

A question whose answer is the abstention is unanswerable: it is tied like the others, and has no quote.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from data.documents.chunks import Chunk, Span
from data.documents.documents import Document
from data.documents.duplicates import Duplicate
from data.prompting.prompts import ABSTENTION, fold_space, is_abstention
from data.questions.asked_twice import settle
from data.questions.library import DocumentText, Library, Proof
from data.questions.questions import (
    Question,
    QuestionSettings,
    QuoteSource,
    RawQuestion,
    Rejected,
    TiedBy,
    Unusable,
    describe_reasons,
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

    A collapsed chunk is replaced by the chunk that was kept for it, and the question moves to that chunk's document, so
    that the split by document keeps question and oracle together.

    Args:
        duplicates: the collapsed chunks, which are not among `chunks`.
        embed: texts to normalized vectors, float32 [N, D] (`Embedder.embed`).
        search: (texts, k) to the ids of the best k chunks of each text, best first.
        repairs: how far given quotes may be repaired, and where repairs are recorded; None repairs no quote.

    Returns:
        The questions and the rejected ones, each in the order of `raw_questions`.
    """
    library = Library(documents, chunks, duplicates)
    hits = _retrieve(raw_questions, search, settings.retrieval_depth)
    drafts: list[_QuestionDraft | Rejected] = []
    for raw in raw_questions:
        try:
            drafts.append(_draft(raw, library, hits.get(_retrieval_text(raw), ()), settings, repairs))
        except Unusable as why:
            drafts.append(Rejected(raw.question, why.reason, why.detail, raw.source))
    _choose_nearest([draft for draft in drafts if isinstance(draft, _QuestionDraft)], embed)

    questions: list[Question] = []
    rejected: list[Rejected] = []
    usable = [draft for draft in drafts if isinstance(draft, _QuestionDraft)]
    settled = settle([(draft.key, draft.raw) for draft in usable])
    numbers = count()
    cut = 0
    for draft in drafts:
        if isinstance(draft, Rejected):
            rejected.append(draft)
        elif (number := next(numbers)) in settled.rejected:
            rejected.append(Rejected(draft.raw.question, *settled.rejected[number], draft.raw.source))
        else:
            questions.append(_question(draft, settled.more_answers.get(number, ())))
            cut += len(draft.quotes) > max(1, len(draft.raw.quotes))
    if repairs:
        kept = {
            (draft.raw.question, draft.raw.source)
            for number, draft in enumerate(usable)
            if number not in settled.rejected
        }
        repairs.done = [item for item in repairs.done if (item.question, item.source) in kept]
    if rejected:
        log.warning(
            "%d of %d questions are rejected: %s", len(rejected), len(raw_questions), describe_reasons(rejected)
        )
    if cut:
        log.info("%d questions have a quote that crosses a chunk border and was cut there into two", cut)
    return questions, rejected


def check_names(raw_questions: Sequence[RawQuestion], documents: Sequence[Document]) -> None:
    """Checks that not every question names a document that does not exist, before anything is built.

    Raises:
        UserError: every question does; quotes the first name, and gives a valid one.
    """
    library = Library(documents, ())
    if not any(raw.document is None or library.named(raw.document) for raw in raw_questions):
        raise UserError(
            f"none of {len(raw_questions)} questions names a document of the corpus: the first names "
            f"{raw_questions[0].document!r}; give a path, file name, stem or title, such as {documents[0].path!r}, or "
            "leave the document out"
        )


@dataclass(slots=True)
class _QuestionDraft:
    """A question that is tied to its document; its quotes are known or still to be chosen among candidates."""

    raw: RawQuestion
    text: DocumentText
    tied_by: TiedBy
    quote_source: QuoteSource
    quotes: list[Proof]  # all of one document; empty until the nearest candidate is chosen
    candidates: list[list[Proof]]  # each is one choice of quotes

    @property
    def key(self) -> tuple[str, str]:
        """Wording and document; only one question may have a key."""
        return same_wording(self.raw.question), self.quotes[0].chunk.document_id


def _retrieval_text(raw: RawQuestion) -> str:
    return f"{raw.question} {raw.answer}"


def _retrieve(raw_questions: Sequence[RawQuestion], search: Search, depth: int) -> dict[str, Sequence[str]]:
    """Retrieval text -> chunk ids, best first, for the questions that name no document."""
    texts = list(dict.fromkeys(_retrieval_text(raw) for raw in raw_questions if raw.document is None and raw.answer))
    return dict(zip(texts, search(texts, depth), strict=True)) if texts else {}


def _draft(
    raw: RawQuestion, library: Library, hits: Sequence[str], settings: QuestionSettings, repairs: Repairs | None
) -> _QuestionDraft:
    if not raw.answer.strip():
        raise Unusable("no answer")
    if raw.document is not None:
        text = _named(raw.document, library)
        within = (0, len(text.text))
    else:
        text, within = _tie_by_retrieval(raw, library, hits, repairs)
    tied_by: TiedBy = "retrieval" if raw.document is None else "given"
    if raw.quotes:
        return _QuestionDraft(raw, text, tied_by, "given", _given_quotes(raw, text, library, repairs), [])

    source: QuoteSource = "sentence"
    spans = text.sentences_with(raw.answer, within)
    if not spans:
        if settings.reject_unquoted and not is_abstention(raw.answer):
            raise Unusable("answer not in document", f"{text.document.path} does not hold {raw.answer!r}")
        source = "nearest"
        spans = [span for span in text.sentences if within[0] <= span[0] and span[1] <= within[1]]
    # Sentences are cut only when every choice crosses a chunk border.
    choices = [[span] for span in spans if text.holders(span)]
    choices = choices or [cut for span in spans if (cut := text.cut_at_borders(span))]
    if not choices:
        raise Unusable("quote crosses a chunk border", f"no chunk holds a complete sentence of {text.document.path}")
    candidates = [proofs for choice in choices if (proofs := _proofs(raw, text, choice, library))]
    if not candidates:
        raise Unusable(_ONLY_IN_A_COPY, f"{raw.answer!r} in {text.document.path}")
    return _QuestionDraft(raw, text, tied_by, source, [], candidates)


def _proofs(raw: RawQuestion, text: DocumentText, spans: Sequence[Span], library: Library) -> list[Proof] | None:
    """The proofs of all spans, each once; None if one has no proof or they belong to several documents."""
    of_spans = [library.proof(text, span, raw.answer) for span in spans]
    proofs = list(dict.fromkeys(proof for proof in of_spans if proof is not None))
    complete = None not in of_spans and len({proof.chunk.document_id for proof in proofs}) == 1
    return proofs if complete else None


def _named(name: str, library: Library) -> DocumentText:
    texts = library.named(name)
    if not texts:
        raise Unusable("unknown document", f"no document has the path, file name, stem or title {name!r}")
    if len(texts) > 1:
        paths = ", ".join(text.document.path for text in texts)
        raise Unusable("ambiguous document", f"{name!r} names {len(texts)} documents: {paths}")
    return texts[0]


def _given_quotes(raw: RawQuestion, text: DocumentText, library: Library, repairs: Repairs | None) -> list[Proof]:
    quotes: list[Span] = []
    for quote in raw.quotes:
        span = text.find_quote(quote) or _repaired(quote, raw, text, repairs)
        if span is None:
            raise Unusable("quote not in document", f"{text.document.path} does not hold {quote!r}")
        pieces = text.cut_at_borders(span)
        if not pieces:
            raise Unusable("quote crosses a chunk border", f"{quote!r} in {text.document.path}")
        quotes.extend(piece for piece in pieces if piece not in quotes)
    proofs = _proofs(raw, text, quotes, library)
    if proofs is None:
        raise Unusable(_ONLY_IN_A_COPY, f"{raw.quotes[0]!r} in {text.document.path}")
    return proofs


def _repaired(quote: str, raw: RawQuestion, text: DocumentText, repairs: Repairs | None) -> Span | None:
    """The span that differs from the quote by a few characters; None if there is none."""
    matches = text.near_quote(quote, repairs.most_edits) if repairs else []
    if repairs is None or not matches:
        return None
    if len(matches) > 1:
        raise Unusable("ambiguous quote", f"{quote!r} equally matches {len(matches)} passages of {text.document.path}")
    (match,) = matches
    repaired = text.text[slice(*match.span)]
    if fold_space(raw.answer) in fold_space(quote) and fold_space(raw.answer) not in fold_space(repaired):
        raise Unusable("quote differs at the answer", f"{quote!r} reads {repaired!r} in {text.document.path}")
    repairs.done.append(Repaired(raw.question, quote, repaired, match.edits, raw.source))
    return match.span


def _tie_by_retrieval(
    raw: RawQuestion, library: Library, hits: Sequence[str], repairs: Repairs | None
) -> tuple[DocumentText, Span]:
    """The document, and the span to search: of the first retrieved chunk that holds the quotes or the answer, else any
    document with the quotes, else the best chunk."""
    chunks = [library.chunks[hit] for hit in hits]
    assert chunks, "the search returned no chunk"
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
        raise Unusable("quote not in document", f"no document holds {raw.quotes[0]!r}")
    return library.texts[chunks[0].document_id], (chunks[0].start, chunks[0].end)


def _nearest_to_quotes(
    raw: RawQuestion, library: Library, chunks: Sequence[Chunk], most_edits: int
) -> DocumentText | None:
    """The retrieved document that matches the quotes with the fewest edits, or None."""
    by_edits: dict[int, list[DocumentText]] = {}
    for document_id in dict.fromkeys(chunk.document_id for chunk in chunks):
        text = library.texts[document_id]
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


def _choose_nearest(drafts: Sequence[_QuestionDraft], embed: Embed) -> None:
    """Sets the quotes of drafts that have candidates; embeds all texts involved in one call."""
    rows: dict[str, int] = {}
    open_drafts = [draft for draft in drafts if len(draft.candidates) > 1]
    for draft in open_drafts:
        for text in (_query(draft), *map(_wording, draft.candidates)):
            rows.setdefault(text, len(rows))
    vectors = embed(list(rows)) if rows else np.zeros((0, 0), np.float32)
    for draft in drafts:
        best = 0
        if len(draft.candidates) > 1:
            candidate_rows = [rows[_wording(candidate)] for candidate in draft.candidates]
            best = int(np.argmax(vectors[candidate_rows] @ vectors[rows[_query(draft)]]))
        if draft.candidates:
            draft.quotes = draft.candidates[best]


def _query(draft: _QuestionDraft) -> str:
    return _retrieval_text(draft.raw) if draft.quote_source == "nearest" else draft.raw.question


def _wording(proofs: Sequence[Proof]) -> str:
    return " ".join(" ".join(proof.quote.split()) for proof in proofs)


def _question(draft: _QuestionDraft, more_answers: Sequence[str]) -> Question:
    raw = draft.raw
    # An unanswerable question is tied to a near chunk, and has no evidence.
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
        other_answers=(*raw.other_answers, *more_answers),
        extra=raw.extra,
    )
