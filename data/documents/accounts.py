"""The account of a corpus: for each file what was read of it, what was left out, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from data.documents.readers.extracted import Extracted

# unreadable: nothing of it was read. partly read: some of its rows or pages were not. empty: it holds no text.
# skipped: it is of an unsupported type.
State = Literal["unreadable", "partly read", "empty", "skipped", "read"]
STATES: tuple[State, ...] = get_args(State)

FILES_NAME = "files.jsonl"  # in the documents artifact
#: The reason for a text that holds nothing but white space, and for a file without rows.
EMPTY = "empty: write its text or remove it"
_SHOWN = 3  # parts that the reason of a partly read file names; unreadable.jsonl has all
_REMARKS = 20  # of one file


@dataclass(frozen=True, slots=True)
class FileAccount:
    """One file of a corpus, or a data set.

    Attributes:
        path: relative to the folder that was read.
        documents: the documents that came of it: one, or one for each row.
        kept: the characters of their texts.
        left_out: what was left out on purpose -> number of its characters.
        changes: changes to its texts -> how often.
        remarks: guesses and other facts that a person should know.
        reason: why it, or parts of it, were not read; empty if all was read.
        unread_parts: its rows or pages that were not read.
    """

    path: str
    state: State
    documents: int = 0
    kept: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    changes: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    reason: str = ""
    unread_parts: int = 0

    @property
    def left_out_characters(self) -> int:
        """The characters that were left out on purpose, of all kinds."""
        return sum(self.left_out.values())


class FileEntry:
    """Collects what becomes of one file while it is read."""

    def __init__(self) -> None:
        self._documents = self._kept = self._unread = self._empty = 0
        self._left_out: Counter[str] = Counter()
        self._changes: Counter[str] = Counter()
        self._remarks: dict[str, None] = {}
        self._reasons: list[str] = []

    def add_text(self, item: Extracted, characters: int, changes: Mapping[str, int]) -> None:
        """Adds a document of the file: its number of characters, and the changes to its text."""
        self._documents += 1
        self._kept += characters
        self._changes.update(changes)
        self._add(item)

    def add_unread(self, part: str, reason: str, item: Extracted | None = None) -> None:
        """The file, or a part of it, was not read; `item` is its text if that was refused, as an empty one is."""
        self._unread += 1
        self._empty += reason == EMPTY
        if len(self._reasons) < _SHOWN:
            self._reasons.append(f"#{part}: {reason}" if part else reason)
        if item is not None:
            self._add(item)

    def _add(self, item: Extracted) -> None:
        self._left_out.update(item.left_out)
        self._remarks.update(dict.fromkeys(item.remarks))

    def account(self, path: str) -> FileAccount:
        """The finished account."""
        more = self._unread - len(self._reasons)
        remarks = tuple(self._remarks)
        if len(remarks) > _REMARKS:
            remarks = (*remarks[:_REMARKS], f"{len(remarks) - _REMARKS} more remarks")
        return FileAccount(
            path,
            self._state(),
            self._documents,
            self._kept,
            dict(sorted(self._left_out.items())),
            dict(sorted(self._changes.items())),
            remarks,
            "; ".join([*self._reasons, *([f"and {more:,} more"] if more else [])]),
            # A file that is not read at all has no parts.
            self._unread if self._documents else 0,
        )

    def _state(self) -> State:
        if self._documents:
            return "partly read" if self._unread else "read"
        return "empty" if self._empty == self._unread else "unreadable"


def count_files(files: Iterable[FileAccount]) -> dict[str, int]:
    """Counts of the documents artifact: files by state, and characters kept and left out."""
    files = list(files)
    states = Counter(file.state for file in files)
    counts = {
        "files": len(files),
        "partly_read_files": states["partly read"],
        "empty_files": states["empty"],
        "unreadable_files": states["unreadable"],
        "skipped_files": states["skipped"],
        "characters_kept": sum(file.kept for file in files),
        "characters_left_out": sum(file.left_out_characters for file in files),
    }
    always = ("files", "skipped_files", "characters_kept", "characters_left_out")
    return {name: number for name, number in counts.items() if number or name in always}
