"""Files whose rows are documents: CSV, JSON lines, Parquet, and data sets of the library `datasets`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart, first_line
from data.documents.readers.text import Decoded, decode
from data.files.hub_errors import is_full, translated

_DELIMITERS = (",", ";", "\t")
_SHOWN = 12  # names in a message


def read_csv(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """Rows below a header, separated by commas, semicolons or tabs: the first of these that yields the text column."""
    decoded = decode(raw, settings.encoding)
    heads = {delimiter: _head(decoded.text, delimiter) for delimiter in _DELIMITERS}
    delimiter = next((mark for mark in _DELIMITERS if settings.text_column in heads[mark]), None)
    if delimiter is None:
        _check_columns(max(heads.values(), key=len), settings)
    assert delimiter is not None, "_check_columns raises for a missing column"
    _check_columns(heads[delimiter], settings)
    with _field_limit(settings.max_document_characters):
        yield from _with_remarks(decoded, _csv_rows(decoded.text, delimiter, heads[delimiter], settings))


def _csv_rows(
    text: str, delimiter: str, head: Sequence[str], settings: DocumentSettings
) -> Iterator[Extracted | UnreadPart]:
    # Strict: an unclosed quote would make one text of all later rows.
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    next(rows)
    for number in count(1):
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield UnreadPart(str(number), f"invalid CSV ({error}): correct the row")
            continue
        if not row:
            continue
        if len(row) != len(head):
            yield UnreadPart(str(number), f"{len(row)} cells, but the header has {len(head)}: correct the row")
        else:
            yield from _documents([dict(zip(head, row, strict=True))], settings, number)


@contextmanager
def _field_limit(characters: int) -> Iterator[None]:
    """Sets the csv module's longest cell, which is one number for the process."""
    before = csv.field_size_limit(characters + 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read_jsonl(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """One object per line; only the text and title columns are read."""
    decoded = decode(raw, settings.encoding)
    yield from _with_remarks(decoded, _json_rows(decoded.text, settings))


def _json_rows(text: str, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except json.JSONDecodeError as error:
            yield UnreadPart(str(number), f"invalid JSON ({error.msg} at column {error.colno}): correct the line")
            continue
        except (RecursionError, ValueError):
            yield UnreadPart(str(number), "JSON nested too deeply, or with a number too long: correct the line")
            continue
        if not isinstance(item, dict):
            yield UnreadPart(str(number), f"{type(item).__name__} instead of an object: correct the line")
        else:
            yield from _documents([item], settings, number)


def read_parquet(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """The text and title columns of a Parquet file; other columns are not read."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pa.BufferReader(raw))
        _check_columns(file.schema_arrow.names, settings)
        wanted = _wanted(settings)
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        columns = [group.column(j) for group in groups for j in range(group.num_columns)]
        size = sum(
            column.total_uncompressed_size for column in columns if column.path_in_schema.split(".")[0] in wanted
        )
        if size > settings.max_unpacked_bytes:
            limit = settings.max_unpacked_bytes
            raise Unreadable(f"unpacks to {size:,} bytes, over documents.max_unpacked_bytes={limit:,}: raise it")
        number, left = 1, settings.max_unpacked_bytes
        for batch in file.iter_batches(batch_size=256, columns=wanted):
            left -= batch.nbytes  # the metadata counts a repeated text once
            if left < 0:
                limit = settings.max_unpacked_bytes
                raise Unreadable(f"unpacks to more than documents.max_unpacked_bytes={limit:,}: raise it")
            yield from _documents(batch.to_pylist(), settings, number)
            number += batch.num_rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"damaged Parquet file ({first_line(error)}): write it again") from None


def is_dataset(folder: Path) -> bool:
    """Whether a folder was written by `datasets`' save_to_disk."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    )


def read_dataset(source: str, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """The rows of a folder written by save_to_disk, or of a data set on the Hub; `dataset_split` names the split.

    Args:
        source: the folder, or OWNER/NAME with @REVISION if wanted.

    Raises:
        Unreadable: it is damaged, or has no such split or column.
        UserError: there is no such data set on the Hub, or it needs permission.
        Unreachable: it cannot be fetched at the moment.
        OSError: the disk is full.
    """
    import datasets

    try:
        if Path(source).is_dir():
            _check_names(Path(source))
            data: Any = datasets.load_from_disk(source)
        else:
            name, _, revision = source.partition("@")
            data = datasets.load_dataset(name, revision=revision or None)
    except Unreadable:
        raise
    except Exception as error:  # of the library, of the Hub's client, of the network
        if not Path(source).is_dir():
            known = translated(error, f"the data set {source}", "give a folder or a file that exists")
            if known is not error or is_full(error):
                raise known from None
        raise Unreadable(f"cannot be loaded as a data set ({first_line(error)})") from None
    if isinstance(data, Mapping):
        if settings.dataset_split not in data:
            raise Unreadable(
                f"no split {settings.dataset_split!r} (it has {_some(list(data))}): set documents.dataset_split"
            )
        data = data[settings.dataset_split]
    _check_columns(data.column_names, settings)
    yield from _documents(data.select_columns(_wanted(settings)), settings, 1)


def _check_names(folder: Path) -> None:
    """Check the names that the files of a data set's folder give to others, which the library would open anywhere.

    Raises:
        Unreadable: one lies outside of the folder.
    """
    for path in sorted([*folder.glob("*.json"), *folder.glob("*/*.json")]):
        try:
            content = json.loads(path.read_bytes())
            found = content["splits"] if path.name == "dataset_dict.json" else content.get("_data_files", ())
            names = [name if isinstance(name, str) else str(name["filename"]) for name in found]
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            continue  # the library says what is wrong, if it reads it
        if outside := [name for name in names if Path(name).name != name]:
            raise Unreadable(f"{path.name} names {outside[0]!r}, which is no name inside of its folder: save it again")


def _documents(
    rows: Iterable[Mapping[str, Any]], settings: DocumentSettings, first: int
) -> Iterator[Extracted | UnreadPart]:
    """Yields a document for each row; `first` is the number of the first row."""
    for number, row in enumerate(rows, start=first):
        text = row.get(settings.text_column)
        title = row.get(settings.title_column) if settings.title_column else None
        if not isinstance(text, str):
            kind = "missing" if text is None else f"{type(text).__name__}, not text"
            yield UnreadPart(str(number), f"the column {settings.text_column!r} is {kind}")
        else:
            yield Extracted(text, " ".join(str(title).split()) if title is not None else None, part=str(number))


def _with_remarks(decoded: Decoded, items: Iterable[Extracted | UnreadPart]) -> Iterator[Extracted | UnreadPart]:
    """The items; the first text carries the remarks about the file's encoding."""
    said = not decoded.detected
    for item in items:
        if not said and isinstance(item, Extracted):
            item = replace(item, counts=decoded.counts, remarks=decoded.remarks)
            said = True
        yield item


def _head(text: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])]
    except csv.Error:
        return []


def _wanted(settings: DocumentSettings) -> list[str]:
    return [settings.text_column, *([settings.title_column] if settings.title_column else [])]


def _check_columns(columns: Sequence[str], settings: DocumentSettings) -> None:
    for column, setting in zip(_wanted(settings), ("text_column", "title_column"), strict=False):
        if column not in columns:
            raise Unreadable(f"no column {column!r} (it has {_some(columns)}): set documents.{setting}")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "") if names else "none"
