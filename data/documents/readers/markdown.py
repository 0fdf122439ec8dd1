"""Markdown and MDX without what no rendering shows: comments, scripts and styles; each is counted.

A comment in a listing or in inline code is text, as it is for a reader of the rendered page.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted
from data.documents.readers.html_content import COMMENTS, SCRIPTS
from data.documents.readers.text import decode
from data.text.blocks import front_matter_lines

IMPORTS = "imports and exports"

_FENCE = re.compile(r"(?:[ \t>]|[-*+] |\d{1,9}[.)] )*(`{3,}(?=[^`\n]*$)|~{3,})", re.MULTILINE)
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]")
_INDENTED = re.compile(r"(?: {4}| {0,3}\t)[ \t]*\S")
_BLOCK_COMMENT = re.compile(r" {0,3}<!--")
_RAW = re.compile(r" {0,3}<(script|style)\b", re.IGNORECASE)
# [//]: # (a comment), [comment]: <> "a comment"
_REFERENCE_COMMENT = re.compile(
    r""" {0,3}\[[^\]\n]{0,40}\]:[ \t]*(?:<?#>?|<>)[ \t]*([("'].*[)"'])[ \t]*$""", re.MULTILINE
)
_MODULE = re.compile(
    r"import\s+(?:[\w$]+\s*(?:,|from\b)|[{*'\"])|"
    r"export\s+(?:const|let|var|function|default|class|async|type|interface|[{*])(?!\w)"
)
_MARK = re.compile(r"\\.|`+|<!--|\{/\*|\n")
_BACKTICKS = re.compile("`+")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_END_OF_PARAGRAPH = re.compile(r"\n[ \t]*\n|\n[ \t>]*(?:```|~~~)")


def read_markdown(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """Markdown as it stands, without comments, scripts and styles."""
    yield _read(raw, settings, mdx=False)


def read_mdx(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """MDX: Markdown with imports, exports and comments of JavaScript, which are left out as well."""
    yield _read(raw, settings, mdx=True)


def _read(raw: bytes, settings: DocumentSettings, mdx: bool) -> Extracted:
    decoded = decode(raw, settings.encoding)
    text, left_out, closed = without_comments(decoded.text, mdx)
    remarks = decoded.remarks
    if not closed:
        remarks = (*remarks, "a comment is never closed, so all text after it is left out: close it with -->")
    return Extracted(text, counts=decoded.counts, remarks=remarks, left_out=left_out)


def without_comments(text: str, mdx: bool = False) -> tuple[str, dict[str, int], bool]:
    """Markdown without comments; what was left out (kind -> characters); and whether every comment is closed."""
    if not ("<" in text or "]:" in text or mdx):  # most texts
        return text, {}, True
    scan = _Scan(text.replace("\r\n", "\n").replace("\r", "\n"), mdx)
    scan.run()
    return "".join(scan.kept), dict(scan.left_out), scan.closed


class _Scan:
    """One pass over a text from line to line; `kept` is what stays."""

    def __init__(self, text: str, mdx: bool) -> None:
        self.kept: list[str] = []
        self.left_out: Counter[str] = Counter()
        self.closed = True
        self._text = text
        self._mdx = mdx
        self._place = 0
        self._kept_to = 0  # all before it is kept or left out
        self._end = ""  # the last two characters kept
        self._paragraph_end = 0
        self._runs: dict[int, list[int]] = {}  # of backticks, by length, in the paragraph

    def run(self) -> None:
        text = self._text
        self._place = _after_lines(text, front_matter_lines(text.split("\n")))
        fence = ""
        in_list, after_blank = False, True
        while self._place < len(text):
            start = self._place
            end = text.find("\n", start)
            end = len(text) if end < 0 else end
            line = text[start:end]
            self._place = end + 1
            if fence:
                stripped = line.lstrip(" \t>").rstrip()
                if stripped.startswith(fence) and not stripped.strip(fence[0]):
                    fence = ""
            elif not line.strip():
                after_blank = True
                continue
            elif after_blank and not in_list and _INDENTED.match(line):
                continue  # a listing, and what follows it may be one
            elif opening := _FENCE.match(text, start, end):
                fence = opening[1]
            else:
                in_list = bool(_ITEM.match(line)) or (in_list and (not after_blank or line[:1] in " \t"))
                self._read_line(start, end, after_blank)
            after_blank = False
        self._keep(len(text))

    def _read_line(self, start: int, end: int, after_blank: bool) -> None:
        text = self._text
        if raw := _RAW.match(text, start):
            closing = re.compile(rf"</{raw[1]}\s*>", re.IGNORECASE).search(text, raw.end())
            stop = closing.end() if closing else len(text)
            self.left_out[SCRIPTS] += stop - raw.start()
            self._leave_out(start, stop)
        elif _BLOCK_COMMENT.match(text, start) and text.find("-->", start) < 0:
            self.closed = False
            self.left_out[COMMENTS] += len(text[start:].strip())
            self._leave_out(start, len(text))
        elif reference := _REFERENCE_COMMENT.match(text, start):
            self.left_out[COMMENTS] += len(reference[1]) - 2
            self._leave_out(start, end)
        elif self._mdx and after_blank and _MODULE.match(text, start):
            blank = _BLANK_LINE.search(text, start)
            stop = blank.start() if blank else len(text)
            self.left_out[IMPORTS] += stop - start
            self._leave_out(start, stop)
        else:
            self._read_inline(start)

    def _read_inline(self, start: int) -> None:
        """Up to the end of the line on which the last comment or code that begins on this line ends."""
        text, place = self._text, start
        while mark := _MARK.search(text, place):
            place = mark.end()
            if mark[0] == "\n":
                self._place = place
                return
            if mark[0].startswith("`"):
                place = self._end_of_code(mark.start(), place)
            elif mark[0] == "<!--" or (mark[0] == "{/*" and self._mdx):
                closing = "-->" if mark[0] == "<!--" else "*/}"
                # From the middle, since "<!-->" is one, too. What is never closed is text, as it is in a rendering.
                stop = text.find(closing, mark.start() + 2) if self.closed else -1
                if stop >= 0:
                    place = stop + 3
                    self.left_out[COMMENTS] += len(text[mark.end() : stop].strip())
                    self._leave_out(mark.start(), place)
                    place = self._kept_to
                    if text[place - 1 : place] == "\n":
                        self._place = place
                        return
        self._place = len(text)

    def _end_of_code(self, start: int, end: int) -> int:
        """Where inline code ends that these backticks may open; after them if none closes it in the paragraph."""
        if start >= self._paragraph_end:
            paragraph = _END_OF_PARAGRAPH.search(self._text, start)
            self._paragraph_end = paragraph.start() if paragraph else len(self._text)
            self._runs = {}
            for run in _BACKTICKS.finditer(self._text, start, self._paragraph_end):
                self._runs.setdefault(len(run[0]), []).append(run.start())
        places = self._runs.get(end - start, [])
        following = bisect_left(places, end)
        return places[following] + end - start if following < len(places) else end

    def _leave_out(self, start: int, stop: int) -> None:
        """Keeps all before `start` and leaves out up to `stop`; a line of which nothing stays is left out whole."""
        text = self._text
        line = text.rfind("\n", 0, start) + 1
        line_end = text.find("\n", stop)
        line_end = len(text) if line_end < 0 else line_end
        if line >= self._kept_to and not text[line:start].strip() and not text[stop:line_end].strip():
            self._keep(line)
            stop = min(line_end + 1, len(text))
            if self._end in ("", "\n\n") and text[stop : stop + 1] == "\n":  # not two blank lines
                stop += 1
        else:
            space = text[start - 1 : start] == " " and text[stop : stop + 1] in (" ", "\n", "")
            self._keep(max(start - space, self._kept_to))
        self._kept_to = stop
        self._place = max(self._place, stop)

    def _keep(self, stop: int) -> None:
        part = self._text[self._kept_to : stop]
        self.kept.append(part)
        self._end = (self._end + part[-2:])[-2:]


def _after_lines(text: str, lines: int) -> int:
    place = 0
    for _ in range(lines):
        place = text.find("\n", place) + 1 or len(text)
    return place
