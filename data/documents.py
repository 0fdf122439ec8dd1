"""Documents: the texts of a folder, with ids that depend on their path and content only."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from data.blocks import read_blocks

log = logging.getLogger(__name__)

SUFFIXES = (".md", ".txt")


@dataclass(frozen=True, slots=True)
class Document:
    """A source text.

    Attributes:
        id: 16 hex digits, a digest of path and text.
        path: relative to the folder that was read, with forward slashes.
        text: line breaks are line feeds, no byte order mark.
        title: its first heading, or the file name without its suffix.
    """

    id: str
    path: str
    text: str
    title: str


@dataclass(frozen=True, slots=True)
class FolderListing:
    """The files of a folder: those that are documents, and those skipped because of their suffix or kind."""

    documents: tuple[Path, ...]
    skipped: tuple[Path, ...]


def make_document(path: str, text: str, title: str | None = None) -> Document:
    """A document from its parts; without a title, its first heading or else the file's stem."""
    if not title:
        headings = (block.title for block in read_blocks(text, is_plain(path)) if block.level)
        title = next(headings, Path(path).stem)
    digest = hashlib.sha256(f"{path}\0{text}".encode()).hexdigest()
    return Document(id=digest[:16], path=path, text=text, title=title)


def is_plain(path: str) -> bool:
    """Whether a document's text is plain rather than Markdown, by its path."""
    return path.lower().endswith(".txt")


def list_folder(folder: Path) -> FolderListing:
    """Finds the documents below a folder, sorted by path. Hidden files and folders are not looked at.

    Linked files are read; a linked folder is entered once, so a link that leads back to its parent ends.

    Raises:
        ValueError: the folder is missing, cannot be read, or holds no document.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"no folder of documents at {folder}: name a folder with {' or '.join(SUFFIXES)} files")
    documents: list[Path] = []
    skipped: list[Path] = []
    seen = {folder.resolve()}
    waiting = [folder]
    while waiting:
        for path in _entries(waiting.pop()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                if path.resolve() in seen:
                    skipped.append(path)
                else:
                    seen.add(path.resolve())
                    waiting.append(path)
            elif path.is_file() and path.suffix.lower() in SUFFIXES:
                documents.append(path)
            else:
                skipped.append(path)
    if not documents:
        raise ValueError(
            f"no documents in {folder} ({len(skipped)} other files): put {' or '.join(SUFFIXES)} files there"
        )
    return FolderListing(tuple(sorted(documents)), tuple(sorted(skipped)))


def read_documents(folder: Path) -> list[Document]:
    """Reads every document below a folder, sorted by path. What is skipped is logged; `list_folder` returns it.

    Raises:
        ValueError: what `list_folder` raises, or a file is binary, not UTF-8, empty or unreadable; names the file.
    """
    folder = Path(folder)
    listing = list_folder(folder)
    if listing.skipped:
        names = ", ".join(str(path.relative_to(folder)) for path in listing.skipped[:10])
        log.warning("%d files in %s are no documents and are skipped: %s", len(listing.skipped), folder, names)
    return [make_document(_relative(path, folder), _read_text(path)) for path in listing.documents]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder))
    except OSError as error:
        raise ValueError(f"{folder} cannot be read ({error.strerror}): check its permissions") from None


def _relative(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"the file name {name!r} is not UTF-8: rename the file") from None
    return name


def _read_text(path: Path) -> str:
    text = decode_utf8(path).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise ValueError(f"{path} is empty: write its text or remove the file")
    return text


def decode_utf8(path: Path) -> str:
    """The text of a file, without a byte order mark.

    Raises:
        ValueError: it cannot be read, is binary or is not UTF-8; names the file and the offset of the byte.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): check the name and its permissions") from None
    if b"\0" in raw:
        offset = raw.index(b"\0")
        raise ValueError(f"{path} is a binary file or UTF-16 (NUL byte at offset {offset}): give it as UTF-8 text")
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text (byte {raw[error.start]:#04x} at offset {error.start}): save it as UTF-8"
        ) from None
