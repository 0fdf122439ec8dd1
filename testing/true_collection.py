"""The collection of files with their true text, and the reading of it as a corpus."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from data.documents.corpus import read_corpus
from data.documents.documents import DocumentSettings
from testing.read_scores import ReadScore, score_reading
from testing.true_files import TrueFile
from testing.true_layouts import layout_files
from testing.true_markdown import markdown_files
from testing.true_markup import markup_files
from testing.true_office import office_files
from testing.true_others import other_files
from testing.true_pages import page_files
from testing.true_pdf_layouts import layout_pdfs
from testing.true_pdf_traps import more_traps, trap_files
from testing.true_pdfs import pdf_files
from testing.true_plain import plain_files
from testing.true_rows import row_files
from testing.true_sites import site_files
from testing.true_slides import slide_files
from testing.true_sources import source_files
from testing.true_templates import template_files
from testing.true_texts import Paragraphs
from testing.true_variants import variant_files
from testing.true_wrappers import wrapper_files

#: Yields files; takes English paragraphs from what it is given.
Builder = Callable[[Paragraphs], Iterator[TrueFile]]


def all_files() -> list[TrueFile]:
    """The whole collection; the same texts at every call."""
    builders: tuple[Builder, ...] = (
        plain_files,
        markdown_files,
        markup_files,
        source_files,
        page_files,
        layout_files,
        site_files,
        pdf_files,
        trap_files,
        more_traps,
        layout_pdfs,
        wrapper_files,
        office_files,
        slide_files,
        row_files,
        other_files,
        variant_files,
        template_files,
    )
    paragraphs = Paragraphs()
    files = [file for builder in builders for file in builder(paragraphs)]
    names = [file.name for file in files]
    assert len(set(names)) == len(names), "two files with one name"
    return files


def our_texts(files: Iterable[TrueFile]) -> tuple[dict[str, str], dict[str, str]]:
    """Reads the files as a corpus: name -> all its text; name -> why it, or a part of it, was not read."""
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            (Path(folder) / file.name).write_bytes(file.content)
        corpus = read_corpus(folder, DocumentSettings())
    texts: dict[str, list[str]] = defaultdict(list)
    for document in corpus.documents:
        texts[document.path.split("#")[0]].append(document.text)
    reasons = {file.path: file.reason for file in corpus.files if file.reason}
    return {name: "\n\n".join(parts) for name, parts in texts.items()}, reasons


def score_files(files: Iterable[TrueFile], texts: dict[str, str]) -> dict[str, ReadScore]:
    """The score of each file by its name; a file without a text is lost."""
    return {file.name: score_reading(file.truth, texts.get(file.name, ""), file.optional) for file in files}
