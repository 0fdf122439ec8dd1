"""Rows without a text column, JSON files and notebooks."""

import json

import pytest

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Unreadable, UnreadPart
from data.documents.readers.json_files import read_json, read_notebook
from data.documents.readers.rows import read_csv, read_jsonl
from testing.readings import one, texts

DEFAULT = DocumentSettings()


# Tables without a text column


@pytest.mark.parametrize("delimiter", ",;\t")
def test_csv_rows_without_a_text_column_are_lines(delimiter):
    raw = 'Item,Price,Note\nRye,"3","fresh,\nground"\nOats,,\n'.replace(",", delimiter).replace(
        f"fresh{delimiter}", "fresh,"
    )
    first, second = read_csv(raw.encode(), DEFAULT)
    assert (first.part, first.text) == ("1", "Item: Rye\nPrice: 3\nNote: fresh, ground")
    assert (second.part, second.text) == ("2", "Item: Oats")
    assert "there is no text column" in first.remarks[0] and not second.remarks


def test_csv_records_have_titles_and_faults_as_other_rows():
    raw = b"name,price\nRye,3\nragged\nOats,4\n"
    first, short, last = read_csv(raw, DocumentSettings(title_column="name"))
    assert (first.title, last.title, last.text) == ("Rye", "Oats", "name: Oats\nprice: 4")
    assert (short.text, short.remarks) == ("name: ragged", ("1 cells, but the header has 2",))
    (long,) = read_csv(b"name,price\nRye,3,fresh\n", DEFAULT)
    assert long.text == "name: Rye\nprice: 3\nfresh" and len(long.remarks) == 2
    with pytest.raises(Unreadable, match=r"no column 'body' \(it has 'name', 'price'\)"):
        list(read_csv(raw, DocumentSettings(text_column="body")))
    with pytest.raises(Unreadable, match=r"no column 'text'"):
        list(read_csv(b"", DEFAULT))


def test_the_delimiter_of_records_is_the_one_that_fits_the_rows():
    raw = b"Name; Ort, Land\nNora; Ostrand, Norge\nBo; Brine\n"
    assert texts(read_csv(raw, DEFAULT)) == [
        ("1", "Name: Nora\nOrt, Land: Ostrand, Norge"),
        ("2", "Name: Bo\nOrt, Land: Brine"),
    ]


def test_csv_may_say_what_separates_its_cells():
    raw = b"sep=;\r\nname;price, in crowns\r\nRye;3,50\r\n"
    assert one(read_csv(raw, DEFAULT)).text == "name: Rye\nprice, in crowns: 3,50"
    assert one(read_csv(b"sep=|\ntext|x\nA, B|c\n", DEFAULT)).text == "A, B"


# JSON


def test_json_list_of_objects_is_rows():
    assert texts(read_json(json.dumps([{"text": "A."}, {"text": "B."}]).encode(), DEFAULT)) == [
        ("1", "A."),
        ("2", "B."),
    ]
    rows = [{"name": "Rye", "price": {"small": 1.5, "tags": ["a", "b"]}, "gone": None}, {"name": "Oats", "open": True}]
    first, second = read_json(json.dumps(rows).encode(), DEFAULT)
    assert first.text == "name: Rye\nprice.small: 1.5\nprice.tags: a, b" and second.text == "name: Oats\nopen: true"
    assert "there is no text column" in first.remarks[0]


def test_other_json_is_one_document():
    value = {"mill": {"keeper": "Nora", "hours": [{"day": "Mon", "from": "10"}, {"day": "Tue"}]}, "fee": 38}
    item = one(read_json(json.dumps(value).encode(), DEFAULT))
    assert item.text == "mill.keeper: Nora\n\nmill.hours.day: Mon\nmill.hours.from: 10\n\nmill.hours.day: Tue\nfee: 38"
    assert one(read_json(b'{"text": "A.", "x": 1}', DEFAULT)).text == "A."
    assert one(read_json(b'["a", 1.10, {"b": 2}]', DEFAULT)).text == "a\n1.10\n\nb: 2"
    assert one(read_json(b'"alone"', DEFAULT)).text == "alone"
    assert texts(read_json(b'{"text": "A."}\n{"text": "B."}\n', DEFAULT)) == [("1", "A."), ("2", "B.")]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{broken", "invalid JSON .* line 1, column 2"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"9" * 5_000 + b"]", "number too long"),
        (json.dumps({"k" * 1000: {"l" * 1000: ["x" * 10, {"m": 1}] * 3_000}}).encode(), "max_document_characters"),
    ],
)
def test_json_that_cannot_be_read(raw, reason):
    with pytest.raises(Unreadable, match=reason):
        list(read_json(raw, DEFAULT))


def test_json_lines_without_any_text_are_records():
    items = list(read_jsonl(b'{"a": 1}\nbroken\n{"a": 2, "b": "x"}\n', DEFAULT))
    assert (items[0].text, items[2].text, items[2].part) == ("a: 1", "a: 2\nb: x", "3")
    assert isinstance(items[1], UnreadPart)


def notebook(*cells) -> bytes:
    return json.dumps({"cells": list(cells), "nbformat": 4}).encode()


def test_a_notebook_is_its_cells_and_text_outputs():
    code = {
        "cell_type": "code",
        "source": ["x = 1  # one\n", "print(x)"],
        "outputs": [
            {"output_type": "stream", "text": ["\x1b[31m1\x1b[0m\n"]},
            {"output_type": "execute_result", "data": {"text/plain": "42", "text/html": "<b>42</b>"}},
            {"output_type": "display_data", "data": {"text/plain": "<IPython.core.display.HTML object>",
                                                     "text/html": "<table><tr><th>A</th><td>1</td></tr></table>"}},
            {"output_type": "display_data", "data": {"image/png": "AAAA"}},
            {"output_type": "error", "ename": "ValueError", "evalue": "bad", "traceback": ["abc"]},
        ],
    }  # fmt: skip
    item = one(read_notebook(notebook({"cell_type": "markdown", "source": "# A\n\nText.<!-- no -->"}, code), DEFAULT))
    assert item.text == (
        "# A\n\nText.\n\n```\nx = 1  # one\nprint(x)\n```\n\n```\n1\n```\n\n```\n42\n```\n\n"
        "| A | 1 |\n| --- | --- |\n\n```\nValueError: bad\n```"
    )
    assert item.left_out == {"comments": 2, "tracebacks": 3}
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": "y", "outputs": [{"text": "2"}]}]}]}
    assert one(read_notebook(json.dumps(old).encode(), DEFAULT)).text == "```\ny\n```\n\n```\n2\n```"
    with pytest.raises(Unreadable, match="not a Jupyter notebook"):
        list(read_notebook(b'{"a": 1}', DEFAULT))
