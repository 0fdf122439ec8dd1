"""Documents by every name that a person may use for them.

A name is looked up as it stands first: as a path, else a file name, a stem (the file name without its suffix), a title.
If no document has it, the same is tried without regard to case, Unicode form, typography, separators of paths, leading
folders, percent-encoding, and a suffix of a document's format that only one of the two has.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from urllib.parse import unquote

from data.documents.documents import Document
from data.documents.readers.registry import READERS

# Formats that a corpus was often converted from, besides those that are read.
_SUFFIXES = frozenset(READERS) | {".doc", ".ppt", ".xls", ".xlsx", ".rtf", ".odt", ".epub"}
_DASHES = re.compile("[\u2010-\u2015\u2212]")
_QUOTES = re.compile("[\u2018\u2019\u201a\u201b\u02bc\u00b4`]")
_DOUBLE_QUOTES = re.compile("[\u201c\u201d\u201e\u201f\u00ab\u00bb]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")

Table = dict[str, list[Document]]
_Name = Callable[[Document], str]


def _path(document: Document) -> str:
    return document.path


def _file_name(document: Document) -> str:
    return PurePosixPath(document.path).name


def _stem(document: Document) -> str:
    return PurePosixPath(document.path).stem


def _title(document: Document) -> str:
    return document.title


# The first of these that has a name decides.
_NAMES: tuple[_Name, ...] = (_path, _file_name, _stem, _title)


class DocumentNames:
    """The names of a corpus; builds its tables at the first look-up that needs them."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = documents

    def find(self, name: str) -> list[Document]:
        """The documents that a name means: none, one, or several, if it is ambiguous."""
        if documents := _first(self._exact, [name]):
            return documents
        folded = fold_name(name)
        if not folded:
            return []
        # A path may begin above the corpus ("docs/mill.md"), but the whole of a document's own path must stand in it:
        # "2023/report.md" is not the file of that name in another folder.
        for tables, key in ((self._folded, folded), (self._bare, without_suffix(folded))):
            parts = key.split("/")
            tails = ["/".join(parts[start:]) for start in range(len(parts))]
            if documents := _first(tables[:1], tails) or _first(tables[1:], [key]):
                return documents
        return []

    @cached_property
    def _exact(self) -> list[Table]:
        return [_table(self._documents, name) for name in _NAMES]

    @cached_property
    def _folded(self) -> list[Table]:
        return [_fold(table) for table in self._exact]

    @cached_property
    def _bare(self) -> list[Table]:
        return [_fold(table, without_suffix) for table in self._exact]


def fold_name(name: str) -> str:
    """A key that is equal for names that differ in case, Unicode form, typography, separators or encoding only."""
    name = unquote(name.removeprefix("file://"), errors="ignore") if "%" in name else name.removeprefix("file://")
    name = _INVISIBLE.sub("", unicodedata.normalize("NFKC", name))
    name = _DOUBLE_QUOTES.sub('"', _QUOTES.sub("'", _DASHES.sub("-", name)))
    name = unicodedata.normalize("NFKC", name.casefold()).replace("\\", "/")
    parts = (" ".join(part.replace("_", " ").split()) for part in name.split("/"))
    return "/".join(part for part in parts if part not in ("", "."))


def without_suffix(name: str) -> str:
    """The name without the suffix of a document's format, if it has one; "release 1.2" keeps its end."""
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in _SUFFIXES else name


def _table(documents: Iterable[Document], name: _Name) -> Table:
    groups: Table = {}
    for document in documents:
        groups.setdefault(name(document), []).append(document)
    return groups


def _fold(table: Table, form: Callable[[str], str] = str) -> Table:
    groups: Table = {}
    for name, documents in table.items():
        groups.setdefault(fold_name(form(name)), []).extend(documents)
    return groups


def _first(tables: Iterable[Table], names: Sequence[str]) -> list[Document]:
    return next((table[name] for name in names for table in tables if name in table), [])
