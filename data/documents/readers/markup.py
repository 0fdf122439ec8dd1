"""Texts in other markups: reStructuredText, AsciiDoc, Org and TeX. Comments are left out and counted; headings become
Markdown's, and listings are fenced, so that nothing in them is taken for a heading. All else stays as it is written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

from data.documents.documents import DocumentSettings
from data.documents.readers.extracted import Extracted
from data.documents.readers.html_content import COMMENTS
from data.documents.readers.text import decode

_FENCE = "```"

# AsciiDoc
_ADOC_HEADING = re.compile(r"(={1,6})[ \t]+(\S.*)")
_ADOC_LISTING = re.compile(r"(-{4,}|\.{4,}|`{3,}\w*)[ \t]*")
_ADOC_COMMENTS = re.compile(r"/{4,}[ \t]*")
# Org
_ORG_HEADING = re.compile(r"(\*{1,6})[ \t]+(\S.*)")
_ORG_BEGIN = re.compile(r"[ \t]*#\+begin_(src|example|comment)\b.*", re.IGNORECASE)
_ORG_COMMENT = re.compile(r"[ \t]*#(?:[ \t].*)?$")
# reStructuredText
_RST_LINE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}[ \t]*")
_RST_EXPLICIT = re.compile(r"([ \t]*)\.\.(?:[ \t]+(.*))?$")
_RST_MARKUP = re.compile(r"(?:[\w+.:-]+::|_[^_].*:|__|\[[^\]]+\]|\|[^|]+\|)(?:\s|$)|_`[^`]+`:")
_RST_CODE = re.compile(r"[ \t]*\.\.[ \t]+(?:code|code-block|sourcecode|parsed-literal|highlight)::")
# TeX
_TEX_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%.*")
_TEX_HEADING = re.compile(
    r"[ \t]*\\(part|chapter|section|subsection|subsubsection|paragraph)\*?(?:\[[^\]]*\])?\{(.*)\}[ \t]*"
)
_TEX_LEVELS = {"part": 1, "chapter": 1, "section": 2, "subsection": 3, "subsubsection": 4, "paragraph": 5}
_TEX_END = r"\end{document}"
_TEX_VERBATIM = re.compile(r"\\(begin|end)\{(verbatim|lstlisting|minted|Verbatim|alltt|comment)\*?\}")

_Lines = Iterator[str]
_Convert = Callable[[list[str], Counter[str]], _Lines]


def read_asciidoc(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """AsciiDoc."""
    yield _read(raw, settings, _asciidoc)


def read_org(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """Org."""
    yield _read(raw, settings, _org)


def read_rst(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """reStructuredText."""
    yield _read(raw, settings, _rst)


def read_tex(raw: bytes, settings: DocumentSettings) -> Iterator[Extracted]:
    """TeX and LaTeX."""
    yield _read(raw, settings, _tex)


def _read(raw: bytes, settings: DocumentSettings, convert: _Convert) -> Extracted:
    decoded = decode(raw, settings.encoding)
    left_out: Counter[str] = Counter()
    lines = decoded.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    text = "\n".join(convert(lines, left_out))
    return Extracted(text, counts=decoded.counts, remarks=decoded.remarks, left_out=dict(left_out))


def _asciidoc(lines: list[str], left_out: Counter[str]) -> _Lines:
    listing = comments = ""
    for line in lines:
        bare = line.rstrip()
        if comments:
            comments = "" if bare == comments else comments
            left_out[COMMENTS] += len(line.strip()) * bool(comments)
        elif listing:
            ends = bare == listing
            listing = "" if ends else listing
            yield _FENCE if ends else line
        elif _ADOC_COMMENTS.fullmatch(line):
            comments = bare
        elif found := _ADOC_LISTING.fullmatch(line):
            listing = found[1].rstrip() if found[1][0] != "`" else found[1][:3]
            yield _FENCE
        elif line.startswith("//") and not line.startswith("///"):
            left_out[COMMENTS] += len(line[2:].strip())
        else:
            heading = _ADOC_HEADING.fullmatch(line)
            yield f"{'#' * len(heading[1])} {heading[2]}" if heading else line
    if listing:
        yield _FENCE


def _org(lines: list[str], left_out: Counter[str]) -> _Lines:
    block = ""
    for line in lines:
        if block:
            if re.fullmatch(rf"[ \t]*#\+end_{block}[ \t]*", line, re.IGNORECASE):
                if block != "comment":
                    yield _FENCE
                block = ""
            elif block == "comment":
                left_out[COMMENTS] += len(line.strip())
            else:
                yield line
        elif begin := _ORG_BEGIN.fullmatch(line):
            block = begin[1].lower()
            if block != "comment":
                yield _FENCE
        elif _ORG_COMMENT.match(line):
            left_out[COMMENTS] += len(line.strip(" \t#"))
        else:
            heading = _ORG_HEADING.fullmatch(line)
            yield f"{'#' * len(heading[1])} {heading[2]}" if heading else line


def _rst(lines: list[str], left_out: Counter[str]) -> _Lines:
    styles: list[tuple[str, bool]] = []  # of headings, in the order in which they come first
    place = 0
    while place < len(lines):
        line = lines[place]
        after = lines[place + 1] if place + 1 < len(lines) else ""
        below = lines[place + 2] if place + 2 < len(lines) else ""
        explicit = _RST_EXPLICIT.match(line)
        if explicit and not _RST_MARKUP.match(explicit[2] or ""):
            end = _indented_end(lines, place + 1, len(explicit[1]))
            if not explicit[2] and not after.strip():
                end = place + 1  # an empty comment has no body
            left_out[COMMENTS] += len(" ".join(" ".join([explicit[2] or "", *lines[place + 1 : end]]).split()))
            place = end
        elif _RST_CODE.match(line) or (line.rstrip().endswith("::") and not explicit and not after.strip()):
            yield line
            end = _indented_end(lines, place + 1, len(line) - len(line.lstrip()))
            yield from _fenced(lines[place + 1 : end])
            place = end
        elif _RST_LINE.fullmatch(line) and below.rstrip() == line.rstrip() and after.strip():
            yield f"{'#' * _level(styles, (line[0], True))} {after.strip()}"
            place += 3
        elif line.strip() and not line[0].isspace() and _underlines(after, line) and not _RST_LINE.fullmatch(line):
            yield f"{'#' * _level(styles, (after[0], False))} {line.strip()}"
            place += 2
        else:
            yield line
            place += 1


def _underlines(line: str, title: str) -> bool:
    # Three signs are enough, as for Markdown; shorter ones than the title are a warning in docutils.
    return _RST_LINE.fullmatch(line) is not None and len(line.rstrip()) >= min(len(title.rstrip()), 4)


def _level(styles: list[tuple[str, bool]], style: tuple[str, bool]) -> int:
    if style not in styles:
        styles.append(style)
    return min(styles.index(style) + 1, 6)


def _indented_end(lines: list[str], start: int, indent: int) -> int:
    """The line after a block that is indented further; blank lines at its end are not its own."""
    end = place = start
    while place < len(lines):
        line = lines[place]
        if line.strip():
            if len(line) - len(line.lstrip()) <= indent:
                break
            end = place + 1
        place += 1
    return end


def _fenced(block: list[str]) -> _Lines:
    first = next((place for place, line in enumerate(block) if line.strip()), len(block))
    if first < len(block):
        yield from ["", _FENCE, *block[first:], _FENCE]


def _tex(lines: list[str], left_out: Counter[str]) -> _Lines:
    verbatim = ""
    for number, line in enumerate(lines, start=1):
        found = _TEX_VERBATIM.search(line)
        if verbatim:
            ends = found is not None and found[1] == "end" and found[2] == verbatim
            if verbatim == "comment":
                left_out[COMMENTS] += 0 if ends else len(line.strip())
            elif ends:
                yield from (_FENCE, line)
            else:
                yield line
            verbatim = "" if ends else verbatim
            continue
        comment = _TEX_COMMENT.search(line)
        kept = line
        if comment:
            start = comment.start() + len(comment[1])
            left_out[COMMENTS] += len(line[start + 1 :].strip(" \t%"))
            kept = line[:start].rstrip()
            if not kept:
                continue
        if found and found[1] == "begin" and (comment is None or found.start() < comment.start()):
            verbatim = found[2]
            if verbatim != "comment":
                yield from (kept, _FENCE)
            continue
        if _TEX_END in kept:
            left_out["text after the end"] += len(" ".join(" ".join(lines[number:]).split()))
            yield kept
            return
        heading = _TEX_HEADING.fullmatch(kept)
        yield f"{'#' * _TEX_LEVELS[heading[1]]} {heading[2]}" if heading else kept
