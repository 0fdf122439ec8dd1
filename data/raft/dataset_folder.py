"""The folder of a RAFT dataset: its records as JSON lines and as a folder of the library `datasets`, and a card.

dataset.jsonl  one record a line: datasets.load_dataset("json", data_files="dataset.jsonl")
datasets/      the same for datasets.load_from_disk
README.md      the card: counts, settings, how to load; its header makes the folder itself loadable
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from data.files.jsonl import write_jsonl
from data.raft.alpaca import RECORDS_NAME, AlpacaRecord
from data.raft.settings import RaftSettings

DATASETS_NAME = "datasets"
CARD_NAME = "README.md"


def write_dataset(
    folder: Path, records: Sequence[AlpacaRecord], settings: RaftSettings, counts: Mapping[str, int]
) -> None:
    """Writes a dataset folder; the same records, settings and counts give the same bytes.

    Args:
        folder: an existing folder.
        counts: of `RaftBuild`, for the card.
    """
    folder = Path(folder)
    write_jsonl(folder / RECORDS_NAME, records)
    (folder / CARD_NAME).write_text(_card(records, settings, counts), encoding="utf-8")
    _write_datasets_folder(folder / DATASETS_NAME, records, (folder / RECORDS_NAME).read_bytes())


def as_dataset(records: Sequence[AlpacaRecord]) -> Any:
    """The records as a `datasets.Dataset`."""
    import datasets

    text, texts = datasets.Value("string"), datasets.List(datasets.Value("string"))
    kinds = {"tuple[str, ...]": texts, "bool": datasets.Value("bool"), "str": text}
    features = datasets.Features({field.name: kinds[str(field.type)] for field in fields(AlpacaRecord)})
    columns = {field.name: [getattr(record, field.name) for record in records] for field in fields(AlpacaRecord)}
    return datasets.Dataset.from_dict(columns, features=features)


def set_fingerprint(folder: Path, jsonl: bytes) -> None:
    """Replaces the fingerprint of a saved dataset, which depends on the library, by a digest of its records."""
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
