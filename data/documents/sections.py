"""The sections of a document, and in them the records and paragraphs that chunks keep whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from data.documents.documents import Document, is_plain
from data.text.blocks import Block, read_blocks
from data.text.lines import key_of
from data.text.records import names_something, record_kind, records_of
from data.text.sentences import trim_span

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph from `start` to `end`; the headings before it are between `start` and `body`."""

    start: int
    body: int
    end: int


@dataclass(frozen=True, slots=True)
class Section:
    """The paragraphs below one heading path, outermost heading first."""

    heading_path: tuple[str, ...]
    paragraphs: tuple[Paragraph, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Consecutive paragraphs that a chunk keeps whole where they fit: a record, or one paragraph.

    Attributes:
        record: whether it is a record, an entry of a log included.
        fields: the lines that say what a chunk from its middle belongs to, in order; of a paragraph that follows a
            record, those of the record.
    """

    paragraphs: tuple[Paragraph, ...]
    record: bool = False
    fields: tuple[Span, ...] = ()

    @property
    def start(self) -> int:
        return self.paragraphs[0].start

    @property
    def end(self) -> int:
        return self.paragraphs[-1].end


def sections_of(document: Document) -> list[Section]:
    """The sections, in order."""
    sections: list[tuple[tuple[str, ...], list[Paragraph]]] = []
    above: list[tuple[int, str]] = []  # (level, title), outermost first
    waiting: list[Block] = []  # headings not yet followed by a paragraph
    for block in read_blocks(document.text, is_plain(document.path)):
        if block.level:
            above = [(level, title) for level, title in above if level < block.level]
            above.append((block.level, block.title))
            waiting.append(block)
            continue
        if waiting or not sections:
            sections.append((tuple(title for _, title in above), []))
        sections[-1][1].append(Paragraph(waiting[0].start if waiting else block.start, block.start, block.end))
        waiting = []
    if waiting:  # at the end of the document, with no text after them
        path = tuple(title for _, title in above)
        sections.append((path, [Paragraph(waiting[0].start, waiting[0].start, waiting[-1].end)]))
    return [Section(path, tuple(paragraphs)) for path, paragraphs in sections]


def groups_of(text: str, section: Section) -> list[Group]:
    """The records and other paragraphs of a section, in order.

    Where several records begin with the same key, each reaches to the next, blank lines and other paragraphs included.
    Else each paragraph is a group, and those after a record that begins the section belong to it.
    """
    pieces = [piece for paragraph in section.paragraphs for piece in _pieces(text, paragraph)]
    first = next((key for _, _, key in pieces if key), "")
    if sum(key == first for _, _, key in pieces) < 2:
        first = ""
    groups: list[Group] = []
    for paragraph, record, key in pieces:
        open_record = bool(first) and bool(groups) and bool(groups[-1].fields)
        if open_record and key != first:
            groups[-1] = replace(groups[-1], paragraphs=(*groups[-1].paragraphs, paragraph))
            continue
        fields = _fields(text, paragraph) if key else ()
        above = groups[0].fields if groups and not first and groups[0].record else ()
        groups.append(Group((paragraph,), record, above or fields))
    return groups


def naming_fields(text: str, sections: Sequence[Section]) -> tuple[Span, ...]:
    """The lines that name what the document is about in the record that it begins with, above all headings; front
    matter is one. None if other records follow there: then it is about one of many."""
    groups = groups_of(text, sections[0]) if sections and not sections[0].heading_path else []
    if not groups or [group for group in groups if group.record] != groups[:1]:
        return ()
    return tuple(span for span in groups[0].fields if names_something(key_of(text[slice(*span)])))


def _pieces(text: str, paragraph: Paragraph) -> Iterator[tuple[Paragraph, bool, str]]:
    """The records in a paragraph, else the paragraph: each with whether it is a record, and its first key."""
    body = text[paragraph.body : paragraph.end]
    kind = record_kind(body)
    if kind is None:
        yield paragraph, False, ""
        return
    for number, record in enumerate(records_of(body, kind)):
        start, end = trim_span(text, paragraph.body + record.start, paragraph.body + record.end)
        yield Paragraph(start if number else paragraph.start, start, end), True, record.key


def _fields(text: str, paragraph: Paragraph) -> tuple[Span, ...]:
    """The fields of a record that are not indented deeper than its first."""
    fields: list[Span] = []
    offset, deepest = paragraph.body, None
    for line in text[paragraph.body : paragraph.end].split("\n"):
        indent = len(line) - len(line.lstrip())
        if key_of(line) and (deepest is None or indent <= deepest):
            deepest = indent if deepest is None else deepest
            fields.append(trim_span(text, offset, offset + len(line)))
        offset += len(line) + 1
    return tuple(fields)
