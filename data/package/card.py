"""The dataset card: README.md with the front matter that huggingface.co and `datasets` read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Upper bound -> size category of huggingface.co.
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def package_card(
    splits: Mapping[str, int],
    counts: Mapping[str, Mapping[str, int]],
    settings: Mapping[str, Any],
    leaks: int,
    split_note: str = "",
    documents_apart: bool = True,
) -> str:
    """The Markdown of the dataset card.

    Args:
        splits: number of examples of each split; its files are data/SPLIT.parquet and data/SPLIT.jsonl.
        counts: split -> counts.json.
        leaks: number of leaks.
        split_note: how the questions were split, in sentences.
        documents_apart: whether no document is in two splits.
    """
    apart = "Documents are split, so that no document is in two splits." if documents_apart else "Questions are split."
    total = sum(splits.values())
    size = next((name for bound, name in _SIZES if total < bound), "n>1M")
    files = "\n".join(f"  - split: {name}\n    path: data/{name}.parquet" for name in splits)
    table = "\n".join(f"| {name} | {number:,} | {_PURPOSES[name]} |" for name, number in splits.items())
    count_tables = "\n\n".join(
        f"### {part}\n\n| count | |\n|---|---|\n"
        + "\n".join(f"| {name} | {number:,} |" for name, number in rows.items())
        for part, rows in counts.items()
    )
    values = "\n".join(f"| `{name}` | `{value}` |" for name, value in settings.items())
    return f"""---
task_categories:
- question-answering
- text-generation
tags:
- raft
- retrieval-augmented-generation
size_categories:
- {size}
configs:
- config_name: default
  data_files:
{files}
---

# RAFT dataset

Questions over contexts of documents, with answers that quote them verbatim, for retrieval augmented fine-tuning
(arXiv 2403.10131). Some contexts lack the chunk that proves the answer (`oracle_shown` is false).

| split | examples | |
|---|---|---|
{table}

{" ".join(filter(None, (apart, split_note)))}

Leaks of held-out documents into training and validation (their chunks, near-duplicates of these, near-duplicates of
their questions): {leaks}. `report.html` has the details, the removed items with reasons, lengths of examples, hardness
of distractors, and examples.

```python
from datasets import load_dataset, load_from_disk

splits = load_dataset("FOLDER_OF_THIS_FILE")  # or load_from_disk("datasets")
```

| field | |
|---|---|
| `instruction`, `input`, `output` | task, documents and question, target (Alpaca) |
| `context_ids`, `oracle_ids` | chunks of the prompt in order; chunks that prove the answer |
| `oracle_shown` | whether the context holds the oracles |
| `group_id` | records with the same id share their context, and their prompt up to the question |
| `source` | `documents`, or `general` for a mixed-in record |

| file | |
|---|---|
| `data/*.parquet`, `data/*.jsonl`, `datasets/` | the records in three formats |
| `exports/gorilla-*` | the formats of gorilla's raft.py: hf, chat, completion, eval |
| `exports/messages`, `exports/sharegpt` | chats, for other trainers |

## Counts

{count_tables}

## Settings

| setting | value |
|---|---|
{values}
"""


_PURPOSES = {
    "train": "training",
    "validation": "validation loss during training; other documents",
    "test": "evaluation; other documents, every context with its oracles and distractors from all documents",
}
