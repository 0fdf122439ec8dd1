"""Assembles the RAFT dataset: examples of training and validation, general records, and a check for leaks.

questions by split, chunks --keep_apart--> chunks that a part may show --build_examples--> records, sequences
records --find_leaks--> a report; a leak is an error
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from data.documents.chunks import Chunk
from data.prompting.tokenizer import Tokenizer
from data.questions.questions import Question, Rejected
from data.questions.repeats import repeats_a_question
from data.raft.alpaca import AlpacaRecord, to_records
from data.raft.examples import build_examples
from data.raft.leaks import Copies, LeakReport, Limits, find_leaks, keep_apart
from data.raft.mixing import GeneralRecord, mix_in
from data.raft.sequences import TokenSequence, encode_records
from data.raft.settings import RaftSettings
from data.raft.sharing import sharing_counts
from data.retrieval.reranker import ScorePairs
from user_error import UserError

log = logging.getLogger(__name__)

_LEAKY_ORACLE = "oracle nearly repeats a chunk of a held-out document"
_LEAKY_QUESTION = "question nearly repeats a held-out one"


class Part(NamedTuple):
    """The examples of training or of validation as records and as tokens, and the report on their leaks."""

    records: list[AlpacaRecord]
    sequences: list[TokenSequence]
    rejected: list[Rejected]
    counts: dict[str, int]
    leaks: LeakReport


class Assembler:
    """Builds the parts of a dataset over the same chunks."""

    def __init__(
        self,
        chunks: Sequence[Chunk],
        vectors: np.ndarray,
        settings: RaftSettings,
        tokenizer: Tokenizer,
        embed: Callable[[Sequence[str]], np.ndarray],
        question_cosine: float,
        score: ScorePairs | None = None,
        copies: Copies | None = None,
        documents_apart: bool = True,
    ) -> None:
        """
        Args:
            vectors: of the chunks, normalized, float32 [N, D].
            embed: texts to normalized vectors, float32 [N, D] (`Embedder.embed`).
            question_cosine: least cosine of near-duplicate questions, as in the split.
            score: the cross-encoder of `guard_reranker`.
            copies: documents of the copies that were collapsed into each chunk.
            documents_apart: whether documents of held-out questions are held out too, and not the questions alone
                (split.by=question).
        """
        self.documents_apart = documents_apart
        self.chunks = chunks
        self.vectors = vectors
        self.settings = settings
        self.tokenizer = tokenizer
        self.embed = embed
        self.limits = Limits(question_cosine, settings.leak_cosine, settings.leak_words)
        self.score = score
        self.copies = copies or {}

    def build(
        self,
        name: str,
        questions: Sequence[Question],
        held_out: Sequence[Question],
        general: Sequence[GeneralRecord] = (),
    ) -> Part:
        """A part of the dataset, whose contexts show nothing of the held-out questions' documents.

        Args:
            general: records to mix in, as the share `mix_fraction`.

        Raises:
            UserError: no example can be built, or a record shows something that is held out.
        """
        settings, held_vectors = self.settings, self._question_vectors(held_out)
        held_documents = held_out if self.documents_apart else []
        allowed, kept_out = keep_apart(self.chunks, self.vectors, held_documents, self.limits, self.copies)
        own = [chunk for chunk, keep in zip(self.chunks, allowed, strict=True) if keep]
        usable, rejected = self._usable(questions, held_out, held_vectors, {leak.shown for leak in kept_out})
        vectors = self._question_vectors(usable)
        built = build_examples(usable, own, self.vectors[allowed], settings, self.tokenizer, self.score, vectors)
        records = to_records(built.examples, own)
        counts = built.counts
        if kept_out:
            counts["chunks kept out that nearly repeat held-out ones"] = len(kept_out)
        counts["questions"] += len(rejected)
        counts |= {f"rejected: {reason}": number for reason, number in Counter(r.reason for r in rejected).items()}
        texts = sorted({example.question for example in built.examples})
        if general:

            def repeats(prompts: Sequence[str]) -> list[bool]:
                cosine = self.limits.question_cosine
                pairs = [(prompt, ()) for prompt in prompts]
                return repeats_a_question(pairs, self.embed(prompts), held_out, held_vectors, cosine)

            mixed = mix_in(
                general,
                len(records),
                settings.mix_fraction,
                repeats=repeats,
                tokenizer=self.tokenizer,
                style=settings.prompt_format,
                max_tokens=settings.max_tokens,
                seed=settings.seed,
            )
            records += mixed.records
            counts |= mixed.counts
            texts += [record.prompt.message for record in mixed.records]
        leaks = find_leaks(
            name,
            {context_id for record in records for context_id in record.context_ids},
            texts,
            held_out,
            self.chunks,
            self.vectors,
            self.embed(texts),
            held_vectors,
            self.limits,
            kept_out,
            self.copies,
            answers={question.question: question.answers for question in usable},
            documents_apart=self.documents_apart,
        )
        _refuse(leaks)
        sequences = encode_records(records, self.tokenizer, settings.prompt_format)
        counts |= sharing_counts(records, sequences)
        return Part(records, sequences, [*rejected, *built.rejected], counts, leaks)

    def _question_vectors(self, questions: Sequence[Question]) -> np.ndarray:
        return self.embed([question.question for question in questions])

    def _usable(
        self, questions: Sequence[Question], held_out: Sequence[Question], held_vectors: np.ndarray, kept_out: set[str]
    ) -> tuple[list[Question], list[Rejected]]:
        """The questions that leak nothing, and the rejected ones that would."""
        pairs = [(question.question, question.answers) for question in questions]
        near = repeats_a_question(
            pairs, self._question_vectors(questions), held_out, held_vectors, self.limits.question_cosine
        )
        usable: list[Question] = []
        rejected: list[Rejected] = []
        for question, repeats in zip(questions, near, strict=True):
            reason = _LEAKY_QUESTION if repeats else _LEAKY_ORACLE if kept_out & set(question.oracle_ids) else None
            if reason is None:
                usable.append(question)
            else:
                rejected.append(Rejected(question.question, reason, "", f"question {question.id}"))
        if kept_out or rejected:
            log.warning(
                "kept out %d chunks that nearly repeat held-out ones, and %d questions",
                len(kept_out),
                len(rejected),
            )
        if questions and not usable:
            raise UserError(
                f"no example can be built: all {len(questions)} questions or their oracles nearly repeat held-out "
                f"ones: raise raft.leak_cosine above {self.settings.leak_cosine}, or choose another split.seed"
            )
        return usable, rejected


def _refuse(report: LeakReport) -> None:
    if report.leaks:
        first = report.leaks[0]
        raise UserError(
            f"{len(report.leaks)} leaks from held-out documents into {report.part}, the first a {first.kind}: "
            f"{first.shown!r} repeats the held-out {first.held_out!r} (cosine {first.cosine}); lower "
            "split.near_duplicate, or remove one of the two from the questions"
        )
