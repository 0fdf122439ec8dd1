"""PDF by pypdf, page by page: without what repeats at the head and foot of pages, and with words joined at line ends.

A PDF holds glyphs on pages; lines and paragraphs are read off their lengths:
    a line that is clearly shorter than most ends its paragraph, unless the next goes on in small letters
    a line among the first or last three of a page that stands on many pages, numbers aside, is a header or footer
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart

_EDGE_LINES = 3
_LEAST_REPEATS = 3  # pages
_REPEATED_SHARE = 1 / 3  # of the pages: left and right pages may have headers of their own
_NUMBER = re.compile(r"\d{1,9}")
_SHORT = 0.75  # of a full line
_FULL_LINE = 40  # characters; a page of shorter lines is no running text
_STREAM_LIMITS = ("zlib", "lzw", "run_length", "array_based_stream")
_SENTENCE_END = re.compile(r"[.!?…:;。！？][\"'”’»)\]]*$")
_BROKEN_WORD = re.compile(r"\b([^\W\d_]++)[-\u00ad]\n([^\W\d_]++)")
_COMPOUND = re.compile(r"\b[^\W\d_]++(?:-[^\W\d_]++)+")


def read_pdf(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """All pages as one plain text with their offsets. A page that cannot be read is a fault, the others are read."""
    pages: list[list[str]] = []
    characters = 0
    for number, text in _page_texts(raw, settings):
        if isinstance(text, UnreadPart):
            yield text
            text = ""
        characters += len(text)
        if characters > settings.max_document_characters:
            raise Unreadable(
                f"over documents.max_document_characters={settings.max_document_characters:,} at page {number}: "
                "raise it or cut the file"
            )
        pages.append([line for line in (" ".join(line.split()) for line in text.splitlines()) if line])
    if not any(pages):
        raise Unreadable(f"no text on its {len(pages)} pages (scanned images?): run text recognition (OCR) first")
    dropped = _drop_repeated(pages)
    kept = [_paragraphs(lines) for lines in pages]
    joined = 0
    vocabulary = Counter(word.casefold() for text in kept for word in _COMPOUND.findall(text))
    for number, text in enumerate(kept):
        kept[number], count = _join_words(text, vocabulary)
        joined += count
    text, starts = _join_pages(kept)
    counts = {
        "repeated_lines_dropped": dropped,
        "broken_words_joined": joined,
        "pages_without_text": sum(not lines for lines in pages),
    }
    yield Extracted(text, pages=starts, counts={name: count for name, count in counts.items() if count})


def _page_texts(raw: bytes, settings: DocumentSettings) -> Iterator[tuple[int, str | UnreadPart]]:
    """(page number from 1, its text) of each page."""
    import logging

    from pypdf import PdfReader, apply_configuration, get_configuration
    from pypdf.errors import DependencyError, PyPdfError

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it tells of every fault that it mends
    limits = {}
    for name in (f"{stem}_maximum_output_length" for stem in _STREAM_LIMITS):
        limits[name] = min(getattr(get_configuration(), name), settings.max_unpacked_bytes)
    # pypdf meets broken files with many kinds of errors, and none of them may end the run.
    with apply_configuration(**limits):
        try:
            reader = PdfReader(io.BytesIO(raw))
            if reader.is_encrypted and not reader.decrypt(""):
                raise Unreadable("encrypted: remove the password")
            count = len(reader.pages)
        except Unreadable:
            raise
        except DependencyError as error:
            raise Unreadable(f"encrypted in a way that cannot be read ({error})") from None
        except (
            PyPdfError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            IndexError,
            RecursionError,
            OSError,
        ) as error:
            raise Unreadable(f"a broken PDF ({_first_line(error)}): print it to PDF anew") from None
        for number in range(count):
            try:
                yield number + 1, reader.pages[number].extract_text()
            except (MemoryError, KeyboardInterrupt):
                raise
            except Exception as error:
                yield number + 1, UnreadPart(f"page {number + 1}", f"cannot be read ({_first_line(error)})")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _drop_repeated(pages: list[list[str]]) -> int:
    """Takes headers and footers off the pages, from the outermost line inwards; how many lines."""
    least = max(_LEAST_REPEATS, len(pages) * _REPEATED_SHARE)
    dropped = 0
    for end in (0, -1):
        for _ in range(_EDGE_LINES):
            keys = [_forms(lines[end], page) if len(lines) > 1 else set() for page, lines in enumerate(pages)]
            found = Counter(form for forms in keys for form in forms)
            repeated = {form for form, count in found.items() if count >= least}
            if not repeated:
                break
            for lines, forms in zip(pages, keys, strict=True):
                if forms & repeated:
                    lines.pop(end)
                    dropped += 1
    return dropped


def _forms(line: str, page: int) -> set[str]:
    """What a running line has in common with those of other pages: itself, or itself but for a number that counts the
    pages. Rows of a table, whose numbers do not, have nothing in common."""
    folded = line.casefold()
    numbers = list(_NUMBER.finditer(folded))
    forms = {folded}
    for match in (*numbers[:1], *numbers[-1:]):
        forms.add(f"{folded[: match.start()]}#{int(match[0]) - page}{folded[match.end() :]}")
    return forms


def _paragraphs(lines: Sequence[str]) -> str:
    """The lines with a blank one after each that ends a paragraph."""
    lengths = sorted(map(len, lines))
    full = lengths[int(len(lengths) * 0.9)] if lengths else 0
    parts: list[str] = []
    for line, following in pairwise([*lines, ""]):
        ends = full >= _FULL_LINE and len(line) < _SHORT * full and not following[:1].islower()
        parts.append(line + ("\n\n" if ends else "\n"))
    return "".join(parts).strip()


def _join_words(text: str, compounds: Counter[str]) -> tuple[str, int]:
    """Words that were broken at line ends, whole again; how many. A hyphen that the document writes itself stays."""
    joined = 0

    def whole(match: re.Match[str]) -> str:
        nonlocal joined
        first, rest = match.groups()
        if not rest[0].islower():
            return match[0]
        joined += 1
        keeps = f"{first}-{rest}".casefold() in compounds
        return f"{first}-{rest}" if keeps else first + rest

    return _BROKEN_WORD.sub(whole, text), joined


def _join_pages(pages: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """One text, and where each page begins in it. A sentence may go on over the page."""
    text = ""
    starts = []
    for page in pages:
        if text and page:
            goes_on = page[0].islower() and not _SENTENCE_END.search(text[-8:])
            text += "\n" if goes_on else "\n\n"
        starts.append(len(text))
        text += page
    return text, tuple(starts)
