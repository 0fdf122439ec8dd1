"""Files of every format that is read, each with the text that a person reads in it, written down by its builder.

The truth comes from what a builder puts into the file, never from a reader of ours or of a library.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from testing.true_texts import Paragraphs


@dataclass(frozen=True)
class TrueFile:
    """A file and its true text.

    Attributes:
        name: with the suffix that chooses the reader.
        truth: what a person reads, block by block: a paragraph, a heading, a list item, a row of a table.
        optional: what a reader may keep or leave out: menus, page numbers, names of sheets, a heading that repeats.
        hard: what is hard about the file.
    """

    name: str
    content: bytes
    truth: tuple[str, ...]
    optional: tuple[str, ...] = ()
    hard: str = ""

    @property
    def suffix(self) -> str:
        """The suffix of the name, with its dot."""
        return self.name[self.name.rindex(".") :]


#: Yields files; takes English paragraphs from what it is given.
Builder = Callable[[Paragraphs], Iterator[TrueFile]]


def all_files() -> list[TrueFile]:
    """The whole collection, the same files at every call."""
    from testing.true_layouts import layout_files
    from testing.true_markdown import markdown_files
    from testing.true_markup import markup_files
    from testing.true_office import office_files
    from testing.true_others import other_files
    from testing.true_pages import page_files
    from testing.true_pdf_traps import trap_files
    from testing.true_pdfs import pdf_files
    from testing.true_plain import plain_files
    from testing.true_rows import row_files
    from testing.true_slides import slide_files

    builders: tuple[Builder, ...] = (
        plain_files,
        markdown_files,
        markup_files,
        page_files,
        layout_files,
        pdf_files,
        trap_files,
        office_files,
        slide_files,
        row_files,
        other_files,
    )
    paragraphs = Paragraphs()
    files = [file for builder in builders for file in builder(paragraphs)]
    names = [file.name for file in files]
    assert len(set(names)) == len(names), "two files with one name"
    return files
