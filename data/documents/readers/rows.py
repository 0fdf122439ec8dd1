"""Files whose rows are documents: CSV, JSON lines, Parquet, and data sets of the library `datasets`."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import count, islice, zip_longest
from pathlib import Path
from typing import Any

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart, first_line
from data.documents.readers.records import RECORDS, json_text, record_text
from data.documents.readers.text import Decoded, decode
from data.files.hub_errors import is_full, translated

_DELIMITERS = (",", ";", "\t")
_SHOWN = 12  # names in a message
_TRIED_ROWS = 20
_SEPARATOR = re.compile(r"[\"']?sep=(.)[\"']?\r?\n")  # a line that tells Excel what separates the cells


def read_csv(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """Rows below a header, separated by commas, semicolons or tabs: the first of these that yields the text column.

    Without a text column each row is read as lines of "head: value".
    """
    decoded = decode(raw, settings.encoding)
    delimiters: tuple[str, ...] = _DELIMITERS
    if named := _SEPARATOR.match(decoded.text):
        delimiters = (named[1],)
        decoded = replace(decoded, text=decoded.text[named.end() :])
    heads = {delimiter: _head(decoded.text, delimiter) for delimiter in delimiters}
    delimiter = next((mark for mark in delimiters if settings.text_column in heads[mark]), None)
    records = delimiter is None and reads_records(max(heads.values(), key=len), settings)
    if delimiter is None:
        delimiter = _likeliest_delimiter(decoded.text, delimiters)
    if not records:
        check_columns(heads[delimiter], settings)
    with _field_limit(settings.max_document_characters):
        rows = _csv_rows(decoded.text, delimiter, heads[delimiter], settings, records)
        yield from _with_remarks(decoded, rows, records)


def _csv_rows(
    text: str, delimiter: str, head: Sequence[str], settings: DocumentSettings, records: bool
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
        if len(row) != len(head) and not records:
            yield UnreadPart(str(number), f"{len(row)} cells, but the header has {len(head)}: correct the row")
        else:
            yield from row_documents(head, row, settings, str(number), records)


def row_documents(
    head: Sequence[str], row: Sequence[str], settings: DocumentSettings, part: str, records: bool
) -> Iterator[Extracted | UnreadPart]:
    """The document of a row of cells: its text column, or all its cells."""
    if not records:
        yield from _documents([dict(zip(head, row, strict=True))], settings, part)
    elif text := record_text(zip_longest(head, row, fillvalue="")):
        title = dict(zip(head, row, strict=False)).get(settings.title_column or "")
        said = () if len(row) == len(head) else (f"{len(row)} cells, but the header has {len(head)}",)
        yield Extracted(text, " ".join(title.split()) if title else None, part=part, remarks=said)


def reads_records(head: Sequence[str], settings: DocumentSettings) -> bool:
    """Whether rows are read as "head: value" lines: nobody named a text column, and there is none."""
    default = DocumentSettings.model_fields["text_column"].default
    named = settings.text_column != default or (settings.title_column or "") not in ("", *head)
    return not named and default not in head and any(head)


def _likeliest_delimiter(text: str, delimiters: Sequence[str]) -> str:
    """The one under which the most rows have as many cells as the header."""

    def fitting(delimiter: str) -> tuple[int, int]:
        try:
            rows = list(islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), _TRIED_ROWS))
        except csv.Error:
            return 0, 0
        width = len(rows[0]) if rows else 0
        return sum(len(row) == width > 1 for row in rows), width

    return max(delimiters, key=fitting)


@contextmanager
def _field_limit(characters: int) -> Iterator[None]:
    """Sets the csv module's longest cell, which is one number for the process."""
    before = csv.field_size_limit(characters + 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read_jsonl(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """One object per line; of one with a text column only that and the title column are read.

    Where no object has a text column, each is read as lines of "head: value".
    """
    decoded = decode(raw, settings.encoding)
    items = list(_json_rows(decoded.text))
    heads = {key for _, item in items if isinstance(item, dict) for key in item}
    records = reads_records(sorted(heads), settings)
    yield from _with_remarks(decoded, _objects(items, settings, records), records)


def _objects(
    items: Iterable[tuple[str, Any]], settings: DocumentSettings, records: bool
) -> Iterator[Extracted | UnreadPart]:
    """The documents of (part, value of JSON) pairs; an `UnreadPart` stays one."""
    for part, item in items:
        if isinstance(item, UnreadPart):
            yield item
        elif not isinstance(item, dict):
            yield UnreadPart(part, f"{type(item).__name__} instead of an object: correct the line")
        else:
            yield from object_documents(item, settings, part, records)


def object_documents(
    item: Mapping[str, Any], settings: DocumentSettings, part: str, records: bool
) -> Iterator[Extracted | UnreadPart]:
    """The document of an object of JSON: its text column, or all its fields."""
    if not records:
        yield from _documents([item], settings, part)
    elif text := json_text(item, settings.max_document_characters):
        title = item.get(settings.title_column or "")
        yield Extracted(text, " ".join(str(title).split()) or None if title is not None else None, part=part)


def _json_rows(text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            item: Any = json.loads(line, parse_float=Decimal)  # as it is written
        except json.JSONDecodeError as error:
            item = UnreadPart(str(number), f"invalid JSON ({error.msg} at column {error.colno}): correct the line")
        except (RecursionError, ValueError):
            item = UnreadPart(str(number), "JSON nested too deeply, or with a number too long: correct the line")
        yield str(number), item


def read_parquet(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """The text and title columns of a Parquet file; other columns are not read."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pa.BufferReader(raw))
        check_columns(file.schema_arrow.names, settings)
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
    check_columns(data.column_names, settings)
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
    rows: Iterable[Mapping[str, Any]], settings: DocumentSettings, first: int | str
) -> Iterator[Extracted | UnreadPart]:
    """Yields a document for each row; `first` is the number of the first row, or the part that the only one is."""
    for number, row in enumerate(rows, start=first) if isinstance(first, int) else ((first, row) for row in rows):
        text = row.get(settings.text_column)
        title = row.get(settings.title_column) if settings.title_column else None
        if not isinstance(text, str):
            kind = "missing" if text is None else f"{type(text).__name__}, not text"
            yield UnreadPart(str(number), f"the column {settings.text_column!r} is {kind}")
        else:
            yield Extracted(text, " ".join(str(title).split()) if title is not None else None, part=str(number))


def _with_remarks(
    decoded: Decoded, items: Iterable[Extracted | UnreadPart], records: bool
) -> Iterator[Extracted | UnreadPart]:
    """The items; the first text carries the remarks about the whole file."""
    remarks = (*decoded.remarks, *([RECORDS] if records else []))
    said = not remarks
    for item in items:
        if not said and isinstance(item, Extracted):
            item = replace(item, counts=decoded.counts, remarks=(*remarks, *item.remarks))
            said = True
        yield item


def _head(text: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])]
    except csv.Error:
        return []


def _wanted(settings: DocumentSettings) -> list[str]:
    return [settings.text_column, *([settings.title_column] if settings.title_column else [])]


def check_columns(columns: Sequence[str], settings: DocumentSettings) -> None:
    """Raises `Unreadable` if there is no text column, or not the title column that a person named."""
    for column, setting in zip(_wanted(settings), ("text_column", "title_column"), strict=False):
        if column not in columns:
            raise Unreadable(f"no column {column!r} (it has {_some(columns)}): set documents.{setting}")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "") if names else "none"
