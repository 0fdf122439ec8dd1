"""Ties questions to documents, to verbatim quotes from them, and to the chunks that hold the quotes.

A given quote is located in the document, or repaired if it differs by a few characters, and becomes the whole sentences
that hold it. Without a quote, the quote is the sentence in which the answer stands. Where it stands in none, evidence
is not invented: the question is rejected, or as the settings say, a sentence is quoted only where its support is
confirmed, or the question is trained without a quote. Without a document, retrieval chooses the chunk. Questions that
cannot be tied are returned with a reason.

A question whose answer is the abstention is unanswerable: it is tied to a near chunk, and has no quote.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from data.documents.chunks import Chunk
from data.documents.documents import Document
from data.documents.duplicates import Duplicate
from data.prompting.prompts import ABSTENTION, is_abstention
from data.questions.asked_twice import settle
from data.questions.candidates import (
    Embed,
    Proofs,
    Vectors,
    nearest_chunks,
    nearest_sentences,
    proofs_of_answer,
    wording,
)
from data.questions.evidence import Support
from data.questions.given_quotes import ONLY_IN_A_COPY, document_with_quotes, proofs_of_quotes
from data.questions.library import DocumentText, Library
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
from data.questions.repair import Repairs
from user_error import UserError

log = logging.getLogger(__name__)

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
    support: Support | None = None,
) -> tuple[list[Question], list[Rejected]]:
    """Ties each question to its document, quotes and oracle chunks, or rejects it with a reason.

    A collapsed chunk is replaced by the chunk that was kept for it, and the question moves to that chunk's document, so
    that the split by document keeps question and oracle together.

    Args:
        duplicates: the collapsed chunks, which are not among `chunks`.
        embed: texts to normalized vectors, float32 [N, D] (`Embedder.embed`).
        search: (texts, k) to the ids of the best k chunks of each text, best first.
        repairs: how far given quotes may be repaired, and where repairs are recorded; None repairs no quote.
        support: how the evidence "supported" is confirmed; None for the default measure.

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
    vectors = Vectors(embed)
    drafts = _confirmed(drafts, support or Support(), vectors)
    _choose_nearest([draft for draft in drafts if isinstance(draft, _QuestionDraft)], vectors)
    return _each_once(drafts, len(raw_questions), repairs)


def _each_once(
    drafts: Sequence[_QuestionDraft | Rejected], total: int, repairs: Repairs | None
) -> tuple[list[Question], list[Rejected]]:
    """The drafts as questions, each wording once for each document, and the rejected ones."""
    questions: list[Question] = []
    rejected: list[Rejected] = []
    usable = [draft for draft in drafts if isinstance(draft, _QuestionDraft)]
    settled = settle([(draft.key, draft.raw) for draft in usable])
    numbers = count()
    cut = 0
    for draft in drafts:
        if isinstance(draft, Rejected):
            rejected.append(draft)
            continue
        if (number := next(numbers)) in settled.rejected:
            rejected.append(Rejected(draft.raw.question, *settled.rejected[number], draft.raw.source))
            continue
        questions.append(_question(draft, settled.more_answers.get(number, ())))
        cut += len(questions[-1].quotes) > max(1, len(draft.raw.quotes))
    if repairs:
        kept = {
            (draft.raw.question, draft.raw.source)
            for number, draft in enumerate(usable)
            if number not in settled.rejected
        }
        repairs.done = [item for item in repairs.done if (item.question, item.source) in kept]
        if fitted := sum(item.to_sentences for item in repairs.done):
            log.info("%d given quotes were not whole sentences, and became those that hold them", fitted)
    if rejected:
        log.warning("%d of %d questions are rejected: %s", len(rejected), total, describe_reasons(rejected))
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
    """A question that is tied to its document, with the proofs to choose from.

    Attributes:
        answer: the one to train on, of all right ones.
        candidates: at least one; each is one choice of proofs, all of one document.
        proofs: the chosen one.
    """

    raw: RawQuestion
    answer: str
    tied_by: TiedBy
    quote_source: QuoteSource
    candidates: list[Proofs]
    proofs: Proofs = ()

    @property
    def key(self) -> tuple[str, str]:
        """Wording and document; only one question may have a key."""
        return same_wording(self.raw.question), self.proofs[0].chunk.document_id

    @property
    def query(self) -> str:
        """What the proofs should be near to."""
        return self.raw.question if self.quote_source == "verbatim" else _retrieval_text(self.raw)


def _retrieval_text(raw: RawQuestion) -> str:
    return raw.question if is_abstention(raw.answer) else f"{raw.question} {raw.answer}"


def _retrieve(raw_questions: Sequence[RawQuestion], search: Search, depth: int) -> dict[str, Sequence[str]]:
    """Retrieval text -> chunk ids, best first, for the questions that name no document."""
    texts = list(dict.fromkeys(_retrieval_text(raw) for raw in raw_questions if raw.document is None and raw.answer))
    return dict(zip(texts, search(texts, depth), strict=True)) if texts else {}


def _draft(
    raw: RawQuestion, library: Library, hits: Sequence[str], settings: QuestionSettings, repairs: Repairs | None
) -> _QuestionDraft:
    if not raw.answer.strip():
        raise Unusable("no answer")
    tied_by: TiedBy = "retrieval" if raw.document is None else "given"
    found = [library.chunks[hit] for hit in hits]
    assert found or raw.document is not None, "the search returned no chunk"
    if raw.quotes:
        text = (
            document_with_quotes(raw, library, found, repairs)
            if raw.document is None
            else _named(raw.document, library)
        )
        proofs = proofs_of_quotes(raw, text, library, repairs)
        return _QuestionDraft(raw, raw.answer, tied_by, "given", [proofs])

    named = None if raw.document is None else _named(raw.document, library)
    near = found if named is None else named.chunks
    where = "what was retrieved" if named is None else named.document.path
    if is_abstention(raw.answer):
        candidates = nearest_chunks(raw.question, "", near[:1] if named is None else near, library)
        return _QuestionDraft(raw, raw.answer, tied_by, "none", _at_least_one(candidates, where))
    places = [(library.texts[chunk.document_id], chunk) for chunk in found] if named is None else [(named, None)]
    only_in_a_copy = False
    for answer in (raw.answer, *raw.other_answers):
        for text, chunk in places:
            stands, candidates = proofs_of_answer(raw.question, answer, text, library, chunk)
            if candidates:
                return _QuestionDraft(raw, answer, tied_by, "verbatim", candidates)
            only_in_a_copy = only_in_a_copy or stands
    if only_in_a_copy:
        raise Unusable(ONLY_IN_A_COPY, f"{raw.answer!r} in {where}")
    match settings.evidence:
        case "supported":
            candidates = nearest_sentences(raw.question, raw.answer, near, library)
            return _QuestionDraft(raw, raw.answer, tied_by, "supported", _at_least_one(candidates, where))
        case "none":
            candidates = nearest_chunks(raw.question, raw.answer, near[:1] if named is None else near, library)
            return _QuestionDraft(raw, raw.answer, tied_by, "none", _at_least_one(candidates, where))
        case _:
            raise Unusable("answer not in document", f"{where} does not hold {raw.answer!r}")


def _at_least_one(candidates: list[Proofs], where: str) -> list[Proofs]:
    if not candidates:
        raise Unusable("no sentence in document", where)
    return candidates


def _named(name: str, library: Library) -> DocumentText:
    texts = library.named(name)
    if not texts:
        raise Unusable("unknown document", f"no document has the path, file name, stem or title {name!r}")
    if len(texts) > 1:
        more = f" and {len(texts) - 5} more" if len(texts) > 5 else ""
        paths = ", ".join(text.document.path for text in texts[:5]) + more
        raise Unusable("ambiguous document", f"{name!r} names {len(texts)} documents: {paths}")
    return texts[0]


def _confirmed(
    drafts: Sequence[_QuestionDraft | Rejected], support: Support, vectors: Vectors
) -> list[_QuestionDraft | Rejected]:
    """The drafts; of those to be supported the candidates that are, and the others as rejected."""
    open_drafts = [one for one in drafts if isinstance(one, _QuestionDraft) and one.quote_source == "supported"]
    if support.least_cosine is not None:  # embeds them all in one call
        vectors.get([text for one in open_drafts for text in (one.answer, *map(wording, one.candidates))])
    result: list[_QuestionDraft | Rejected] = []
    for draft in drafts:
        if isinstance(draft, _QuestionDraft) and draft.quote_source == "supported":
            sentences = list(map(wording, draft.candidates))
            confirmed = support.confirmed(draft.raw.question, draft.answer, sentences, vectors.get)
            draft.candidates = [one for one, well in zip(draft.candidates, confirmed, strict=True) if well]
            if not draft.candidates:
                detail = f"the nearest of its sentences, {sentences[0]!r}, does not support {draft.answer!r}"
                result.append(Rejected(draft.raw.question, "answer not supported", detail, draft.raw.source))
                continue
        result.append(draft)
    return result


def _choose_nearest(drafts: Sequence[_QuestionDraft], vectors: Vectors) -> None:
    """Sets the proofs of the drafts: of several candidates the nearest to the question. Embeds all in one call."""
    several = [draft for draft in drafts if len(draft.candidates) > 1]
    vectors.get([text for draft in several for text in (draft.query, *map(wording, draft.candidates))])
    for draft in drafts:
        best = 0
        if len(draft.candidates) > 1:
            rows = vectors.get([draft.query, *map(wording, draft.candidates)])
            best = int(np.argmax(rows[1:] @ rows[0]))
        draft.proofs = draft.candidates[best]


def _question(draft: _QuestionDraft, more_answers: Sequence[str]) -> Question:
    raw = draft.raw
    # An unanswerable question is tied to a near chunk, and has no evidence.
    abstains = is_abstention(raw.answer)
    answers = (raw.answer, *raw.other_answers, *more_answers)
    parts = (raw.question, draft.answer, draft.proofs[0].chunk.document_path)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return Question(
        id=digest[:16],
        question=raw.question,
        answer=ABSTENTION if abstains else draft.answer,
        quotes=() if abstains else tuple(proof.quote for proof in draft.proofs if proof.quote),
        document_id=draft.proofs[0].chunk.document_id,
        oracle_ids=tuple(dict.fromkeys(proof.chunk.id for proof in draft.proofs)),
        quote_source=draft.quote_source,
        tied_by=draft.tied_by,
        reason=raw.reason,
        other_answers=tuple(answer for answer in answers if answer != draft.answer),
        extra=raw.extra,
    )
