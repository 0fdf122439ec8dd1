"""Files of rows, each a document: CSV, JSON lines, Parquet, and data sets of the library `datasets`."""

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
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart
from data.documents.readers.text import Decoded, decode

_DELIMITERS = (",", ";", "\t")
_SHOWN = 12  # names in a message


def read_csv(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """Rows below a head, cut at commas, semicolons or tabs: the first of them that gives the text column."""
    decoded = decode(raw, settings.encoding)
    heads = {delimiter: _head(decoded.text, delimiter) for delimiter in _DELIMITERS}
    delimiter = next((mark for mark in _DELIMITERS if settings.text_column in heads[mark]), None)
    if delimiter is None:
        _check_columns(max(heads.values(), key=len), settings)
    assert delimiter is not None, "a column that is there and is not"
    _check_columns(heads[delimiter], settings)
    with _field_limit(settings.max_document_characters):
        yield from _with_remarks(decoded, _csv_rows(decoded.text, delimiter, heads[delimiter], settings))


def _csv_rows(
    text: str, delimiter: str, head: Sequence[str], settings: DocumentSettings
) -> Iterator[Extracted | UnreadPart]:
    # Strict: a quote that is never closed would make one text of all rows after it.
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    next(rows)
    for number in count(1):
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield UnreadPart(str(number), f"not CSV ({error}): correct the row")
            continue
        if not row:
            continue
        if len(row) != len(head):
            yield UnreadPart(str(number), f"{len(row)} cells under a head of {len(head)}: correct the row")
        else:
            yield from _documents([dict(zip(head, row, strict=True))], settings, number)


@contextmanager
def _field_limit(characters: int) -> Iterator[None]:
    """The csv module's longest cell is one number for the whole process."""
    before = csv.field_size_limit(characters + 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read_jsonl(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """An object a line; only the text and title columns are looked at, whatever else a line holds."""
    decoded = decode(raw, settings.encoding)
    yield from _with_remarks(decoded, _json_rows(decoded.text, settings))


def _json_rows(text: str, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except json.JSONDecodeError as error:
            yield UnreadPart(str(number), f"not JSON ({error.msg} at column {error.colno}): correct the line")
            continue
        except (RecursionError, ValueError):
            yield UnreadPart(str(number), "JSON that is nested too deeply or holds a number too long: correct the line")
            continue
        if not isinstance(item, dict):
            yield UnreadPart(str(number), f"a {type(item).__name__}, not an object: correct the line")
        else:
            yield from _documents([item], settings, number)


def read_parquet(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """The text and title columns of a Parquet file, no others."""
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
            left -= batch.nbytes  # the directory counts a text that repeats once
            if left < 0:
                limit = settings.max_unpacked_bytes
                raise Unreadable(f"unpacks to more than documents.max_unpacked_bytes={limit:,}: raise it")
            yield from _documents(batch.to_pylist(), settings, number)
            number += batch.num_rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"a broken Parquet file ({str(error).splitlines()[0][:200]}): write it anew") from None


def is_dataset(folder: Path) -> bool:
    """Whether a folder was written by `datasets`' save_to_disk."""
    return (folder / "dataset_dict.json").is_file() or (
        (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    )


def read_dataset(source: str, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """A folder written by save_to_disk, or a data set of the Hub by its id; of several splits the one in the settings.

    Raises:
        Unreadable: it is not there, or has no such split or column.
    """
    import datasets

    try:
        if Path(source).is_dir():
            found: Any = datasets.load_from_disk(source)
        else:
            name, _, revision = source.partition("@")
            found = datasets.load_dataset(name, revision=revision or None)
    except Exception as error:  # of the library, of the Hub's client, of the network
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise Unreadable(f"no data set of datasets that can be loaded ({first})") from None
    if isinstance(found, Mapping):
        if settings.dataset_split not in found:
            raise Unreadable(
                f"no split {settings.dataset_split!r} (it has {_some(list(found))}): set documents.dataset_split"
            )
        found = found[settings.dataset_split]
    _check_columns(found.column_names, settings)
    yield from _documents(found.select_columns(_wanted(settings)), settings, 1)


def _documents(
    rows: Iterable[Mapping[str, Any]], settings: DocumentSettings, first: int
) -> Iterator[Extracted | UnreadPart]:
    """Rows with names as documents; the first has this number."""
    for number, row in enumerate(rows, start=first):
        text = row.get(settings.text_column)
        title = row.get(settings.title_column) if settings.title_column else None
        if not isinstance(text, str):
            kind = "missing" if text is None else f"a {type(text).__name__}, not a text"
            yield UnreadPart(str(number), f"the column {settings.text_column!r} is {kind}")
        else:
            yield Extracted(text, " ".join(str(title).split()) if title is not None else None, part=str(number))


def _with_remarks(decoded: Decoded, items: Iterable[Extracted | UnreadPart]) -> Iterator[Extracted | UnreadPart]:
    """The items, the first text among them with what there is to say of the file's encoding."""
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
