"""The dataset as a product: every split in every format, its card and its report.

README.md, report.html
data/SPLIT.parquet, data/SPLIT.jsonl    the records
datasets/                               the same for datasets.load_from_disk
exports/FORMAT/SPLIT.jsonl              for other trainers (exports.py)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.alpaca import DATASETS_NAME, DOCUMENTS, AlpacaRecord, as_dataset, set_fingerprint
from data.chunks import Chunk
from data.exports import Exporter
from data.highlight import ShownExample, show_example
from data.jsonl import write_jsonl
from data.questions import Question
from data.raft_settings import RaftSettings
from data.report_page import SplitFacts
from data.sequences import TokenSequence

CARD_NAME, REPORT_NAME = "README.md", "report.html"
_EXAMPLES = 10


def for_test(settings: RaftSettings) -> RaftSettings:
    """The settings of the test split: each question once over a context with its oracles, and nothing mixed in."""
    changes = {"oracle_fraction": 1.0, "passes": 1, "mix_file": None, "mix_fraction": 0.0, "guard_reranker": None}
    return settings.model_copy(update=changes)


def write_package(folder: Path, splits: Mapping[str, Sequence[AlpacaRecord]], exporter: Exporter) -> None:
    """Writes the records of all splits in every format into an existing folder; same records, same bytes."""
    import datasets

    (folder / "data").mkdir()
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        tables = {name: as_dataset(records) for name, records in splits.items()}
        for name, records in splits.items():
            write_jsonl(folder / "data" / f"{name}.jsonl", records)
            tables[name].to_parquet(folder / "data" / f"{name}.parquet")
        datasets.DatasetDict(tables).save_to_disk(folder / DATASETS_NAME)
    finally:
        if not bars:
            datasets.enable_progress_bars()
    for name in splits:
        set_fingerprint(folder / DATASETS_NAME / name, (folder / "data" / f"{name}.jsonl").read_bytes())
    for form in exporter.formats:
        (folder / "exports" / form).mkdir(parents=True)
        for name, records in splits.items():
            _write_rows(folder / "exports" / form / f"{name}.jsonl", exporter.rows(form, records))


def split_facts(
    records: Sequence[AlpacaRecord],
    sequences: Sequence[TokenSequence],
    question_vectors: Mapping[str, np.ndarray],
    chunk_vectors: Mapping[str, np.ndarray],
) -> SplitFacts:
    """What the report shows of a split.

    Args:
        sequences: of the records, in their order.
        question_vectors, chunk_vectors: by id, normalized, float32 [D] each.
    """
    learnt = [int(sequence.loss_mask.sum()) for sequence in sequences]
    oracles: list[float] = []
    distractors: list[float] = []
    for record in records:
        for id in record.context_ids:
            cosine = float(question_vectors[record.question_id] @ chunk_vectors[id])
            (oracles if id in record.oracle_ids else distractors).append(cosine)
    return SplitFacts(
        examples=len(records),
        general=sum(record.source != DOCUMENTS for record in records),
        with_oracles=sum(record.oracle_shown for record in records),
        prompt_tokens=[len(s.tokens) - answer for s, answer in zip(sequences, learnt, strict=True)],
        answer_tokens=learnt,
        oracle_cosines=oracles,
        distractor_cosines=distractors,
    )


def examples_to_read(
    splits: Mapping[str, Sequence[AlpacaRecord]],
    chunks: Mapping[str, Chunk],
    questions: Mapping[str, Question],
    seed: int,
) -> list[ShownExample]:
    """Ten examples drawn by the seed from all splits, each split in turn, in the order of the splits."""
    random = np.random.default_rng(seed)
    waiting = {name: random.permutation(len(records)).tolist() for name, records in splits.items()}
    drawn: dict[str, list[int]] = {name: [] for name in splits}
    for _ in range(min(_EXAMPLES, sum(map(len, waiting.values())))):
        name = min((name for name in waiting if waiting[name]), key=lambda name: len(drawn[name]))
        drawn[name].append(waiting[name].pop())
    return [show_example(splits[name][place], chunks, questions) for name in splits for place in sorted(drawn[name])]


def _write_rows(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
