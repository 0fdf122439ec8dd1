"""Documents: texts with ids derived from path and content, and the settings for reading them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer, field_validator, model_validator

from data.text.blocks import read_blocks
from user_error import UserError

MEGABYTE = 1_000_000
_NO_TEXT = "\0"  # in place of a password that is none
# Formats without markup: a short line by itself is a heading.
_PLAIN = (".txt", ".text", ".log", ".pdf")


class DocumentSettings(BaseModel):
    """How the files of a corpus are read, and the limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_column: str = Field(
        default="text",
        min_length=1,
        description=(
            "The column of tables, JSON, JSONL, Parquet and datasets that holds the text; each row is a document. "
            'Rows of a table or of JSON without a column "text" are read as lines of "head: value".'
        ),
    )
    title_column: str | None = Field(
        default=None, min_length=1, description="The column that holds the title; null: the text's first heading."
    )
    dataset_split: str = Field(
        default="train", min_length=1, description="The split to read from a Hugging Face data set with splits."
    )
    encoding: str | None = Field(
        default=None,
        description="Encoding of text files that are not UTF-8 and declare none; null: detected, counted and logged.",
    )
    slide_notes: bool = Field(default=True, description="Add the speaker's notes below each slide.")
    password: SecretStr | None = Field(
        default=None,
        description="The password of encrypted PDF files, or better the name of an environment variable that holds it; "
        "kept out of all files and logs.",
    )
    strict: bool = Field(default=False, description="Fail if a file or row cannot be read.")
    follow_links: bool = Field(default=False, description="Follow links out of the corpus folder.")
    max_file_bytes: int = Field(default=64 * MEGABYTE, ge=1, description="Largest file that is read.")
    max_unpacked_bytes: int = Field(
        default=256 * MEGABYTE,
        ge=1,
        description="Largest unpacked size of a file that is an archive, of a PDF, or of a Parquet file.",
    )
    seconds_per_file: float = Field(
        default=60,
        ge=0.001,
        le=86_400,
        description="Time limit for parsing a file, which is then listed.",
    )
    max_document_characters: int = Field(default=5_000_000, ge=1, description="Longest document that is accepted.")

    @field_validator("password", mode="before")
    @classmethod
    def _password_is_text(cls, value: object) -> object:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)  # YAML reads a password of digits as a number
        return value if value is None or isinstance(value, SecretStr | str) else _NO_TEXT

    @model_validator(mode="after")
    def _check_password(self) -> DocumentSettings:
        # Not in the field's validator: the error of a field repeats its value.
        if self.password is not None and self.password.get_secret_value() == _NO_TEXT:
            raise UserError("password must be text: put it in quotes, or name an environment variable that holds it")
        return self

    @field_serializer("password", when_used="json")
    def _password_is_not_written(self, value: SecretStr | None) -> None:
        """Manifests, records and cards are JSON."""

    def passwords(self) -> tuple[str, ...]:
        """What may open an encrypted file: the value of the variable that `password` names, and `password` itself."""
        if self.password is None:
            return ()
        given = self.password.get_secret_value()
        return tuple(value for value in (os.environ.get(given), given) if value)

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                "".encode(value)  # also raises for codecs that are not text encodings, such as hex
            except LookupError:
                raise UserError(f"unknown encoding {value!r}: use one that Python knows, such as cp1252") from None
        return value


@dataclass(frozen=True, slots=True)
class Document:
    """A source text.

    Attributes:
        id: 16 hex digits, a digest of path, text and pages.
        path: relative to the folder that was read, with forward slashes; "table.csv#12" for the twelfth row of a file.
        text: line breaks are line feeds, no byte order mark.
        title: its first heading, or the file name without its suffix.
        pages: the offset in `text` at which each page or slide begins, ascending; empty if the format has none.
    """

    id: str
    path: str
    text: str
    title: str
    pages: tuple[int, ...] = ()


def make_document(path: str, text: str, title: str | None = None, pages: tuple[int, ...] = ()) -> Document:
    """A document from its parts; the default title is the first heading, or else the file's stem."""
    # Pages are part of the id: chunks are cached by it and hold page numbers.
    parts = (path, text, *map(str, pages))
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    if not title:
        headings = (block.title for block in read_blocks(text, is_plain(path)) if block.level)
        title = next(headings, PurePosixPath(path).stem)
    return Document(id=digest[:16], path=path, text=text, title=title, pages=pages)


def is_plain(path: str) -> bool:
    """Whether a document's text is plain text rather than Markdown, by the suffix of its path."""
    return path.lower().endswith(_PLAIN)


def decode_utf8(path: Path) -> str:
    """The text of a file, without a byte order mark.

    Raises:
        UserError: it cannot be read, is binary or is not UTF-8; names the file and the offset of the byte.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check the name and its permissions") from None
    if b"\0" in raw:
        offset = raw.index(b"\0")
        raise UserError(f"{path} is a binary file or UTF-16 (NUL byte at offset {offset}): save it as UTF-8 text")
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {raw[error.start]:#04x} at offset {error.start}): save it as UTF-8"
        ) from None
