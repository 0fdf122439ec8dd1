"""Readers of rows, over files made by real libraries: CSV, JSONL, Parquet and saved data sets."""

import csv
import io
import json

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart
from data.documents.readers.rows import read_csv, read_dataset, read_jsonl, read_parquet
from testing.readings import one

DEFAULT = DocumentSettings()
GERMAN = "Der Müller mahlt jeden Tag für die Genossenschaft, außer wenn das Wasser zu niedrig steht. " * 5


def test_csv_rows_are_documents_and_ragged_ones_faults():
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerows(
        [["id", "text", "name"], ["1", "First,\nwith a break.", "One"], ["2", "ragged"], [], ["3", "Third.", ""]]
    )
    settings = DocumentSettings(title_column="name")
    items = list(read_csv(file.getvalue().encode(), settings))
    assert items == [
        Extracted("First,\nwith a break.", "One", part="1"),
        UnreadPart("2", "2 cells, but the header has 3: correct the row"),
        Extracted("Third.", "", part="4"),
    ]


@pytest.mark.parametrize("delimiter", ",;\t")
def test_csv_finds_the_text_column(delimiter):
    raw = f"a{delimiter}text\n1{delimiter}Words.\n".encode()
    assert one(read_csv(raw, DEFAULT)).text == "Words."
    with pytest.raises(Unreadable, match=r"no column 'body' \(it has 'a', 'text'\): set documents\.text_column"):
        list(read_csv(raw, DocumentSettings(text_column="body")))


def test_csv_with_a_quote_that_is_never_closed_is_not_one_long_text():
    first, fault = read_csv(b'id,text\n1,First.\n2,"Second.\n3,Third.\n', DEFAULT)
    assert first.text == "First." and isinstance(fault, UnreadPart) and "invalid CSV" in fault.reason


def test_csv_takes_long_cells_and_leaves_the_module_as_it_was():
    before = csv.field_size_limit()
    raw = ("text\n" + "word " * 100_000 + "\n").encode()
    assert len(one(read_csv(raw, DEFAULT)).text) == 500_000
    (fault,) = read_csv(raw, DocumentSettings(max_document_characters=1000))
    assert isinstance(fault, UnreadPart) and "field larger" in fault.reason
    assert csv.field_size_limit() == before


def test_jsonl_rows_and_their_faults():
    lines = [{"text": "One.", "id": "../../x"}, {"text": 5}, {"other": 1}, ["text"]]
    raw = "\n".join([*map(json.dumps, lines), "{broken", "", "[" * 100_000, '{"text": "Last."}']).encode()
    items = list(read_jsonl(raw, DEFAULT))
    assert [item for item in items if isinstance(item, Extracted)] == [
        Extracted("One.", part="1"),
        Extracted("Last.", part="8"),
    ]
    faults = [(item.part, item.reason) for item in items if isinstance(item, UnreadPart)]
    assert [part for part, _ in faults] == ["2", "3", "4", "5", "7"]
    for (_, reason), words in zip(
        faults, ("int, not text", "missing", "list instead of an object", "invalid JSON", "nested"), strict=True
    ):
        assert words in reason


def test_detected_encoding_of_rows_is_told_once():
    raw = "".join(json.dumps({"text": GERMAN}, ensure_ascii=False) + "\n" for _ in range(2)).encode("cp1252")
    first, second = read_jsonl(raw, DEFAULT)
    assert (first.text, second.text) == (GERMAN, GERMAN)
    assert first.counts == {"detected_encodings": 1} and not second.counts


def test_parquet_rows():
    table = pa.table({"text": ["One.", None, "Three."], "name": ["a", "b", "c"], "blob": [b"x", b"y", b"z"]})
    file = io.BytesIO()
    parquet.write_table(table, file)
    items = list(read_parquet(file.getvalue(), DocumentSettings(title_column="name")))
    assert items[0] == Extracted("One.", "a", part="1") and items[2] == Extracted("Three.", "c", part="3")
    assert items[1] == UnreadPart("2", "the column 'text' is missing")
    with pytest.raises(Unreadable, match="damaged Parquet"):
        list(read_parquet(file.getvalue()[:-8], DEFAULT))
    with pytest.raises(Unreadable, match=r"over documents\.max_unpacked_bytes=10"):
        list(read_parquet(file.getvalue(), DocumentSettings(max_unpacked_bytes=10)))


def test_datasets_folder(tmp_path):
    rows = datasets.Dataset.from_dict({"text": ["One.", "Two."], "n": [1, 2]})
    datasets.DatasetDict({"train": rows, "test": rows.select([1])}).save_to_disk(tmp_path / "both")
    assert [item.text for item in read_dataset(str(tmp_path / "both"), DEFAULT)] == ["One.", "Two."]
    test = DocumentSettings(dataset_split="test")
    assert [item.text for item in read_dataset(str(tmp_path / "both"), test)] == ["Two."]
    with pytest.raises(Unreadable, match=r"no split 'dev' \(it has 'train', 'test'\): set documents\.dataset_split"):
        list(read_dataset(str(tmp_path / "both"), DocumentSettings(dataset_split="dev")))


def test_parquet_that_unpacks_to_more_than_its_directory_says():
    """A text that repeats is written once."""
    table = pa.table({"text": ["a long text " * 10_000] * 50})
    raw = pa.BufferOutputStream()
    parquet.write_table(table, raw)
    with pytest.raises(Unreadable, match=r"unpacks to more than documents.max_unpacked_bytes=1,000,000"):
        list(read_parquet(raw.getvalue().to_pybytes(), DocumentSettings(max_unpacked_bytes=1_000_000)))
