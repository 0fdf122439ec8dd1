"""The reader for each file suffix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from data.documents.documents import DocumentSettings
from data.documents.readers.epub import read_epub
from data.documents.readers.extracted import Extracted, UnreadPart
from data.documents.readers.html import read_html, read_xhtml
from data.documents.readers.json_files import read_json, read_notebook
from data.documents.readers.mail import read_eml
from data.documents.readers.markdown import read_markdown, read_mdx
from data.documents.readers.markup import read_asciidoc, read_org, read_rst, read_tex
from data.documents.readers.office import read_docx, read_pptx
from data.documents.readers.open_documents import read_odp, read_odt
from data.documents.readers.pdf import read_pdf
from data.documents.readers.rows import read_csv, read_jsonl, read_parquet
from data.documents.readers.rtf import read_rtf
from data.documents.readers.spreadsheets import read_ods, read_xlsx
from data.documents.readers.text import read_text

#: Raises `Unreadable` if nothing of the file can be read.
Reader = Callable[[bytes, DocumentSettings], Iterator[Extracted | UnreadPart]]

READERS: Mapping[str, Reader] = MappingProxyType(
    {
        ".md": read_markdown,
        ".markdown": read_markdown,
        ".mdx": read_mdx,
        ".txt": read_text,
        ".text": read_text,
        ".html": read_html,
        ".htm": read_html,
        ".xhtml": read_xhtml,
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
        ".json": read_json,
        ".ipynb": read_notebook,
        ".xlsx": read_xlsx,
        ".xlsm": read_xlsx,
        ".ods": read_ods,
        ".odt": read_odt,
        ".odp": read_odp,
        ".epub": read_epub,
        ".eml": read_eml,
        ".rtf": read_rtf,
        ".rst": read_rst,
        ".adoc": read_asciidoc,
        ".asciidoc": read_asciidoc,
        ".org": read_org,
        ".tex": read_tex,
        ".log": read_text,
    }
)
KINDS = (
    "Markdown, text, HTML, PDF, DOCX, PPTX, XLSX, ODT, ODS, ODP, RTF, EPUB, EML, reStructuredText, AsciiDoc, Org, TeX, "
    "Jupyter, CSV, JSON, JSONL or Parquet"
)
