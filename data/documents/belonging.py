"""What a chunk belongs to: the title of its document and, for a chunk from the middle, its record, table and line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from data.documents.cutting import CountTokens, Piece
from data.documents.documents import Document
from data.documents.sections import Section, Span
from data.text.lines import key_of
from data.text.records import names_something

_WORDS = re.compile(r"[^\W\d_]{3}|[^\W\d_a-zA-Z]{2}")
_NUMBERED = re.compile(r"[^\W\d_]*[\W_]*\d+[\W\d_]*")  # "card-017", "p17": a name that says nothing
_LONGEST_TITLE = 100  # characters
_LEAST = 4  # a field begins where this part of the budget is left
_LEAST_BUDGET = 8  # tokens
_CHARACTERS = 6  # most characters of a token that are worth counting, to bound the work on long lines


def document_names(document: Document, sections: Sequence[Section]) -> list[str]:
    """For each section the title of its document, empty if its headings say it.

    The title as the reader gave it; else the file name, if it has words and is not one word with a number. A document's
    title is its first heading by default, which says what the whole document is about only if it stands above all
    others.
    """
    tops = {section.heading_path[0].casefold() for section in sections if section.heading_path}
    inside = {heading.casefold() for section in sections for heading in section.heading_path}
    stem = PurePosixPath(document.path.partition("#")[0]).stem
    given = document.title.casefold() not in inside and document.title != PurePosixPath(document.path).stem
    name = _as_name(document.title if given else "" if _NUMBERED.fullmatch(stem) else stem)
    covered = len(tops) == 1 and not given
    return [
        "" if (covered and section.heading_path) or name.casefold() in map(str.casefold, section.heading_path) else name
        for section in sections
    ]


def _as_name(title: str) -> str:
    name = " ".join(re.split(r"[\s_]+", title)).strip()
    return _shortened(name, _LONGEST_TITLE) if _WORDS.search(name) else ""


class Belonging:
    """Writes what the chunks of one document belong to, within a bound of tokens.

    Few lines are embedded with a chunk: all parts of a record have them, and more of them would make the parts alike,
    so that a question about the first fields finds each of them before the part that holds the fields. BM25 takes more.

    Args:
        naming: fields that name what the whole document is about.
        max_tokens: of a chunk. Fields have an eighth of it, for BM25 a quarter; the header row has an eighth, the
            beginning of the line a sixteenth; each has `_LEAST_BUDGET` tokens or more.
    """

    def __init__(self, text: str, naming: Sequence[Span], count_tokens: CountTokens, max_tokens: int) -> None:
        self._text = text
        self._naming = naming
        self._count_tokens = count_tokens
        self._quarter, self._eighth, self._sixteenth = (max(max_tokens // part, _LEAST_BUDGET) for part in (4, 8, 16))
        self._known: dict[tuple[tuple[Span, ...], int], tuple[str, ...]] = {}

    def of(self, piece: Piece, start: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What a chunk from `start` that begins with the piece belongs to, and more fields of its record for BM25.

        First fields of the record, those that name it first of all; the header row of the table; the beginning of the
        line. Often none.
        """
        own = piece.group.fields if start > piece.group.start or self._is_above(piece) else ()
        fields = tuple(span for span in dict.fromkeys((*self._naming, *own)) if span[1] <= start)
        exact = [
            self._cut(span, budget)
            for span, budget in ((piece.header, self._eighth), (piece.label, self._sixteenth))
            if span and span[0] < start
        ]
        few, more = (self._choose(fields, budget) for budget in (self._eighth, self._quarter))
        shown = tuple(dict.fromkeys((*few, *(text for text in exact if text and not _is_said(text, few)))))
        return shown, tuple(text for text in more if text not in shown)

    def _is_above(self, piece: Piece) -> bool:
        """Whether the fields of a group are those of a record above it."""
        return any(span[1] <= piece.group.start for span in piece.group.fields[:1])

    def _choose(self, fields: tuple[Span, ...], budget: int) -> tuple[str, ...]:
        if (fields, budget) not in self._known:
            self._known[fields, budget] = tuple(self._chosen(fields, budget))
        return self._known[fields, budget]

    def _chosen(self, fields: Sequence[Span], budget: int) -> Iterable[str]:
        """The fields that fit, in order; the last may be cut."""
        chosen: dict[Span, str] = {}
        whole = budget
        naming = [span for span in fields if names_something(key_of(self._text[slice(*span)]))]
        for span in dict.fromkeys((*naming, *fields)):
            text = self._cut(span, budget if span in naming else min(budget, whole // 2))
            if not _has_value(text):
                break
            chosen[span] = text
            budget -= self._count_tokens([text])[0]
            if budget < whole // _LEAST:
                break
        return (chosen[span] for span in sorted(chosen))

    def _cut(self, span: Span, budget: int) -> str:
        """The text on one line, cut between words to the budget; empty if there is no room for its beginning."""
        text = " ".join(self._text[span[0] : min(span[1], span[0] + budget * _CHARACTERS)].split()).strip("| ")
        while text and self._count_tokens([text])[0] > budget:
            text = _shortened(text, max(len(text) * 3 // 4, 1)).rstrip("| ") if len(text) > _CHARACTERS else ""
        return text


def _has_value(text: str) -> bool:
    return key_of(text) != "" and not text.endswith((":", "=", "："))


def _is_said(text: str, lines: Iterable[str]) -> bool:
    return any(line.startswith(text) for line in lines)


def _shortened(text: str, most: int) -> str:
    """The text up to the last complete word within `most` characters; cut at them where no word fits."""
    if len(text) <= most:
        return text
    short, _, _ = text[: most + 1].rpartition(" ")
    return (short or text[:most]).strip()
