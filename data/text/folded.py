"""A text with its typography folded, and where each character came from.

Two texts that a reader takes for the same have the same folded text, whatever the program that wrote them. It is
computed once for a text and searched often.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache, lru_cache

from data.text.words import LETTER

Span = tuple[int, int]

# Han, kana, Thai, Lao, Burmese, Khmer and their punctuation: white space beside them means nothing. Not Hangul, whose
# words have spaces, nor full-width Latin letters.
_NO_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff0f"
    "\uff1a-\uff20\uff3b-\uff40\uff5b-\uff9f"
)
#: Characters that stand for others; "" is left out.
TYPOGRAPHY = (
    dict.fromkeys("‘’‚‛′´`ʼʻ", "'")
    | dict.fromkeys("“”„‟″«»", '"')
    | dict.fromkeys("‐‑‒–—―−", "-")
    | dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", "")
    | {"…": "...", "ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl"}
)
# In addition, where answers are looked for: one mark for all quotations, and the punctuation of CJK scripts.
_ALSO = dict.fromkeys('"‹›「」『』《》〈〉', "'") | {
    "。": ".",
    "、": ",",
    "〜": "~",
    "œ": "oe",
    "Œ": "oe",
    "æ": "ae",
    "Æ": "ae",
    "ـ": "",
    "・": "",
    "\u200e": "",
    "\u200f": "",
}
# Compatibility characters that mean something else than the letters and digits in them: 10² is not 102.
_OTHER_MEANING = ("<super>", "<sub>", "<fraction>", "<circle>")
# Where characters have compatibility forms, or forms of several characters in lower case.
_RANGES = (
    (0x80, 0x3400), (0xA000, 0xAC00), (0xF900, 0x10000), (0x1D400, 0x1D800), (0x1F100, 0x1F300), (0x2F800, 0x2FA20)
)  # fmt: skip
# White space that means nothing: before "%" and, in French, before high punctuation and inside quotation marks.
_NOTHING = r"[^\S\n]+(?=[%;:!?»])|(?<=«)[^\S\n]+"
# The asterisks of Markdown's emphasis, runs of quotation marks, and white space that is not one space.
_MARKUP = r"(?<!\w)\*{1,3}(?=\w)|(?<=[\w.,;:!?)])\*{1,3}(?!\w)|[\"'`]{2,}|\s{2,}|[^\S ]"
_ASCII_SPECIAL = re.compile(rf"(?P<nothing>{_NOTHING})|{_MARKUP}|[\"`]")
_DIGIT_GROUP = re.compile(r"\d[.,]$")
_ARTICLE = re.compile(r"^(?:an?|the) (?=\w{2})")
_CJK_NUMERALS = frozenset("〇零一二三四五六七八九十百千万億兆亿两")


class SearchText:
    """A text, case-folded, with typography, composition, widths and white space normalized.

    Equal are: composed and combining accents; ligatures and their letters; full-width and half-width characters and
    the usual ones; curly, straight, single and double quotation marks; all dashes; all white space, and in scripts
    without spaces between words none. Soft hyphens, characters of no width and the dots between katakana names are
    left out. Superscripts, fractions and circled numbers stay what they are.
    """

    def __init__(self, text: str) -> None:
        pieces: list[str] = []
        # The folded offset, start and end in the text of each piece; whether its characters correspond one to one.
        self._offsets: list[int] = []
        self._sources: list[tuple[int, int, bool]] = []
        done = length = 0
        for match in (_ASCII_SPECIAL if text.isascii() else _special()).finditer(text):
            start, end = match.span()
            if done < start:
                pieces.append(text[done:start])
                self._add(length, done, start, True)
                length += start - done
            folded = "" if match.lastgroup == "nothing" else _fold_special(match[0])
            if folded:
                pieces.append(folded)
                self._add(length, start, end, False)
                length += len(folded)
            done = end
        if done < len(text):
            pieces.append(text[done:])
            self._add(length, done, len(text), True)
        # Of the characters that are not special each has a case-folded form of one character.
        self.folded = "".join(pieces).casefold()

    def _add(self, offset: int, start: int, end: int, plain: bool) -> None:
        self._offsets.append(offset)
        self._sources.append((start, end, plain))

    def source(self, start: int, end: int) -> Span:
        """The span in the original text of a slice of the folded one, which is not empty."""
        return self._piece(start)[0], self._piece(end - 1)[1]

    def _piece(self, place: int) -> Span:
        """The span in the original text of one folded character."""
        number = bisect_right(self._offsets, place) - 1
        start, end, plain = self._sources[number]
        if plain:
            start += place - self._offsets[number]
            end = start + 1
        return start, end

    def find(self, phrase: str) -> Iterator[Span]:
        """The spans in the folded text of a folded phrase as complete words, in order.

        Not inside a longer word, nor inside a number: "3" is not in "3.5" nor in "1,300". In scripts without spaces
        between words it may stand anywhere.
        """
        if not phrase:
            return
        text = self.folded
        start = text.find(phrase)
        while start >= 0:
            end = start + len(phrase)
            if not _continues_before(text, start) and not _continues_after(text, end):
                yield start, end
            start = text.find(phrase, start + 1)

    def holds(self, answer: str) -> bool:
        """Whether an answer stands in the text."""
        return any(True for form in answer_forms(answer) for _ in self.find(form))


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """The folded text of a short text, without white space at its ends."""
    return SearchText(text).folded.strip()


def answer_forms(answer: str) -> list[str]:
    """The folded forms in which an answer may stand in a text, likeliest first: without the punctuation at its end,
    without the quotation marks around it, without an English article before it.

    Empty if it is only punctuation, which stands in every text.
    """
    folded = fold(answer)
    if not any(unicodedata.category(character)[0] in "LNS" for character in folded):
        return []
    form = folded.rstrip(".!? ") or folded
    inner = form[1:-1].strip() if len(form) > 2 and form[0] == form[-1] == "'" else form
    return list(dict.fromkeys((form, inner, _ARTICLE.sub("", inner))))


def _continues_before(text: str, start: int) -> bool:
    """Whether what begins here is a part of a longer word or number."""
    if start == 0:
        return False
    if text[start] in _CJK_NUMERALS and text[start - 1] in _CJK_NUMERALS:
        return True
    if not LETTER.match(text[start]):
        return False
    grouped = text[start].isdecimal() and _DIGIT_GROUP.search(text[max(0, start - 2) : start])
    return LETTER.match(text[start - 1]) is not None or bool(grouped)


def _continues_after(text: str, end: int) -> bool:
    after = text[end : end + 2]
    if not after:
        return False
    if text[end - 1] in _CJK_NUMERALS and after[0] in _CJK_NUMERALS:
        return True
    if not LETTER.match(text[end - 1]):
        return False
    grouped = after[0] in ".," and after[1:].isdecimal()
    return LETTER.match(after) is not None or (grouped and text[end - 1].isdecimal())


@lru_cache(maxsize=65536)
def _fold_special(special: str) -> str:
    if special.isspace():
        return " "
    if special[0] == "*" or special[0] == "\u00ad":
        return ""
    folded = "".join(map(_fold_character, unicodedata.normalize("NFC", special)))
    folded = unicodedata.normalize("NFC", folded)  # half-width kana and the marks of their voicing
    return "'" if folded.strip("'") == "" and folded else folded


def _fold_character(character: str) -> str:
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    folded = TYPOGRAPHY.get(character, character)
    if folded == character and not unicodedata.decomposition(character).startswith(_OTHER_MEANING):
        folded = unicodedata.normalize("NFKC", character)
    return "".join(_ALSO.get(one, one) for one in folded).casefold()


@cache
def _special() -> re.Pattern[str]:
    """What is not its own folded form, apart from its case; white space that means nothing comes first."""
    characters = [chr(code) for first, last in _RANGES for code in range(first, last) if not 0xD800 <= code < 0xE000]
    singles = {'"', "`"}
    marks = {
        chr(code)
        for first, last in ((0x1161, 0x1176), (0x11A8, 0x11C3), (0xFF9E, 0xFFA0))
        for code in range(first, last)
    }
    for character in characters:
        lower = character.casefold()
        if not character.isspace() and (len(lower) > 1 or _fold_character(character) != lower):
            singles.add(character)
        parts = unicodedata.decomposition(character).split()
        if unicodedata.combining(character):
            marks.add(character)
        elif len(parts) == 2 and not parts[0].startswith("<"):
            marks.add(chr(int(parts[1], 16)))  # the second of a pair that has a composed form
    quotes = "".join(sorted(character for character in singles if _fold_character(character) == "'"))
    single, mark = _class(singles), _class(marks)
    return re.compile(
        rf"(?P<nothing>\u00ad\s*\n\s*|(?<=[{_NO_SPACES}])\s+|\s+(?=[{_NO_SPACES}])|{_NOTHING})|{_MARKUP}"
        rf"|['{re.escape(quotes)}]{{2,}}|[^\s{mark}][{mark}]+|[{single}]"
    )


def _class(characters: set[str]) -> str:
    """The inside of a character class, as ranges."""
    ranges: list[list[int]] = []
    for code in sorted(map(ord, characters)):
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in ranges)
