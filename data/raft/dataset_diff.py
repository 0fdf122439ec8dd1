"""What a new corpus changed: the documents and the examples of a dataset against those of the one before.

An example is kept when the same question is asked in the same pass; whether it reads as before is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from data.documents.documents import Document
from data.raft.alpaca import AlpacaRecord

_TOLD = 10  # names in a line of the table; all of them are in the JSON


@dataclass(frozen=True, slots=True)
class DatasetDiff:
    """The differences, each list sorted.

    Attributes:
        documents_added, documents_changed, documents_removed: paths.
        examples_new, examples_gone: ids of examples, each with its split before it: "train/ab12-0".
        examples_rewritten: those of the kept ones whose prompt or output differs.
    """

    documents_kept: int
    documents_added: tuple[str, ...]
    documents_changed: tuple[str, ...]
    documents_removed: tuple[str, ...]
    examples_kept: int
    examples_rewritten: tuple[str, ...]
    examples_new: tuple[str, ...]
    examples_gone: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """The number of each."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value if isinstance(value, int) else len(value) for name, value in values.items()}

    def as_json(self) -> dict[str, Any]:
        """The differences as plain JSON."""
        return asdict(self)

    def line(self) -> str:
        """All counts in one line, for the terminal."""
        n = self.counts
        return (
            f"documents: {n['documents_added']} added, {n['documents_changed']} changed, {n['documents_removed']} "
            f"removed, {n['documents_kept']} as before; examples: {n['examples_new']} new, {n['examples_gone']} gone, "
            f"{n['examples_kept']} kept ({n['examples_rewritten']} of them over another context)"
        )

    def table(self) -> str:
        """The differences as a Markdown table with the first names of each kind."""
        rows = []
        for name, count in self.counts.items():
            value = getattr(self, name)
            told = "" if isinstance(value, int) else ", ".join(_cell(item) for item in value[:_TOLD])
            rest = "" if isinstance(value, int) or len(value) <= _TOLD else f", and {len(value) - _TOLD} more"
            rows.append(f"| {name.replace('_', ' ')} | {count:,} | {told}{rest} |")
        return "\n".join(["| against the last dataset | | |", "|---|---|---|", *rows]) + "\n"


def compare_datasets(
    documents: tuple[Sequence[Document], Sequence[Document]],
    examples: tuple[Mapping[str, Sequence[AlpacaRecord]], Mapping[str, Sequence[AlpacaRecord]]],
) -> DatasetDiff:
    """What changed from the first of each pair to the second.

    Args:
        documents: those of the last dataset, and of this one.
        examples: the same, by split.
    """
    texts = [{document.path: document.text for document in side} for side in documents]
    records = [{f"{split}/{record.id}": record for split, part in side.items() for record in part} for side in examples]
    before, after = texts
    old, new = records
    kept_paths, kept_ids = before.keys() & after.keys(), old.keys() & new.keys()
    changed = {path for path in kept_paths if before[path] != after[path]}
    return DatasetDiff(
        documents_kept=len(kept_paths) - len(changed),
        documents_added=_sorted(after.keys() - before.keys()),
        documents_changed=_sorted(changed),
        documents_removed=_sorted(before.keys() - after.keys()),
        examples_kept=len(kept_ids),
        examples_rewritten=_sorted(id for id in kept_ids if _text(old[id]) != _text(new[id])),
        examples_new=_sorted(new.keys() - old.keys()),
        examples_gone=_sorted(old.keys() - new.keys()),
    )


def _text(record: AlpacaRecord) -> tuple[str, str, str]:
    """What a model reads and writes: the ids of chunks change with any edit of their document."""
    return record.instruction, record.input, record.output


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))


def _cell(text: str) -> str:
    """A name inside a Markdown table, where a bar or a backtick would end the cell or the code."""
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"
