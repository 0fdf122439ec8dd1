"""RAFT examples: questions over contexts with their oracles or, for an exact share of the examples, without.

    questions, chunks, vectors --build_examples--> RaftExample per question and pass

Contexts come from `contexts.py`, wording from `prompts.py`. Questions that cannot be used are rejected with a reason.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

from data.documents.chunks import Chunk
from data.prompting.prompts import ABSTENTION, WITHOUT_QUOTE, Prompt, fold_space, holds_marker, raft_output, raft_prompt
from data.prompting.tokenizer import Tokenizer
from data.questions.questions import EVIDENCE, Question, Rejected, evidence_of
from data.raft.contexts import ContextGroup, form_groups, guarded_context, hidden_context
from data.raft.settings import RaftSettings
from data.raft.space import ChunkSpace, Rows
from data.retrieval.reranker import ScorePairs
from user_error import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RaftExample:
    """A question, its context, and the target answer.

    Attributes:
        id: "<question id>-<pass>".
        group_id: a digest of `context_ids`: examples with the same group_id share their prompt up to the question.
        context_ids: `Chunk.id` in prompt order, each once.
        oracle_ids: `Chunk.id` of the question's oracles.
        oracle_shown: whether all oracles are in the context; otherwise none is.
        answer: the abstention if the oracles are not shown and the policy is to abstain.
        quotes: each is in a chunk of the context, verbatim after white-space folding; empty if the oracles are not
            shown or nothing proves the answer (`Question.quotes`).
        reason: the words before the quotes, or None for a fixed phrase.
    """

    id: str
    group_id: str
    question_id: str
    context_ids: tuple[str, ...]
    oracle_ids: tuple[str, ...]
    oracle_shown: bool
    question: str
    answer: str
    quotes: tuple[str, ...]
    reason: str | None

    @property
    def output(self) -> str:
        """The target text."""
        return raft_output(self.answer, self.quotes, self.reason)


class RaftBuild(NamedTuple):
    """Examples, the questions without one (once for each pass), and counts for the card."""

    examples: list[RaftExample]
    rejected: list[Rejected]
    counts: dict[str, int]


def build_examples(
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    vectors: np.ndarray,
    settings: RaftSettings,
    tokenizer: Tokenizer,
    score: ScorePairs | None = None,
    question_vectors: np.ndarray | None = None,
) -> RaftBuild:
    """One example for each question and pass; examples that share a context are adjacent.

    Args:
        questions: of training documents.
        chunks: all chunks of the training documents, and no others.
        vectors: of the chunks, normalized, float32 [N, D].
        tokenizer: the base model's, for the token budget.
        score: the cross-encoder of `guard_reranker`, from `load_reranker`.
        question_vectors: of the questions, normalized, float32 [Q, D]; for the order "best_first".

    Raises:
        UserError: no example can be built (with the most frequent reason), or an oracle is not among the chunks.
    """
    return _Builder(questions, chunks, vectors, settings, tokenizer, score, question_vectors).build()


def shown_count(oracle_fraction: float, examples: int) -> int:
    """The number of examples that show their oracles: that share of them, halves rounded up."""
    # The decimal as written: 0.145 * 100 is 14.499999999999998 in binary floating point.
    return int(Fraction(str(oracle_fraction)) * examples + Fraction(1, 2))


@dataclass(frozen=True, slots=True)
class _Draft:
    """An example with its chunks as rows."""

    number: int  # of the pass
    question: Question
    rows: Rows
    oracle_shown: bool = True


class _Builder:
    def __init__(
        self,
        questions: Sequence[Question],
        chunks: Sequence[Chunk],
        vectors: np.ndarray,
        settings: RaftSettings,
        tokenizer: Tokenizer,
        score: ScorePairs | None,
        question_vectors: np.ndarray | None,
    ) -> None:
        assert len({question.id for question in questions}) == len(questions)
        assert len({chunk.id for chunk in chunks}) == len(chunks)
        self.questions = questions
        self.chunks = chunks
        self.settings = settings
        self.tokenizer = tokenizer
        self.space = ChunkSpace(
            chunks, vectors, settings.near_duplicate, settings.hardness, score, settings.guard_margin
        )
        self.question_vectors: dict[str, np.ndarray] = {}
        if settings.order == "best_first":
            assert question_vectors is not None and len(question_vectors) == len(questions)
            self.question_vectors = {
                question.id: vector for question, vector in zip(questions, question_vectors, strict=True)
            }
        self.rejected: list[Rejected] = []
        self.replaced = 0  # distractors that the guard refused
        self.shared = 0  # examples without their oracles over a near group's context

    def build(self) -> RaftBuild:
        questions = [question for question in self.questions if self._usable(question)]
        passes = [self._shown(questions, number) for number in range(self.settings.passes)]
        shown = self._within_budget([draft for drafts, _, _ in passes for draft in drafts])
        drafts = self._hide(shown, [(groups, centres) for _, groups, centres in passes])
        if not drafts:
            raise UserError(self._why_nothing())
        # Examples of one context are adjacent, in the order in which the contexts were formed.
        ranks: dict[Rows, int] = {}
        for draft in [*shown, *drafts]:
            ranks.setdefault(draft.rows, len(ranks))
        drafts.sort(key=lambda draft: ranks[draft.rows])
        examples = [self._example(draft) for draft in drafts]
        counts = self._count(drafts, examples)
        log.info("%s", ", ".join(f"{value} {name}" for name, value in counts.items()))
        return RaftBuild(examples, self.rejected, counts)

    def _usable(self, question: Question) -> bool:
        texts = [fold_space(self.chunks[row].text) for row in self.space.oracle_rows(question)]
        if len(texts) > self.settings.context_chunks:
            return self._reject(question, "more oracles than context_chunks", f"{len(texts)} oracles")
        for quote in question.quotes:
            if not any(fold_space(quote) in text for text in texts):
                return self._reject(question, "quote not in an oracle", repr(quote))
        if holds_marker(question.answer + "\n" + (question.reason or "") + "\n" + "\n".join(question.quotes)):
            return self._reject(question, "a marker of the output format in answer, quote or reason")
        return True

    def _reject(self, question: Question, reason: str, detail: str = "") -> Literal[False]:
        self.rejected.append(Rejected(question.question, reason, detail, f"question {question.id}"))
        return False

    def _shown(self, questions: Sequence[Question], number: int) -> tuple[list[_Draft], list[ContextGroup], np.ndarray]:
        """Every question over its own group's context, the groups of this pass and their mean vectors [G, D]."""
        rng = np.random.default_rng([self.settings.seed, number])
        groups = form_groups(
            self.space,
            questions,
            self.settings.context_chunks,
            rng,
            fewest_chunks=self.settings.fewest_chunks,
            questions_per_context=self.settings.questions_per_context,
        )
        drafts = []
        for group in groups:
            for index in group.questions:
                question = questions[index]
                rows, refused = guarded_context(self.space, question, group.rows)
                self.replaced += refused
                drafts.append(_Draft(number, question, self._ordered(question, rows)))
        centres = np.stack([self.space.mean(group.rows) for group in groups]) if groups else np.zeros((0, 0))
        return drafts, groups, centres

    def _ordered(self, question: Question, rows: Rows) -> Rows:
        """The chunks in the order of the settings: after the best one the group's order stays, and is shared."""
        if not self.question_vectors:
            return rows
        first = max(rows, key=lambda row: self.space.cosine(self.question_vectors[question.id], row))
        return (first, *(row for row in rows if row != first))

    def _within_budget(self, drafts: Sequence[_Draft]) -> list[_Draft]:
        lengths = self._lengths(drafts)
        kept = []
        for draft, length in zip(drafts, lengths, strict=True):
            fitting = draft if length <= self.settings.max_tokens else self._shorten(draft)
            if fitting is None:
                least = self._lengths([replace(draft, rows=self.space.oracle_rows(draft.question))])[0]
                self._reject(draft.question, "context over the budget", f"needs at least {least} tokens")
            else:
                kept.append(fitting)
        return kept

    def _shorten(self, draft: _Draft) -> _Draft | None:
        """The draft without its farthest distractors, as many as needed to fit; None if it never fits."""
        oracles = self.space.oracle_rows(draft.question)
        nearness = self.space.nearness(oracles)
        distractors = sorted(set(draft.rows) - set(oracles), key=lambda row: (nearness[row], row))
        keep_one = 0 if draft.oracle_shown else 1
        while len(distractors) > keep_one:
            farthest = distractors.pop(0)
            draft = replace(draft, rows=tuple(row for row in draft.rows if row != farthest))
            if self._lengths([draft])[0] <= self.settings.max_tokens:
                return draft
        return None

    def _hide(self, drafts: list[_Draft], passes: Sequence[tuple[Sequence[ContextGroup], np.ndarray]]) -> list[_Draft]:
        """The drafts with the oracles removed from a share of 1 - `oracle_fraction`, drawn by the seed.

        If too few have a context without their oracles, some of those that have none are rejected to keep the share.
        """
        rng = np.random.default_rng([self.settings.seed, self.settings.passes])
        result: list[_Draft | None] = list(drafts)
        wanted = len(drafts) - shown_count(self.settings.oracle_fraction, len(drafts))
        hidden = 0
        impossible: list[int] = []
        for index in rng.permutation(len(drafts)).tolist():
            if hidden == wanted:
                break
            without = self._without_oracles(drafts[index], *passes[drafts[index].number])
            if without is None:
                impossible.append(index)
            else:
                result[index] = without
                hidden += 1
        if hidden < wanted:
            total = len(drafts)
            while total - shown_count(self.settings.oracle_fraction, total) > hidden:
                total -= 1
                index = impossible.pop(0)
                self._reject(drafts[index].question, "no context without its oracles")
                result[index] = None
        return [draft for draft in result if draft is not None]

    def _without_oracles(self, draft: _Draft, groups: Sequence[ContextGroup], centres: np.ndarray) -> _Draft | None:
        if self.settings.questions_per_context is not None:  # one more question may exceed it
            groups, centres = (), centres[:0]
        rows, shared = hidden_context(self.space, draft.question, draft.rows, groups, centres)
        if not rows:
            return None
        hidden = replace(draft, rows=self._ordered(draft.question, rows), oracle_shown=False)
        if self._lengths([hidden])[0] > self.settings.max_tokens:
            shortened = self._shorten(hidden)
            if shortened is None:
                return None
            hidden, shared = shortened, False
        self.shared += shared
        return hidden

    def _lengths(self, drafts: Sequence[_Draft]) -> list[int]:
        """Number of tokens of each draft's prompt and target, as in training and generation."""
        examples = [self._example(draft) for draft in drafts]
        prompts = [self._prompt(draft) for draft in drafts]
        style = self.settings.prompt_format
        heads = self.tokenizer.encode_prompts(prompts, style)
        tails = self.tokenizer.encode_targets([example.output for example in examples], style)
        return [len(head) + len(tail) for head, tail in zip(heads, tails, strict=True)]

    def _prompt(self, draft: _Draft) -> Prompt:
        return raft_prompt([self.chunks[row] for row in draft.rows], draft.question.question)

    def _example(self, draft: _Draft) -> RaftExample:
        question, shown = draft.question, draft.oracle_shown
        context_ids = tuple(self.chunks[row].id for row in draft.rows)
        assert len(set(context_ids)) == len(context_ids)
        assert len(set(question.oracle_ids) & set(context_ids)) == (len(question.oracle_ids) if shown else 0)
        abstains = not shown and self.settings.no_oracle == "abstain"
        unquoted = WITHOUT_QUOTE if question.answerable and not question.quotes else None
        return RaftExample(
            id=f"{question.id}-{draft.number}",
            group_id=hashlib.sha256("\0".join(context_ids).encode()).hexdigest()[:16],
            question_id=question.id,
            context_ids=context_ids,
            oracle_ids=question.oracle_ids,
            oracle_shown=shown,
            question=question.question,
            answer=ABSTENTION if abstains else question.answer,
            quotes=question.quotes if shown else (),
            reason=(question.reason or unquoted) if shown else None,
        )

    def _count(self, drafts: Sequence[_Draft], examples: Sequence[RaftExample]) -> dict[str, int]:
        fewest = self.settings.fewest_chunks or self.settings.context_chunks
        counts = {
            "questions": len(self.questions),
            "examples": len(examples),
            "with their oracles": sum(example.oracle_shown for example in examples),
            "without their oracles": sum(not example.oracle_shown for example in examples),
            "without their oracles, over a near group": self.shared,
            **{f"evidence: {kind}": count for kind, count in self._evidence(drafts).items()},
            "contexts": len({example.group_id for example in examples}),
            "with fewer chunks": sum(len(draft.rows) < fewest for draft in drafts),
            "distractors replaced by the guard": self.replaced,
        }
        if self.settings.guard_reranker is not None:
            counts["chunks kept from a question by the re-ranker alone"] = self.space.refused_by_score
        reasons = Counter(f"rejected: {rejected.reason}" for rejected in self.rejected)
        return counts | dict(sorted(reasons.items()))

    def _evidence(self, drafts: Sequence[_Draft]) -> dict[str, int]:
        """How many of the examples that show their oracles have each kind of evidence, where any has."""
        found = Counter(evidence_of(draft.question) for draft in drafts if draft.oracle_shown)
        return {kind: found[kind] for kind in EVIDENCE if found[kind]}

    def _why_nothing(self) -> str:
        if not self.questions:
            return "no question to build examples from: give questions about the training documents"
        reason, count = Counter(rejected.reason for rejected in self.rejected).most_common(1)[0]
        first = next(rejected for rejected in self.rejected if rejected.reason == reason)
        advice = {
            "context over the budget": f"raise max_tokens above {self.settings.max_tokens} or make chunks shorter",
            "no context without its oracles": "raise oracle_fraction or add documents",
            "more oracles than context_chunks": f"raise context_chunks above {self.settings.context_chunks}",
        }.get(reason, "see the rejected questions")
        example = first.detail or repr(first.question)
        return f"no example can be built: {reason} for {count} questions ({example}): {advice}"
