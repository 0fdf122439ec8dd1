"""Files of every format that is read, each with the text that a person reads in it, written down by its builder.

The truth comes from what a builder puts into the file, never from a reader of ours or of a library.
"""

from dataclasses import dataclass


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
