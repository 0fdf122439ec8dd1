"""Compares a dataset with the previous one: documents and examples that are new, changed or gone.

An example is kept if the same question is asked in the same pass; those whose text changed are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from data.documents.documents import Document
from data.raft.alpaca import AlpacaRecord

_SHOWN = 10  # names in a row of the table; the JSON has all of them


@dataclass(frozen=True, slots=True)
class DatasetDiff:
    """The differences, each list sorted.

    Attributes:
        documents_added, documents_changed, documents_removed: paths.
        examples_new, examples_gone: ids of examples, prefixed with their split: "train/ab12-0".
        examples_rewritten: kept examples whose prompt or output changed.
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
            names = "" if isinstance(value, int) else ", ".join(_cell(item) for item in value[:_SHOWN])
            rest = "" if isinstance(value, int) or len(value) <= _SHOWN else f", and {len(value) - _SHOWN} more"
            rows.append(f"| {name.replace('_', ' ')} | {count:,} | {names}{rest} |")
        return "\n".join(["| against the last dataset | | |", "|---|---|---|", *rows]) + "\n"


def compare_datasets(
    documents: tuple[Sequence[Document], Sequence[Document]],
    examples: tuple[Mapping[str, Sequence[AlpacaRecord]], Mapping[str, Sequence[AlpacaRecord]]],
) -> DatasetDiff:
    """The differences between the first of each pair and the second.

    Args:
        documents: of the previous dataset, and of this one.
        examples: of both, by split.
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
    """The text that a model is trained on, without the ids of chunks, which any edit of their document changes."""
    return record.instruction, record.input, record.output


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))


def _cell(text: str) -> str:
    """A name as code in a Markdown table, without bars and backticks, which would end the cell or the code."""
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"
