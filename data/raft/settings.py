"""How RAFT examples are made: the settings of `raft.py` and of what it uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data.prompting.prompts import PromptStyle
from user_error import UserError


class RaftSettings(BaseModel):
    """How RAFT examples are made from questions and chunks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Their content is an input of its own, wherever the file lies.
    NO_INPUT: ClassVar[frozenset[str]] = frozenset({"mix_file", "guard_reranker"})

    context_chunks: int = Field(default=5, ge=1, le=64, description="Chunks in a context, oracles included.")
    fewest_chunks: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Draw the size of each context from this to context_chunks; by default all have context_chunks.",
    )
    hardness: tuple[int, int] | None = Field(
        default=None,
        description="The first and the last rank, from 1, of the chunks near the oracles that distractors are taken "
        "from: [1, 8] are the hardest, [20, 40] easier. Exact with questions_per_context=1; a shared context is filled "
        "by the ranks around its own chunks. By default the nearest that the guard allows.",
    )
    questions_per_context: int | None = Field(
        default=None,
        ge=1,
        description="The most questions that share one context; 1 gives each its own, as in the paper, with "
        "distractors drawn among the near chunks. By default all questions of its chunks share a context.",
    )
    order: Literal["shuffled", "best_first"] = Field(
        default="shuffled",
        description='How the chunks of a context stand: "shuffled", or "best_first": the one nearest to the question '
        "before the others, as retrieval shows them. Fewer questions share a context then.",
    )
    oracle_fraction: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Share of the examples whose context holds their oracles (RAFT's P), exact.",
    )
    no_oracle: Literal["abstain", "answer"] = Field(
        default="abstain",
        description='What the other examples answer: "abstain" (the documents do not say) or "answer" (from memory, as '
        "in the paper).",
    )
    passes: int = Field(default=1, ge=1, le=100, description="How many contexts each question is asked over.")
    near_duplicate: float = Field(
        default=0.95, gt=0, le=1, description="A chunk with a larger cosine to an oracle is never its distractor."
    )
    leak_cosine: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="A chunk with at least this cosine to a chunk of a held-out document is never shown in training.",
    )
    leak_words: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Nor is one that shares at least this part of its runs of three words (Jaccard) with such a chunk.",
    )
    guard_reranker: str | None = Field(
        default=None,
        min_length=1,
        description="A cross-encoder (folder or Hugging Face id) that keeps a chunk from a question which it answers "
        "about as well as its oracles; none by default.",
    )
    guard_margin: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="With guard_reranker: a chunk is no distractor when its score is above 1 - guard_margin of the "
        "oracles' lowest.",
    )
    mix_file: str | None = Field(
        default=None,
        min_length=1,
        description="General records in Alpaca format (.json or .jsonl) that are mixed into the training examples.",
    )
    mix_fraction: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the training examples that come from mix_file."
    )
    prompt_style: PromptStyle = Field(
        default="chat", description='"chat" (the tokenizer\'s chat template) or "alpaca" (Alpaca\'s template).'
    )
    max_tokens: int = Field(
        default=2048, ge=32, description="Tokens of prompt and answer; distractors that do not fit are left out."
    )
    seed: int = Field(default=0, ge=0, description="Draws the groups, the order of chunks and who lacks its oracle.")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.fewest_chunks is not None and self.fewest_chunks > self.context_chunks:
            raise UserError(
                f"fewest_chunks={self.fewest_chunks} exceeds context_chunks={self.context_chunks}: lower it"
            )
        if self.hardness is not None:
            first, last = self.hardness
            if not 1 <= first <= last:
                raise UserError(f"hardness=[{first}, {last}] is no first and last rank: give such as [1, 8]")
            if last - first + 1 < self.context_chunks - 1:
                raise UserError(
                    f"hardness=[{first}, {last}] leaves {last - first + 1} chunks, and a context of "
                    f"context_chunks={self.context_chunks} wants {self.context_chunks - 1} distractors: raise its last "
                    "rank"
                )
        if (self.mix_file is None) != (self.mix_fraction == 0):
            missing = "mix_file" if self.mix_file is None else "mix_fraction above 0"
            raise UserError(f"mix_file and mix_fraction go together: give {missing} too, or neither")
        return self

    def shown(self) -> dict[str, Any]:
        """The settings as plain JSON, for cards and reports: files by their names, wherever they lie."""
        values = self.model_dump(mode="json")
        return values | {name: Path(values[name]).name for name in self.NO_INPUT if values[name] is not None}
