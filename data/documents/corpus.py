"""A corpus: the documents of a folder, a file or a data set, and an account of every file, with what was not read.

A run fails only if nothing can be read, or with `strict`. Only regular files below the size limit and inside the folder
are opened; links out of it, devices, pipes and larger files are listed.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data.documents.accounts import EMPTY, FileAccount, FileEntry
from data.documents.documents import Document, DocumentSettings, make_document
from data.documents.readers.child import ReadingChild, reason_of
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart
from data.documents.readers.memory import ReadingMemory
from data.documents.readers.registry import KINDS, READERS
from data.documents.readers.rows import is_dataset, read_dataset
from user_error import UserError

log = logging.getLogger(__name__)

_SHOWN = 10  # entries in a log line; the artifact lists all
_HUB_ID = re.compile(r"(?P<owner>[\w-][\w.-]*)/(?P<name>[\w-][\w.-]*)(@[\w./-]+)?")
_HALF_PAIRS = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Unread:
    """A file, or a row or page of one ("table.csv#12"), that was not read, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """The documents of a corpus and what was left out.

    Attributes:
        documents: in the order of their paths; the rows of a file in theirs.
        unreadable: files of supported types, and parts of them, that cannot be read, in the same order.
        skipped: files of other types.
        counts: changes to texts, by name.
        files: an account of each file, also of those that were not read, sorted by path.
    """

    documents: tuple[Document, ...]
    unreadable: tuple[Unread, ...]
    skipped: tuple[Unread, ...]
    counts: dict[str, int]
    files: tuple[FileAccount, ...]


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The files of a folder: supported ones, those that cannot be opened, and those of other types."""

    files: tuple[Path, ...]
    unreadable: tuple[Unread, ...]
    skipped: tuple[Unread, ...]


def read_corpus(
    path: Path | str,
    settings: DocumentSettings,
    memory: ReadingMemory | None = None,
    complete_list: str = "",
    other_inputs: Sequence[Path] = (),
) -> Corpus:
    """Reads a folder of documents, one file, a folder of the library `datasets`, or a data set of the Hub by its id.

    An id is OWNER/NAME, with @REVISION (a commit, a tag or a branch) if wanted; the revision is no part of the paths of
    the documents.

    Args:
        memory: a cache of earlier readings.
        complete_list: where a person finds the account of all files, for the log lines, which name the first ones.
        other_inputs: files of a run that are no documents, wherever they lie: its questions would be read with their
            answers.

    Raises:
        UserError: the path does not exist, nothing can be read (with the first reasons), or with `strict` something
            cannot be read.
        Unreachable: a data set of the Hub cannot be fetched at the moment.
    """
    path = Path(path)
    hub = _HUB_ID.fullmatch(str(path))
    # A misspelt folder name must not cause a request to the Hub.
    if hub is not None and (path.exists() or Path(hub["owner"]).exists()):
        hub = None
    if hub is not None or is_dataset(path):
        name = path.name if hub is None else hub["name"]
        items = [(name, item) for item in _dataset(path, settings)]
        listing = FolderListing((), (), ())
    elif path.is_dir():
        listing = _without(list_folder(path, settings), path, other_inputs)
        items = list(_files([(_name(file, path), file) for file in listing.files], settings, memory))
    elif path.is_file():
        if path.suffix.lower() not in READERS:
            raise UserError(f"Unsupported file type: {path}. Supported: {KINDS}, or a folder of these")
        listing = FolderListing((path,), (), ())
        items = list(_files([(path.name, path)], settings, memory))
    else:
        raise UserError(f"no documents at {path}: give a folder, a file ({KINDS}) or the id of a data set")
    corpus = _collect(items, listing, settings)
    _log_left_out(corpus, path, complete_list)
    if corpus.unreadable and settings.strict:
        raise UserError(f"{_reasons(corpus.unreadable)}; correct them, or unset documents.strict to skip them")
    if not corpus.documents:
        others = f" ({len(corpus.skipped)} files of unsupported types)" if corpus.skipped else ""
        reasons = f": {_reasons(corpus.unreadable)}" if corpus.unreadable else f": add {KINDS} files"
        raise UserError(f"no document can be read from {path}{others}{reasons}")
    return corpus


def read_documents(folder: Path, settings: DocumentSettings | None = None) -> list[Document]:
    """The documents that `read_corpus` returns."""
    return list(read_corpus(folder, settings or DocumentSettings()).documents)


def list_folder(folder: Path, settings: DocumentSettings) -> FolderListing:
    """Lists the files below a folder, sorted by path, without hidden files and folders.

    A linked folder is entered once, so link cycles end. A link out of the folder is followed only with `follow_links`.

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
            # Sorted: of two paths to the same folder the first is used.
            entries = sorted((e for e in os.scandir(current) if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            if current == folder:
                raise UserError(f"{folder} cannot be read ({error.strerror}): check its permissions") from None
            unreadable.append(Unread(_name(current, folder), f"folder cannot be read ({error.strerror})"))
            continue
        for entry in entries:
            path = Path(entry.path)
            if not entry.is_symlink() and entry.is_file() and path.suffix.lower() in READERS:
                files.append(path)  # the common case, without further system calls
                continue
            name = _name(path, folder)
            try:
                target = path.resolve(strict=True)
                is_folder = target.is_dir()
            except (OSError, RuntimeError):  # RuntimeError: a cycle of links
                unreadable.append(Unread(name, "broken or cyclic link"))
                continue
            if path.is_symlink() and not settings.follow_links and not target.is_relative_to(root):
                unreadable.append(Unread(name, "link out of the folder: set documents.follow_links=true to follow it"))
            elif is_folder and target in seen:
                skipped.append(Unread(name, "link to a folder that was read already"))
            elif is_folder:
                seen.add(target)
                waiting.append(path)
            elif path.suffix.lower() in READERS:
                files.append(path)
            else:
                skipped.append(Unread(name, f"unsupported file type ({path.suffix or 'no suffix'})"))
    return FolderListing(tuple(sorted(files, key=lambda path: path.parts)), _sorted(unreadable), _sorted(skipped))


def _without(listing: FolderListing, folder: Path, others: Sequence[Path]) -> FolderListing:
    """The listing with other inputs of the run among the skipped files."""
    resolved = {other.resolve() for other in others if other.exists()}
    inputs = {file for file in listing.files if resolved and file.resolve() in resolved}
    if not inputs:
        return listing
    skipped = [
        Unread(_name(file, folder), "no document: an input of the run, such as its questions") for file in inputs
    ]
    files = tuple(file for file in listing.files if file not in inputs)
    return FolderListing(files, listing.unreadable, _sorted([*listing.skipped, *skipped]))


def _files(
    files: Iterable[tuple[str, Path]], settings: DocumentSettings, memory: ReadingMemory | None
) -> Iterator[tuple[str, Extracted | UnreadPart]]:
    """Yields (name, item) for the items of each file; for an unreadable file one `UnreadPart` without a part."""
    with ReadingChild() as child:
        for name, path in files:
            suffix = path.suffix.lower()
            try:
                raw = _bytes(path, settings.max_file_bytes)
                read = partial(child.read, suffix, raw, settings, partial(READERS[suffix], raw, settings))
                items = memory.read(suffix, raw, settings, read) if memory else read()
                # A file of no rows is listed, like one of no text.
                for item in items or [UnreadPart("", EMPTY)]:
                    yield name, item
            except Exception as error:  # of any library: one file never stops the reading of the others
                yield name, UnreadPart("", reason_of(error))


def _bytes(path: Path, limit: int) -> bytes:
    """The bytes of a regular file, at most `limit`: a device, a pipe or a growing file is not read endlessly."""
    try:
        # Non-blocking: opening a pipe without a writer would wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable("not a regular file (a pipe, socket or device)")
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
    entries: dict[str, FileEntry] = {}
    for name, item in items:
        entry = entries.setdefault(_listed(name), FileEntry())
        path = f"{name}#{item.part}" if item.part else name
        if isinstance(item, UnreadPart):
            unreadable.append(Unread(path, item.reason))
            entry.add_unread(item.part, item.reason)
            continue
        changes = Counter(item.counts)
        document = _document(path, item, settings, changes)
        if isinstance(document, Unread):
            unreadable.append(document)
            entry.add_unread(item.part, document.reason, item)
            continue
        documents.append(document)
        counts.update(changes)
        entry.add_text(item, len(document.text), changes)
    files = [entry.account(path) for path, entry in entries.items()]
    files += [FileAccount(_listed(item.path), "unreadable", reason=item.reason) for item in listing.unreadable]
    files += [FileAccount(_listed(item.path), "skipped", reason=item.reason) for item in listing.skipped]
    return Corpus(
        tuple(documents),
        _sorted(unreadable),
        listing.skipped,
        dict(counts),
        tuple(sorted(files, key=lambda file: file.path)),
    )


def _document(path: str, item: Extracted, settings: DocumentSettings, changes: Counter[str]) -> Document | Unread:
    """The document of a text, or why there is none; counts changes to the text in `changes`."""
    text, pages = item.text, item.pages
    if "\r" in text:
        # With pages the length is kept, since they begin at offsets.
        text = (text if pages else text.replace("\r\n", "\n")).replace("\r", "\n")
    if _HALF_PAIRS.search(text):
        changes["half_characters_replaced"] += len(_HALF_PAIRS.findall(text))
        text = _HALF_PAIRS.sub("\ufffd", text)
    if _HALF_PAIRS.search(path):
        return Unread(_listed(path), "file name is not UTF-8: rename the file")
    if not text.strip():
        return Unread(path, EMPTY)
    if len(text) > settings.max_document_characters:
        return Unread(
            path,
            f"{len(text):,} characters, over documents.max_document_characters={settings.max_document_characters:,}: "
            "raise it or split the text",
        )
    title = _HALF_PAIRS.sub("\ufffd", item.title) if item.title else None
    return make_document(path, text, title, pages)


def _log_left_out(corpus: Corpus, path: Path, complete_list: str) -> None:
    where = f"; all files: {complete_list}" if complete_list else ""
    for what, left_out in (
        ("cannot be read", corpus.unreadable),
        ("have unsupported types", corpus.skipped),
    ):
        if left_out:
            log.warning("%d files or parts of %s %s: %s%s", len(left_out), path, what, _some(left_out), where)
    remarks = [f"{_one_line(file.path)}: {remark}" for file in corpus.files for remark in file.remarks]
    for line in remarks[:_SHOWN]:
        log.warning("%s", line)
    if len(remarks) > _SHOWN:
        log.warning("%d more remarks of this kind%s", len(remarks) - _SHOWN, where)
    kinds: Counter[str] = Counter()
    for file in corpus.files:
        kinds.update(file.left_out)
    if kinds.total():
        listed = ", ".join(f"{kind} {number:,}" for kind, number in kinds.most_common())
        kept = sum(file.kept for file in corpus.files)
        log.warning("%s characters were kept, and left out: %s%s", f"{kept:,}", listed, where)


def _reasons(unreadable: Iterable[Unread]) -> str:
    listed = list(unreadable)
    return f"{len(listed)} files or parts cannot be read: {_some(listed)}"


def _some(left_out: Iterable[Unread]) -> str:
    listed = [f"{_one_line(item.path)} ({item.reason})" for item in left_out]
    return "; ".join(listed[:_SHOWN]) + (f"; and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "")


def _one_line(path: str) -> str:
    return path if path.isprintable() else repr(path)


def _name(path: Path, folder: Path) -> str:
    """The path relative to the folder, with forward slashes."""
    return path.relative_to(folder).as_posix()


def _listed(path: str) -> str:
    """A path as it is listed: bytes of a name that are not UTF-8 are escaped."""
    return path.encode("utf-8", "backslashreplace").decode() if _HALF_PAIRS.search(path) else path


def _sorted(left_out: Iterable[Unread]) -> tuple[Unread, ...]:
    return tuple(
        sorted(
            (Unread(_HALF_PAIRS.sub("\ufffd", item.path), item.reason) for item in left_out), key=lambda item: item.path
        )
    )
