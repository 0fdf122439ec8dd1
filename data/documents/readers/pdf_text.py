"""The text of a PDF from the lines of its pages: without repeated headers and footers, in paragraphs.

Headers and footers: a line among the first or last three of a page that stands at the same height on many pages,
numbers that count the pages aside. It stays where it first stands, and is left out of the other pages and counted; bare
page numbers are left out everywhere. Where such lines would make up more than a third of the text (forms that repeat
what is filled in), only those apart from the rest of the page are taken.

Paragraphs: a line ends one if a wider gap, another size or an indented line follows, or if it is clearly shorter than
most, the next does not go on in lower case, and it ends a sentence or the next is a full line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from data.documents.readers.pdf_pages import Page
from data.documents.readers.pdf_pieces import Line

HEADERS = "repeated page headers and footers"
PAGE_NUMBERS = "page numbers"

_EDGE_LINES = 3
_LEAST_REPEATS = 3  # pages
_REPEATED_SHARE = 1 / 3  # of the pages: left and right pages may have different headers
_MOST_OF_TEXT = 1 / 3  # of all lines
_SAME_HEIGHT = 4.0  # points
_APART = 1.6  # times the usual distance of lines
_NUMBER = re.compile(r"\d{1,9}")
_PAGE_NUMBER = re.compile(
    r"[\W_]*(?:(?:page|pages|p|pg|seite|página|pagina|pág|sida|side|blad|stran[aa]?|strona|oldal|sivu|стр|страница|第)"
    r"[\W_]*)?\d{1,5}(?:[\W_]*(?:of|von|de|di|du|av|af|van|из|z|/|\|)[\W_]*\d{1,5})?[\W_]*(?:页|頁|ページ)?[\W_]*",
    re.IGNORECASE,
)
_SHORT = 0.75  # of a full line
_FULL_LINE = 40  # characters; a page of shorter lines is not prose
_PARAGRAPH_GAP = 1.35  # times the usual distance of lines
_OTHER_SIZE = 0.12
_INDENT = 0.8  # of the size
_BROKEN_WORD = re.compile("\\w[-\u00ad\u2010]$")
_SENTENCE_END = re.compile(r"[.!?…:;。！？][\"'”’»)\]]*$")


def drop_repeated(pages: Sequence[Page]) -> tuple[list[list[Line]], Counter[str], int]:
    """The lines of the pages without repeated headers and footers; the characters left out, by kind; how many lines."""
    found = _repeated(pages, apart=False)
    if len({(page, line) for page, line, _ in found}) > _MOST_OF_TEXT * sum(len(page.lines) for page in pages):
        found = _repeated(pages, apart=True)
    left_out: Counter[str] = Counter()
    gone: list[set[int]] = [set() for _ in pages]
    shown: set[str] = set()
    for page, index, form in sorted(found):
        text = pages[page].lines[index].text
        number = bool(_PAGE_NUMBER.fullmatch(text))
        if form not in shown and not number:
            shown.add(form)
            continue
        gone[page].add(index)
        left_out[PAGE_NUMBERS if number else HEADERS] += len(text)
    kept = [[line for i, line in enumerate(page.lines) if i not in gone[n]] for n, page in enumerate(pages)]
    return kept, left_out, sum(map(len, gone))


def _repeated(pages: Sequence[Page], apart: bool) -> list[tuple[int, int, str]]:
    """(page, line, form) of the headers and footers, from the outermost line of each page inwards."""
    least = max(_LEAST_REPEATS, len(pages) * _REPEATED_SHARE)
    taken: list[tuple[int, int, str]] = []
    for top in (True, False):
        edges = [_edge(page.lines, top, apart) for page in pages]
        for depth in range(_EDGE_LINES):
            forms: list[set[str]] = []
            counts: dict[str, list[float]] = {}
            for number, (page, edge) in enumerate(zip(pages, edges, strict=True)):
                here = _forms(page.lines[edge[depth]].text, number) if depth < len(edge) else set()
                forms.append(here)
                for form in here:
                    counts.setdefault(form, []).append(page.lines[edge[depth]].y)
            repeated = {form: heights for form, heights in counts.items() if len(heights) >= least}
            any_here = False
            for number, edge in enumerate(edges):
                height = pages[number].lines[edge[depth]].y if depth < len(edge) else 0.0
                same = [
                    form
                    for form in sorted(forms[number] & repeated.keys())
                    if sum(abs(y - height) <= _SAME_HEIGHT for y in repeated[form]) >= least
                ]
                if same:
                    taken.append((number, edge[depth], same[0]))
                    any_here = True
                else:
                    edges[number] = edge[:depth]  # the body begins
            if not any_here:
                break
    return taken


def _edge(lines: Sequence[Line], top: bool, apart: bool) -> list[int]:
    """The first or last lines of a page by height, the outermost first; never all of them."""
    order = sorted(range(len(lines)), key=lambda index: lines[index].y, reverse=not top)
    edge = order[: min(_EDGE_LINES, len(lines) - 1)]
    if not apart or not edge:
        return edge
    heights = sorted(line.y for line in lines)
    usual = median([below - above for above, below in pairwise(heights) if below - above > 1] or [0.0])
    for count in range(len(edge), 0, -1):
        inner = order[count]
        if abs(lines[inner].y - lines[edge[count - 1]].y) > _APART * usual:
            return edge[:count]
    return []


def _forms(line: str, page: int) -> set[str]:
    """The forms in which a header or footer repeats: the line itself, and the line with a number that counts the pages
    replaced by its difference from the page number. Table rows, whose numbers do not count pages, share no form."""
    folded = line.casefold()
    numbers = list(_NUMBER.finditer(folded))
    forms = {folded}
    for match in (*numbers[:1], *numbers[-1:]):
        forms.add(f"{folded[: match.start()]}#{int(match[0]) - page}{folded[match.end() :]}")
    return forms


def paragraphs(lines: Sequence[Line]) -> str:
    """The lines joined, with a blank line after each that ends a paragraph."""
    lengths = sorted(len(line.text) for line in lines)
    full = lengths[int(len(lengths) * 0.9)] if lengths else 0
    steps = [below.y - above.y for above, below in pairwise(lines) if 0 < below.y - above.y < 4 * above.size]
    usual = median(steps) if steps else 0.0
    parts: list[str] = []
    for line, following in pairwise([*lines, None]):
        assert line is not None
        ends = following is None or _ends_paragraph(line, following, full, usual)
        parts.append(line.text + ("\n\n" if ends else "\n"))
    return "".join(parts).strip()


def _ends_paragraph(line: Line, following: Line, full: int, usual: float) -> bool:
    goes_on = following.text[:1].islower() and not _SENTENCE_END.search(line.text)
    goes_on = goes_on or bool(_BROKEN_WORD.search(line.text) and following.text[:1].isalnum())
    step = following.y - line.y
    if following.degrees != line.degrees or abs(following.size - line.size) > _OTHER_SIZE * line.size:
        return True
    if following.begins or step <= 0:  # the next column, or text in another direction
        return not goes_on
    if step > _PARAGRAPH_GAP * usual + 0.5:
        return not goes_on or step > 2.5 * usual
    if full >= _FULL_LINE and len(line.text) < _SHORT * full and not (goes_on or following.text[:1].islower()):
        # Of several short lines, as in a table or an address, only sentences end paragraphs.
        return bool(_SENTENCE_END.search(line.text)) or len(following.text) >= _SHORT * full
    return bool(_SENTENCE_END.search(line.text)) and following.x0 > line.x0 + _INDENT * line.size and not goes_on


def join_pages(pages: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """One text, and the offset of each page in it. A sentence may continue on the next page."""
    text = ""
    starts = []
    for page in _whole_words(pages):
        if text and page:
            goes_on = page[0].islower() and not _SENTENCE_END.search(text[-8:])
            text += "\n" if goes_on else "\n\n"
        starts.append(len(text))
        text += page
    return text, tuple(starts)


def _whole_words(pages: Sequence[str]) -> list[str]:
    """The pages, with the rest of a word that is broken between two of them on the first."""
    whole = list(pages)
    for number, (page, following) in enumerate(pairwise(whole)):
        if page and _BROKEN_WORD.search(page) and following[:1].islower():
            rest, *others = following.split(maxsplit=1)
            whole[number] = f"{page}\n{rest}"
            whole[number + 1] = "".join(others)
    return whole
