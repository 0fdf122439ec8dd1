"""PDF by PDFium: positions of characters to lines, lines to paragraphs, page by page.

    pdf_pages    the pieces of text of a page, form fields, comments
    pdf_layout   pieces to lines: rows, columns, superscripts
    pdf_text     lines to paragraphs, without repeated headers and footers
    hyphens      words broken at the ends of lines
    letters      pages whose fonts do not say which letters they show

PDFium and not pypdf: it joins words that are drawn letter by letter or word by word, and gives the position of each.
"""

from __future__ import annotations

from collections.abc import Iterator

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted, Unreadable, UnreadPart
from data.documents.readers.hyphens import join_words, vocabulary_of
from data.documents.readers.letters import is_nonsense
from data.documents.readers.pdf_pages import Page, read_pages
from data.documents.readers.pdf_text import drop_repeated, join_pages, paragraphs

_SHOWN = 10  # page numbers in a remark
_NO_LETTERS = "its fonts do not say which letters they show: run text recognition (OCR) on it"


def read_pdf(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted | UnreadPart]:
    """All pages as one plain text with page offsets; a page that cannot be read is an `UnreadPart`."""
    pages: list[Page] = []
    faults: list[UnreadPart] = []
    remarks: list[str] = []
    characters = nonsense = 0
    for number, page in enumerate(read_pages(raw, settings.passwords()), start=1):
        if isinstance(page, str):
            remarks.append(page)
            continue
        if isinstance(page, Page):
            text = "\n".join(line.text for line in page.lines)
            if is_nonsense(text, page.unmapped):
                nonsense += 1
                page = UnreadPart(f"page {number}", _NO_LETTERS)
            else:
                characters += len(text)
        if isinstance(page, UnreadPart):
            faults.append(page)
            page = Page(number, 0.0)
        if characters > settings.max_document_characters:
            raise Unreadable(
                f"over documents.max_document_characters={settings.max_document_characters:,} at page {number}: "
                "raise it or split the file"
            )
        pages.append(page)
    if nonsense and not any(page.lines for page in pages):
        raise Unreadable(f"no text that can be read on its {len(pages)} pages: {_NO_LETTERS}")
    if not any(page.lines for page in pages):
        yield from (fault for fault in faults if len(faults) < len(pages))
        why = f" ({faults[0].reason})" if faults else " (scanned images?): run text recognition (OCR) first"
        raise Unreadable(f"no text on its {len(pages)} pages{why}")
    yield from faults
    yield _joined(pages, remarks)


def _joined(pages: list[Page], remarks: list[str]) -> Extracted:
    kept, left_out, dropped = drop_repeated(pages)
    text, starts = join_pages([paragraphs(lines) for lines in kept])
    vocabulary = vocabulary_of(text)
    parts, joined = [], 0
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        part, count = join_words(text[start:end], vocabulary)
        parts.append(part)
        joined += count
    lengths = [len(part) for part in parts]
    counts = {
        "repeated_lines_dropped": dropped,
        "broken_words_joined": joined,
        "pages_without_text": sum(not page.lines for page in pages),
    }
    for page in pages:
        left_out.update(page.left_out)
    return Extracted(
        "".join(parts),
        pages=tuple(sum(lengths[:number]) for number in range(len(parts))),
        counts={name: count for name, count in counts.items() if count},
        remarks=(*_remarks(pages), *remarks),
        left_out={what: count for what, count in left_out.items() if count},
    )


def _remarks(pages: list[Page]) -> Iterator[str]:
    if empty := [page.number for page in pages if not page.lines]:
        listed = ", ".join(map(str, empty[:_SHOWN])) + (f" and {len(empty) - _SHOWN} more" * (len(empty) > _SHOWN))
        where = f"page {listed}" if len(empty) == 1 else f"pages {listed}"
        yield f"no text on {where}: if they are scanned, run text recognition (OCR) on them"
    if unmapped := sum(page.unmapped for page in pages):
        yield f"{unmapped} characters whose fonts do not say which they are"
