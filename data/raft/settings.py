"""Settings of the RAFT examples."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from data.prompting.prompts import PROMPT_DATE, PromptFormat, PromptStyle
from user_error import UserError


class RaftSettings(BaseModel):
    """How RAFT examples are made from questions and chunks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Not part of a cache key: the content of these files is an input of its own.
    NO_INPUT: ClassVar[frozenset[str]] = frozenset({"mix_file", "guard_reranker"})

    context_chunks: int = Field(default=5, ge=1, le=64, description="Chunks in a context, oracles included.")
    fewest_chunks: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Draw the size of each context between this and context_chunks (default: always context_chunks).",
    )
    hardness: tuple[int, int] | None = Field(
        default=None,
        description="First and last rank of distractors by nearness to the oracles, from 1: [1, 8] are the hardest, "
        "[20, 40] easier. Exact with questions_per_context=1; a shared context uses the ranks around its own chunks. "
        "Default: the nearest chunks that the guard allows.",
    )
    questions_per_context: int | None = Field(
        default=None,
        ge=1,
        description="Most questions that share a context; 1: each has its own, as in the paper, with distractors drawn "
        "among the near chunks. Default: all questions about its chunks share a context.",
    )
    order: Literal["shuffled", "best_first"] = Field(
        default="shuffled",
        description='Order of the chunks in a context: "shuffled", or "best_first": the chunk nearest to the question '
        "first, as in retrieval; fewer questions share a context then.",
    )
    oracle_fraction: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Exact share of the examples whose context holds their oracles (RAFT's P).",
    )
    no_oracle: Literal["abstain", "answer"] = Field(
        default="abstain",
        description='Answer of the other examples: "abstain" (not in the documents) or "answer" (from memory, as in '
        "the paper).",
    )
    passes: int = Field(default=1, ge=1, le=100, description="Number of contexts for each question.")
    near_duplicate: float = Field(
        default=0.95, gt=0, le=1, description="Chunks with a larger cosine to an oracle are never its distractors."
    )
    leak_cosine: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Never show chunks in training with at least this cosine to a chunk of a held-out document.",
    )
    leak_words: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Never show chunks in training that share at least this part of their runs of three words "
        "(Jaccard) with a chunk of a held-out document.",
    )
    guard_reranker: str | None = Field(
        default=None,
        min_length=1,
        description="Cross-encoder (directory or Hugging Face id) that refuses distractors which answer the question "
        "about as well as its oracles (default: none).",
    )
    guard_margin: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="With guard_reranker: refuse chunks whose score exceeds 1 - guard_margin of the oracles' lowest.",
    )
    mix_file: str | None = Field(
        default=None,
        min_length=1,
        description="File of general records in Alpaca format (.json or .jsonl) to mix into the training examples.",
    )
    mix_fraction: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the training examples that comes from mix_file."
    )
    prompt_style: PromptStyle = Field(
        default="chat", description='Prompt template: "chat" (the tokenizer\'s) or "alpaca" (Alpaca\'s).'
    )
    prompt_date: str = Field(
        default=PROMPT_DATE,
        description="Today's date, YYYY-MM-DD, for a chat template that writes one: the same on every day, in training "
        "and answering.",
    )
    max_tokens: int = Field(
        default=2048, ge=32, description="Most tokens of prompt and answer; distractors that do not fit are left out."
    )
    seed: int = Field(default=0, ge=0, description="Seed of groups, order and examples without oracles.")

    @field_validator("prompt_date", mode="before")
    @classmethod
    def _is_a_date(cls, value: Any) -> str:
        given = value.isoformat() if isinstance(value, date) else value  # YAML reads a date without quotes
        try:
            if date.fromisoformat(given).isoformat() == given:
                return str(given)
        except (ValueError, TypeError):
            pass
        raise UserError("give a date as YYYY-MM-DD, such as 2024-07-26")

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.fewest_chunks is not None and self.fewest_chunks > self.context_chunks:
            raise UserError(
                f"fewest_chunks={self.fewest_chunks} exceeds context_chunks={self.context_chunks}: lower fewest_chunks"
            )
        if self.hardness is not None:
            first, last = self.hardness
            if not 1 <= first <= last:
                raise UserError(f"hardness=[{first}, {last}] must be a first and a last rank, such as [1, 8]")
            if last - first + 1 < self.context_chunks - 1:
                raise UserError(
                    f"hardness=[{first}, {last}] leaves {last - first + 1} chunks, but a context of "
                    f"context_chunks={self.context_chunks} needs {self.context_chunks - 1} distractors: raise the last "
                    "rank"
                )
        if (self.mix_file is None) != (self.mix_fraction == 0):
            missing = "mix_file" if self.mix_file is None else "mix_fraction above 0"
            raise UserError(f"mix_file and mix_fraction go together: give {missing} too, or neither")
        return self

    @property
    def prompt_format(self) -> PromptFormat:
        """What stands around a prompt."""
        return PromptFormat(self.prompt_style, self.prompt_date)

    def shown(self) -> dict[str, Any]:
        """The settings as plain JSON, for cards and reports: files by their names, without directories."""
        values = self.model_dump(mode="json")
        return values | {name: Path(values[name]).name for name in self.NO_INPUT if values[name] is not None}
