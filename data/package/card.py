"""The dataset's card: README.md with the front matter that huggingface.co and `datasets` read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Upper bounds of the sizes that huggingface.co knows.
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def package_card(
    splits: Mapping[str, int], counts: Mapping[str, Mapping[str, int]], settings: Mapping[str, Any], leaks: int
) -> str:
    """The card of a packaged dataset.

    Args:
        splits: number of examples of each split; its files are data/SPLIT.parquet and data/SPLIT.jsonl.
        counts: of each part, as counts.json has it.
        leaks: how many were found.
    """
    total = sum(splits.values())
    size = next((name for bound, name in _SIZES if total < bound), "n>1M")
    files = "\n".join(f"  - split: {name}\n    path: data/{name}.parquet" for name in splits)
    table = "\n".join(f"| {name} | {number:,} | {_SAYS[name]} |" for name, number in splits.items())
    told = "\n\n".join(
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

Questions over contexts of documents, with answers that quote them word for word, for retrieval augmented fine-tuning
(arXiv 2403.10131). Some contexts lack the chunk that proves the answer (`oracle_shown` is false).

| split | examples | |
|---|---|---|
{table}

The splits are by document. Leaks from held-out documents into training and validation (a chunk of theirs, a chunk that
nearly repeats one, a question that nearly repeats one of theirs): {leaks}. `report.html` shows it, with what was
removed and why, how long the examples are, how hard the distractors, and examples to read.

```python
from datasets import load_dataset, load_from_disk

splits = load_dataset("FOLDER_OF_THIS_FILE")  # or load_from_disk("datasets")
```

| field | |
|---|---|
| `instruction`, `input`, `output` | the task, the documents and the question, what is to be written (Alpaca) |
| `context_ids`, `oracle_ids` | the chunks in the order in which they are shown; those that prove the answer |
| `oracle_shown` | whether the oracles are among the chunks |
| `group_id` | records with one id share their context, and their prompt up to the question |
| `source` | `documents`, or `general` for a record that was mixed in |

| file | |
|---|---|
| `data/*.parquet`, `data/*.jsonl`, `datasets/` | the same records three times |
| `exports/gorilla-*` | the formats of gorilla's raft.py: hf, chat, completion, eval |
| `exports/messages`, `exports/sharegpt` | chats, for other trainers |

## Counts

{told}

## Settings

| setting | value |
|---|---|
{values}
"""


_SAYS = {
    "train": "to train on",
    "validation": "to watch the loss in training; documents of their own",
    "test": "to evaluate on; documents of their own, every context with its oracles and distractors from all documents",
}
