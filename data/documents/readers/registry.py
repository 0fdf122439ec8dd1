"""The reader for each file suffix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, UnreadPart
from data.documents.readers.html import read_html
from data.documents.readers.office import read_docx, read_pptx
from data.documents.readers.pdf import read_pdf
from data.documents.readers.rows import read_csv, read_jsonl, read_parquet
from data.documents.readers.text import read_text

#: Raises `Unreadable` if nothing of the file can be read.
Reader = Callable[[bytes, DocumentSettings], Iterator[Extracted | UnreadPart]]

READERS: Mapping[str, Reader] = MappingProxyType(
    {
        ".md": read_text,
        ".markdown": read_text,
        ".txt": read_text,
        ".text": read_text,
        ".html": read_html,
        ".htm": read_html,
        ".xhtml": read_html,
        ".pdf": read_pdf,
        ".docx": read_docx,
        ".docm": read_docx,
        ".dotx": read_docx,
        ".pptx": read_pptx,
        ".pptm": read_pptx,
        ".ppsx": read_pptx,
        ".csv": read_csv,
        ".tsv": read_csv,
        ".jsonl": read_jsonl,
        ".ndjson": read_jsonl,
        ".parquet": read_parquet,
    }
)
KINDS = "Markdown, text, HTML, PDF, DOCX, PPTX, CSV, JSONL or Parquet"
