"""Writes the dataset for release: all splits in all formats, with card and report.

README.md, report.html
data/SPLIT.parquet, data/SPLIT.jsonl    the records
datasets/                               the records for datasets.load_from_disk
exports/FORMAT/SPLIT.jsonl              for other trainers (exports.py)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.documents.chunks import Chunk
from data.files.jsonl import write_jsonl
from data.package.card import package_card
from data.package.exports import Exporter
from data.package.report_page import Filter, Report, SplitFacts, report_page
from data.prompting.tokenizer import Tokenizer
from data.questions.questions import Question
from data.raft.alpaca import DOCUMENTS, AlpacaRecord, read_records, to_records
from data.raft.dataset_folder import DATASETS_NAME, as_dataset, set_fingerprint
from data.raft.examples import build_examples
from data.raft.leaks import LEAKS_NAME
from data.raft.sequences import TokenSequence, encode_records, read_sequences
from data.raft.settings import RaftSettings
from data.report.highlight import ShownExample, show_example

_EXAMPLES = 10  # shown in the report
_REJECTED = "rejected: "


@dataclass(frozen=True, slots=True)
class PackagedSplit:
    """Records of a split, their sequences in the same order, counts, and its leak report.

    The test split has no leak report: the others must not leak it.
    """

    records: list[AlpacaRecord]
    sequences: list[TokenSequence]
    counts: dict[str, int]
    leaks: dict[str, Any] | None = None

    @property
    def built(self) -> Filter:
        """The building of examples as a filter: each question enters once for each pass."""
        removed = {name.removeprefix(_REJECTED): n for name, n in self.counts.items() if name.startswith(_REJECTED)}
        return Filter("examples built", self.counts["examples"] + sum(removed.values()), removed)


def read_splits(folder: Path) -> dict[str, PackagedSplit]:
    """The splits of a dataset folder: train, and validation if it exists."""
    folders = {"train": folder, "validation": folder / "validation"}
    return {
        name: PackagedSplit(
            read_records(path),
            read_sequences(path / "sequences"),
            _read_json(path / "counts.json"),
            _read_json(path / LEAKS_NAME),
        )
        for name, path in folders.items()
        if path.is_dir()
    }


def build_test(
    questions: Sequence[Question],
    chunks: Sequence[Chunk],
    vectors: np.ndarray,
    settings: RaftSettings,
    tokenizer: Tokenizer,
    question_vectors: np.ndarray,
) -> PackagedSplit:
    """The test split: each evaluation question once, with its oracles and distractors from all documents.

    Args:
        vectors, question_vectors: of the chunks and of the questions, normalized, float32 [N, D] and [Q, D].

    Raises:
        UserError: no question fits the token budget.
    """
    changes = {"oracle_fraction": 1.0, "passes": 1, "mix_file": None, "mix_fraction": 0.0, "guard_reranker": None}
    settings = settings.model_copy(update=changes)
    built = build_examples(questions, chunks, vectors, settings, tokenizer, question_vectors=question_vectors)
    records = to_records(built.examples, chunks)
    return PackagedSplit(records, encode_records(records, tokenizer, settings.prompt_format), built.counts)


class Package:
    """The dataset and what its release is made from.

    Args:
        splits: by name, in display order.
        chunks, vectors: all chunks, and their vectors, normalized, float32 [N, D].
        questions, question_vectors: of all splits, and their vectors, float32 [Q, D].
    """

    def __init__(
        self,
        splits: Mapping[str, PackagedSplit],
        chunks: Sequence[Chunk],
        vectors: np.ndarray,
        questions: Sequence[Question],
        question_vectors: np.ndarray,
        settings: RaftSettings,
    ) -> None:
        self.splits = splits
        self.chunks = {chunk.id: chunk for chunk in chunks}
        self.questions = {question.id: question for question in questions}
        self.settings = settings
        self._chunk_vectors = dict(zip(self.chunks, vectors, strict=True))
        self._question_vectors = dict(zip(self.questions, question_vectors, strict=True))

    def report(
        self,
        documents: Mapping[str, int],
        filters: Sequence[Filter],
        retriever: Sequence[Sequence[str]] = (),
        split_note: str = "",
    ) -> Report:
        """The content of the report.

        Args:
            documents: counts of the documents and their files (data/documents/accounts.py).
            filters: those of the questions, before examples were built.
            retriever: rows of the retriever's table, column names first.
            split_note: how the questions were split, in sentences.
        """
        leaks = [split.leaks for split in self.splits.values() if split.leaks is not None]
        training = self.splits["train"].counts
        return Report(
            totals={
                "documents": documents["documents"],
                "characters kept": documents["characters_kept"],
                "characters left out": documents["characters_left_out"],
                "chunks": len(self.chunks),
                "questions": len(self.questions),
                **{f"{name} examples": len(split.records) for name, split in self.splits.items()},
                "training tokens": training["tokens of all examples"],
                "tokens saved by sharing": training["tokens saved by sharing"],
                "leaks": sum(len(part["leaks"]) for part in leaks),
            },
            filters=[
                *filters,
                *(replace(split.built, name=f"{name}: examples built") for name, split in self.splits.items()),
            ],
            splits={name: self._facts(split) for name, split in self.splits.items()},
            examples=self._examples_to_read(),
            leaks=leaks,
            counts={
                "documents": {name.replace("_", " "): number for name, number in documents.items()},
                **{name: split.counts for name, split in self.splits.items()},
            },
            settings=self.settings.shown(),
            retriever=retriever,
            split_note=split_note,
        )

    def write(self, folder: Path, report: Report, documents_apart: bool = True) -> None:
        """Write all splits in all formats, the card and the report into an existing folder.

        The bytes depend on the package and the report only.
        """
        self._write_records(folder)
        exporter = Exporter(self.chunks, self.questions)
        for form in exporter.formats:
            (folder / "exports" / form).mkdir(parents=True)
            for name, split in self.splits.items():
                _write_rows(folder / "exports" / form / f"{name}.jsonl", exporter.rows(form, split.records))
        sizes = {name: len(split.records) for name, split in self.splits.items()}
        card = package_card(
            sizes, report.counts, report.settings, report.totals["leaks"], report.split_note, documents_apart
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
        (folder / "report.html").write_text(report_page(report), encoding="utf-8")

    def _write_records(self, folder: Path) -> None:
        import datasets

        (folder / "data").mkdir()
        bars = datasets.are_progress_bars_disabled()
        datasets.disable_progress_bars()
        try:
            tables = {name: as_dataset(split.records) for name, split in self.splits.items()}
            for name, split in self.splits.items():
                write_jsonl(folder / "data" / f"{name}.jsonl", split.records)
                tables[name].to_parquet(folder / "data" / f"{name}.parquet")
            datasets.DatasetDict(tables).save_to_disk(folder / DATASETS_NAME)
        finally:
            if not bars:
                datasets.enable_progress_bars()
        for name in self.splits:
            set_fingerprint(folder / DATASETS_NAME / name, (folder / "data" / f"{name}.jsonl").read_bytes())

    def _facts(self, split: PackagedSplit) -> SplitFacts:
        answer_tokens = [int(sequence.loss_mask.sum()) for sequence in split.sequences]
        oracles: list[float] = []
        distractors: list[float] = []
        for record in split.records:
            for id in record.context_ids:
                cosine = float(self._question_vectors[record.question_id] @ self._chunk_vectors[id])
                (oracles if id in record.oracle_ids else distractors).append(cosine)
        return SplitFacts(
            examples=len(split.records),
            general=sum(record.source != DOCUMENTS for record in split.records),
            with_oracles=sum(record.oracle_shown for record in split.records),
            prompt_tokens=[len(s.tokens) - answer for s, answer in zip(split.sequences, answer_tokens, strict=True)],
            answer_tokens=answer_tokens,
            oracle_cosines=oracles,
            distractor_cosines=distractors,
        )

    def _examples_to_read(self) -> list[ShownExample]:
        """Examples sampled by the seed, from the splits in turn; in the order of the splits."""
        random = np.random.default_rng(self.settings.seed)
        waiting = {name: random.permutation(len(split.records)).tolist() for name, split in self.splits.items()}
        drawn: dict[str, list[int]] = {name: [] for name in self.splits}
        for _ in range(min(_EXAMPLES, sum(map(len, waiting.values())))):
            name = min((name for name in waiting if waiting[name]), key=lambda name: len(drawn[name]))
            drawn[name].append(waiting[name].pop())
        return [
            show_example(self.splits[name].records[index], self.chunks, self.questions)
            for name in self.splits
            for index in sorted(drawn[name])
        ]


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _write_rows(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
