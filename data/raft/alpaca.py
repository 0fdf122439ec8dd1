"""Alpaca records: RAFT examples as text, with their provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.documents.chunks import Chunk
from data.files.jsonl import read_jsonl
from data.prompting.prompts import Prompt, closed_book_prompt, fold_space, raft_prompt
from data.questions.questions import Question
from data.raft.examples import RaftExample

RECORDS_NAME = "dataset.jsonl"
# Values of `AlpacaRecord.source`.
DOCUMENTS, GENERAL = "documents", "general"


@dataclass(frozen=True, slots=True)
class AlpacaRecord:
    """An example in Alpaca's three fields, with its provenance.

    Attributes:
        id: `RaftExample.id`.
        instruction, input, output: the task, the same for all; documents and question; the target.
        question_id, group_id, context_ids, oracle_ids, oracle_shown: as in `RaftExample`.
        source: "documents", or "general" for a general record that was mixed in and shows no documents.
    """

    id: str
    instruction: str
    input: str
    output: str
    question_id: str
    group_id: str
    context_ids: tuple[str, ...]
    oracle_ids: tuple[str, ...]
    oracle_shown: bool
    source: str = DOCUMENTS

    @property
    def prompt(self) -> Prompt:
        """The record without its output."""
        return Prompt(self.instruction, self.input)


def to_records(examples: Sequence[RaftExample], chunks: Sequence[Chunk]) -> list[AlpacaRecord]:
    """The examples as records, in their order."""
    by_id = {chunk.id: chunk for chunk in chunks}
    records = []
    for example in examples:
        prompt = raft_prompt([by_id[context_id] for context_id in example.context_ids], example.question)
        records.append(
            AlpacaRecord(
                id=example.id,
                instruction=prompt.instruction,
                input=prompt.input,
                output=example.output,
                question_id=example.question_id,
                group_id=example.group_id,
                context_ids=example.context_ids,
                oracle_ids=example.oracle_ids,
                oracle_shown=example.oracle_shown,
            )
        )
    return records


def plain_record(record: AlpacaRecord, questions: Mapping[str, Question]) -> AlpacaRecord:
    """The record without documents: the question as prompt, the answer as target. Returns general records unchanged.

    Args:
        questions: by `Question.id`.
    """
    if record.source == GENERAL:
        return record
    question = questions[record.question_id]
    prompt = closed_book_prompt(question.question)
    return replace(
        record,
        instruction=prompt.instruction,
        input=prompt.input,
        output=fold_space(question.answer),
        group_id=record.question_id,
        context_ids=(),
        oracle_shown=False,
    )


def read_records(folder: Path) -> list[AlpacaRecord]:
    """The records of a dataset folder.

    Raises:
        UserError: `dataset.jsonl` is missing or broken; names the line.
    """
    return read_jsonl(Path(folder) / RECORDS_NAME, AlpacaRecord)
