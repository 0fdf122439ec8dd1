"""JSON files: a list of objects is rows, anything else one document; and Jupyter notebooks."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart
from data.documents.readers.html import html_page
from data.documents.readers.markdown import without_comments
from data.documents.readers.records import RECORDS, json_text
from data.documents.readers.rows import object_documents, read_jsonl, reads_records
from data.documents.readers.text import Decoded, decode

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_OBJECT_SHOWN = re.compile(r"<[\w.]+( object)?( at 0x[0-9a-f]+|[^>\n]{0,80})>")  # "<IPython.core.display.HTML object>"


def read_json(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """The objects of a list are documents as the lines of JSONL are; any other value is one document of its fields.

    Raises:
        Unreadable: it is not JSON.
    """
    decoded = decode(raw, settings.encoding)
    try:
        value = _parsed(decoded.text)
    except Unreadable:
        if all(_is_object(line) for line in decoded.text.splitlines() if line.strip()):
            yield from read_jsonl(raw, settings)
            return
        raise
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        heads = sorted({key for item in value for key in item})
        records = reads_records(heads, settings)
        items = [
            document
            for number, item in enumerate(value, start=1)
            for document in object_documents(item, settings, str(number), records)
        ]
        yield from _first_remarked(items, decoded, (RECORDS,) if records else ())
    elif isinstance(value, dict) and isinstance(value.get(settings.text_column), str):
        yield from _first_remarked(object_documents(value, settings, "", records=False), decoded, ())
    else:
        text = value if isinstance(value, str) else json_text(value, settings.max_document_characters)
        yield from _first_remarked([Extracted(text)], decoded, ())


def read_notebook(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """A notebook: Markdown cells as they are, code and its text output as listings.

    Raises:
        Unreadable: it is not JSON, or no notebook.
    """
    decoded = decode(raw, settings.encoding)
    notebook = _parsed(decoded.text)
    if not isinstance(notebook, dict):
        raise Unreadable("not a Jupyter notebook: save it again")
    sheets = notebook.get("worksheets")
    cells = notebook.get("cells", sheets[0].get("cells") if isinstance(sheets, list) and sheets else None)
    if not isinstance(cells, list):
        raise Unreadable("not a Jupyter notebook (it has no cells): save it again")
    left_out: Counter[str] = Counter()
    blocks = [block for cell in cells if isinstance(cell, dict) for block in _cell_blocks(cell, left_out)]
    yield Extracted("\n\n".join(blocks), counts=decoded.counts, remarks=decoded.remarks, left_out=dict(left_out))


def _cell_blocks(cell: dict[str, Any], left_out: Counter[str]) -> Iterator[str]:
    source = _text(cell.get("source", cell.get("input"))).strip("\n")
    kind = cell.get("cell_type")
    if kind == "code":
        yield from _listing(source)
        for output in cell.get("outputs") or []:
            if isinstance(output, dict):
                yield from _output_blocks(output, left_out)
    elif kind == "heading":  # of the third version of the format
        yield f"{'#' * int(cell.get('level') or 1)} {source}"
    elif source.strip():
        text, found, _ = without_comments(source)
        left_out.update(found)
        yield text.strip("\n")


def _output_blocks(output: dict[str, Any], left_out: Counter[str]) -> Iterator[str]:
    kind = output.get("output_type")
    if kind in ("error", "pyerr"):
        left_out["tracebacks"] += len(_text(output.get("traceback")))
        yield from _listing(f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}")
        return
    data = output.get("data")
    shown = data if isinstance(data, dict) else {"text/plain": output.get("text"), "text/html": output.get("html")}
    plain, html = _text(shown.get("text/plain")), _text(shown.get("text/html"))
    if markdown := _text(shown.get("text/markdown")):
        yield markdown.strip("\n")
    elif html and (not plain or _OBJECT_SHOWN.fullmatch(plain.strip())):
        try:
            page = html_page(html)
        except Unreadable:
            left_out["outputs that cannot be read"] += len(html)
            return
        left_out.update(page.left_out)
        if page.text:
            yield page.text
    else:
        yield from _listing(_COLOURS.sub("", plain))


def _listing(text: str) -> Iterator[str]:
    if text.strip():
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
        yield f"{fence}\n{text.strip(chr(10))}\n{fence}"


def _text(value: Any) -> str:
    """A text of a notebook, which may be a list of lines."""
    return "".join(map(str, value)) if isinstance(value, list) else value if isinstance(value, str) else ""


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_float=Decimal)  # numbers as they are written
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Unreadable(f"invalid JSON ({error.msg} at {where}): correct the file") from None
    except (RecursionError, ValueError):
        raise Unreadable("JSON nested too deeply, or with a number too long: correct the file") from None


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _first_remarked(
    items: Iterable[Extracted | UnreadPart], decoded: Decoded, remarks: tuple[str, ...]
) -> Iterator[Extracted | UnreadPart]:
    """The items; the first text carries the remarks about the whole file."""
    waiting = True
    for item in items:
        if waiting and isinstance(item, Extracted):
            item, waiting = replace(item, counts=decoded.counts, remarks=(*decoded.remarks, *remarks)), False
        yield item
