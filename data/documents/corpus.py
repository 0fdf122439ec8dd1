"""A corpus: every document of a folder, a file or a data set, and what could not be read, each with its reason.

Nothing ends a run but a corpus of which nothing can be read, or `strict`. A file is opened once it is known to be a
regular one of a bearable size inside the folder; links, devices, pipes and giants are listed, never opened.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data.documents.documents import Document, DocumentSettings, make_document
from data.documents.readers.child import ReadingChild, reason_of
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart
from data.documents.readers.memory import ReadingMemory
from data.documents.readers.registry import KINDS, READERS
from data.documents.readers.rows import is_dataset, read_dataset
from user_error import UserError

log = logging.getLogger(__name__)

_SHOWN = 10  # lines in the log; the artifact lists all
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_HALF_PAIRS = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Unread:
    """A file, or a row or page of one ("table.csv#12"), that is not among the documents, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was read.

    Attributes:
        documents: in the order of their paths; the rows of a file in theirs.
        unreadable: what is of a known kind and cannot be read, in the same order.
        skipped: files of other kinds.
        counts: what was done to texts, by name.
    """

    documents: tuple[Document, ...]
    unreadable: tuple[Unread, ...]
    skipped: tuple[Unread, ...]
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The files of a folder: those with a reader, those that cannot be opened, and those of other kinds."""

    files: tuple[Path, ...]
    unreadable: tuple[Unread, ...]
    skipped: tuple[Unread, ...]


def read_corpus(path: Path | str, settings: DocumentSettings, memory: ReadingMemory | None = None) -> Corpus:
    """Reads a folder of documents, one file, a folder of the library `datasets`, or a data set of the Hub by its id.

    Args:
        memory: of what files held when they were read before.

    Raises:
        UserError: nothing is there, nothing can be read (with the first reasons), or `strict` and something cannot.
    """
    path = Path(path)
    # A slip in the name of a folder that is nearly there must not go out to the network.
    hub = _HUB_ID.fullmatch(str(path)) and not path.parent.exists()
    if hub or is_dataset(path):
        items = [(path.name, item) for item in _dataset(path, settings)]
        listing = FolderListing((), (), ())
    elif path.is_dir():
        listing = list_folder(path, settings)
        items = list(_files([(_name(file, path), file) for file in listing.files], settings, memory))
    elif path.is_file():
        if path.suffix.lower() not in READERS:
            raise UserError(f"{path} is no kind of document that is read: give {KINDS}, or a folder of these")
        listing = FolderListing((path,), (), ())
        items = list(_files([(path.name, path)], settings, memory))
    else:
        raise UserError(f"no documents at {path}: name a folder, a file ({KINDS}) or a data set's id")
    corpus = _collect(items, listing, settings)
    _tell(corpus, path)
    if corpus.unreadable and settings.strict:
        raise UserError(f"{_reasons(corpus.unreadable)}; correct them, or leave documents.strict out to go on without")
    if not corpus.documents:
        others = f" ({len(corpus.skipped)} files of other kinds)" if corpus.skipped else ""
        reasons = f": {_reasons(corpus.unreadable)}" if corpus.unreadable else f": put {KINDS} files there"
        raise UserError(f"no document can be read from {path}{others}{reasons}")
    return corpus


def read_documents(folder: Path, settings: DocumentSettings | None = None) -> list[Document]:
    """The documents of `read_corpus`, alone."""
    return list(read_corpus(folder, settings or DocumentSettings()).documents)


def list_folder(folder: Path, settings: DocumentSettings) -> FolderListing:
    """Finds the files below a folder, sorted by path. Hidden files and folders are not looked at.

    A linked folder is entered once, so a link that leads back to its parent ends; a link out of the folder is followed
    only where the settings say so.

    Raises:
        UserError: the folder itself cannot be read.
    """
    root = folder.resolve()
    files: list[Path] = []
    unreadable: list[Unread] = []
    skipped: list[Unread] = []
    seen = {root}
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            # Sorted, since the first of two ways to a folder is the one that is taken.
            entries = sorted((e for e in os.scandir(current) if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            if current == folder:
                raise UserError(f"{folder} cannot be read ({error.strerror}): check its permissions") from None
            unreadable.append(Unread(_name(current, folder), f"a folder that cannot be read ({error.strerror})"))
            continue
        for entry in entries:
            path = Path(entry.path)
            if not entry.is_symlink() and entry.is_file() and path.suffix.lower() in READERS:
                files.append(path)  # as most are; the rest is looked at closely
                continue
            name = _name(path, folder)
            try:
                target = path.resolve(strict=True)
                is_folder = target.is_dir()
            except (OSError, RuntimeError):  # RuntimeError: a chain of links that ends where it began
                unreadable.append(Unread(name, "a link that leads nowhere or in a circle"))
                continue
            if path.is_symlink() and not settings.follow_links and not target.is_relative_to(root):
                unreadable.append(
                    Unread(name, "a link out of the folder: set documents.follow_links=true to follow it")
                )
            elif is_folder and target in seen:
                skipped.append(Unread(name, "a link to a folder that is read already"))
            elif is_folder:
                seen.add(target)
                waiting.append(path)
            elif path.suffix.lower() in READERS:
                files.append(path)
            else:
                skipped.append(Unread(name, f"no kind of document that is read ({path.suffix or 'no suffix'})"))
    return FolderListing(tuple(sorted(files, key=lambda path: path.parts)), _sorted(unreadable), _sorted(skipped))


def _files(
    files: Iterable[tuple[str, Path]], settings: DocumentSettings, memory: ReadingMemory | None
) -> Iterator[tuple[str, Extracted | UnreadPart]]:
    """(name, what is in the file) of each; a file that cannot be read is one fault without a part."""
    with ReadingChild() as child:
        for name, path in files:
            suffix = path.suffix.lower()
            try:
                raw = _bytes(path, settings.max_file_bytes)
                read = partial(child.read, suffix, raw, settings, partial(READERS[suffix], raw, settings))
                for item in memory.read(suffix, raw, settings, read) if memory else read():
                    yield name, item
            except Exception as error:  # of whatever library: one file never ends the reading of the others
                yield name, UnreadPart("", reason_of(error))


def _bytes(path: Path, limit: int) -> bytes:
    """The bytes of a regular file. A device, a pipe or a file that grows meanwhile is never read on and on."""
    try:
        # Without blocking: a pipe that nobody writes to would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable("no regular file (a pipe, socket or device)")
            raw = file.read(limit + 1) if status.st_size <= limit else b""
    except OSError as error:
        raise Unreadable(f"cannot be opened ({error.strerror}): check its permissions") from None
    if max(status.st_size, len(raw)) > limit:
        raise Unreadable(
            f"{status.st_size:,} bytes, over documents.max_file_bytes={limit:,}: raise it or split the file"
        )
    return raw


def _dataset(path: Path, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    try:
        yield from read_dataset(str(path), settings)
    except Unreadable as error:
        what = "" if path.exists() else "no such folder, and "
        yield UnreadPart("", f"{what}{error}")


def _collect(
    items: Iterable[tuple[str, Extracted | UnreadPart]], listing: FolderListing, settings: DocumentSettings
) -> Corpus:
    documents: list[Document] = []
    unreadable = list(listing.unreadable)
    counts: Counter[str] = Counter()
    shown = 0
    for name, item in items:
        path = f"{name}#{item.part}" if item.part else name
        if isinstance(item, UnreadPart):
            unreadable.append(Unread(path, item.reason))
            continue
        document = _document(path, item, settings, counts)
        if isinstance(document, Unread):
            unreadable.append(document)
            continue
        documents.append(document)
        counts.update(item.counts)
        for remark in item.remarks:
            shown += 1
            if shown <= _SHOWN:
                log.warning("%s: %s", _one_line(path), remark)
    if shown > _SHOWN:
        log.warning("%d more remarks of this kind", shown - _SHOWN)
    return Corpus(tuple(documents), _sorted(unreadable), listing.skipped, dict(counts))


def _document(path: str, item: Extracted, settings: DocumentSettings, counts: Counter[str]) -> Document | Unread:
    text, pages = item.text, item.pages
    if "\r" in text:
        # Pages begin at offsets, which stay.
        text = (text if pages else text.replace("\r\n", "\n")).replace("\r", "\n")
    if _HALF_PAIRS.search(text):
        counts["half_characters_replaced"] += len(_HALF_PAIRS.findall(text))
        text = _HALF_PAIRS.sub("\ufffd", text)
    if _HALF_PAIRS.search(path):
        return Unread(
            path.encode("utf-8", "backslashreplace").decode(), "a file name that is not UTF-8: rename the file"
        )
    if not text.strip():
        return Unread(path, "empty: write its text or remove it")
    if len(text) > settings.max_document_characters:
        return Unread(
            path,
            f"{len(text):,} characters, over documents.max_document_characters={settings.max_document_characters:,}: "
            "raise it or split the text",
        )
    title = _HALF_PAIRS.sub("\ufffd", item.title) if item.title else None
    return make_document(path, text, title, pages)


def _tell(corpus: Corpus, path: Path) -> None:
    for what, found in (("cannot be read", corpus.unreadable), ("are of other kinds and skipped", corpus.skipped)):
        if found:
            log.warning("%d files or parts of %s %s: %s", len(found), path, what, _some(found))


def _reasons(unreadable: Iterable[Unread]) -> str:
    listed = list(unreadable)
    return f"{len(listed)} files or parts cannot be read: {_some(listed)}"


def _some(found: Iterable[Unread]) -> str:
    listed = [f"{_one_line(item.path)} ({item.reason})" for item in found]
    return "; ".join(listed[:_SHOWN]) + (f"; and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "")


def _one_line(path: str) -> str:
    return path if path.isprintable() else repr(path)


def _name(path: Path, folder: Path) -> str:
    """The path below the folder; one that is no UTF-8 is told with its bytes escaped."""
    return path.relative_to(folder).as_posix()


def _sorted(found: Iterable[Unread]) -> tuple[Unread, ...]:
    return tuple(
        sorted(
            (Unread(_HALF_PAIRS.sub("\ufffd", item.path), item.reason) for item in found), key=lambda item: item.path
        )
    )
