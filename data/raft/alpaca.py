"""Alpaca records: RAFT examples as text, on disk as JSON lines and as a folder of the library `datasets`.

A dataset folder holds

    dataset.jsonl  one record a line: datasets.load_dataset("json", data_files="dataset.jsonl")
    datasets/      the same for datasets.load_from_disk
    README.md      the card: counts, settings, how to load; it also makes the folder itself loadable
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from data.documents.chunks import Chunk
from data.files.jsonl import read_jsonl, write_jsonl
from data.prompting.prompts import Prompt, closed_book_prompt, fold_space, raft_prompt
from data.questions.questions import Question
from data.raft.examples import RaftExample
from data.raft.settings import RaftSettings

RECORDS_NAME = "dataset.jsonl"
DATASETS_NAME = "datasets"
CARD_NAME = "README.md"
# Where a record comes from.
DOCUMENTS, GENERAL = "documents", "general"


@dataclass(frozen=True, slots=True)
class AlpacaRecord:
    """An example in Alpaca's three fields, and where it comes from.

    Attributes:
        id: `RaftExample.id`.
        instruction, input, output: the task, which is the same for all; documents and question; what is to be written.
        question_id, group_id, context_ids, oracle_ids, oracle_shown: as in `RaftExample`.
        source: "documents", or "general" for a record that was mixed in and shows no documents.
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
    """The record's question without documents, with its answer alone; a general record stays as it is.

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


def write_dataset(
    folder: Path, records: Sequence[AlpacaRecord], settings: RaftSettings, counts: Mapping[str, int]
) -> None:
    """Writes the three parts of a dataset folder; same records, settings and counts, same bytes.

    Args:
        folder: an existing folder.
        counts: of `RaftBuild`, for the card.
    """
    folder = Path(folder)
    write_jsonl(folder / RECORDS_NAME, records)
    (folder / CARD_NAME).write_text(_card(records, settings, counts), encoding="utf-8")
    _write_datasets_folder(folder / DATASETS_NAME, records, (folder / RECORDS_NAME).read_bytes())


def read_records(folder: Path) -> list[AlpacaRecord]:
    """The records of a dataset folder.

    Raises:
        UserError: `dataset.jsonl` is missing or broken; names the line.
    """
    return read_jsonl(Path(folder) / RECORDS_NAME, AlpacaRecord)


def as_dataset(records: Sequence[AlpacaRecord]) -> Any:
    """The records as a `datasets.Dataset`."""
    import datasets

    text, texts = datasets.Value("string"), datasets.List(datasets.Value("string"))
    kinds = {"tuple[str, ...]": texts, "bool": datasets.Value("bool"), "str": text}
    features = datasets.Features({field.name: kinds[str(field.type)] for field in fields(AlpacaRecord)})
    columns = {field.name: [getattr(record, field.name) for record in records] for field in fields(AlpacaRecord)}
    return datasets.Dataset.from_dict(columns, features=features)


def set_fingerprint(folder: Path, jsonl: bytes) -> None:
    """Names a saved dataset by its records alone: the library's fingerprint holds its own version and history."""
    state_path = folder / "state.json"
    state = json.loads(state_path.read_text(encoding="utf-8"))
    state["_fingerprint"] = hashlib.sha256(jsonl).hexdigest()[:16]
    state_path.write_text(json.dumps(state, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _write_datasets_folder(folder: Path, records: Sequence[AlpacaRecord], jsonl: bytes) -> None:
    import datasets

    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        as_dataset(records).save_to_disk(folder)
    finally:
        if not bars:
            datasets.enable_progress_bars()
    set_fingerprint(folder, jsonl)


def _card(records: Sequence[AlpacaRecord], settings: RaftSettings, counts: Mapping[str, int]) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in counts.items())
    first = {name: value for name, value in asdict(records[0]).items() if name in ("instruction", "input", "output")}
    values = "\n".join(f"| `{name}` | `{value}` |" for name, value in settings.shown().items())
    return f"""---
configs:
- config_name: default
  data_files: {RECORDS_NAME}
---

# RAFT dataset

Questions over contexts of near chunks, for retrieval augmented fine-tuning (arXiv 2403.10131), as Alpaca records
(`instruction`, `input`, `output`) with their provenance. `oracle_shown` says whether the chunks that prove the answer
(`oracle_ids`) are in the context (`context_ids`, in the order in which they are shown); records with one `group_id`
share their context. `source` is "general" for records that were mixed in from a general set.

```python
from datasets import load_dataset, load_from_disk

records = load_dataset("json", data_files="{RECORDS_NAME}", split="train")
records = load_from_disk("{DATASETS_NAME}")  # the same
```

| count | |
|---|---|
{rows}

| setting | value |
|---|---|
{values}

The first record:

````json
{json.dumps(first, indent=2, ensure_ascii=False)}
````
"""
