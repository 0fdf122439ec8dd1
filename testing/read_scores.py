"""How much of a true text a reading recovers, and how much it invents, in characters.

Rules
- White space is folded: any run of it is one space, none stands between letters of scripts without spaces, and none at
  the ends of a block. A space that is missing or too many inside a block counts as a character.
- Markup of structure is neither text nor invented: marks of headings, lists, quotes, tables, code, emphasis, links
  with their addresses, numbers of list items, escapes, and tags of exponents. It is taken out of both sides.
- The letters must be the same after NFC. Soft hyphens and zero-width spaces are taken out, ligatures of the Latin
  script are spelled out, lowered digits are digits, and a raised `6` equals `^6`.
- A block of the truth (a paragraph, a list item, a row) is recovered in its order. Blocks may stand in any order. A
  piece of a block that stands apart from its main piece counts only from 80 characters on, so that columns whose lines
  alternate are lost.
- A text that is read twice is invented once, unless it is optional. Optional texts are neither lost nor invented.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import Match, SequenceMatcher
from itertools import accumulate

from rapidfuzz import fuzz
from rapidfuzz.distance import Indel

_APART = 80  # characters of a piece of a block that stands apart
_GAP = 24  # characters between pieces that stand together
_BESIDE = 6  # tokens beside a piece that may be its differing ends
_ALIKE = 0.5  # similarity from which two differing passages are aligned letter by letter
_SIMILAR = 70  # the same in percent, for a block none of whose words are there
# Han, kana, Thai and their punctuation.
_UNSPACED = "\u0e00-\u0e7f\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+| |[^ ]")
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")
_LIGATURES = {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
# In this order; each is structure of Markdown or of what readers write.
_MARKUP = (
    (re.compile(r"^[ \t>]*(```|~~~)\S*[ \t]*$", re.M), ""),
    (re.compile(r"^[ \t]*\|?[ \t:|-]*--[ \t:|-]*\|?[ \t]*$", re.M), ""),  # below the head of a table, or a rule
    (re.compile(r"^[ \t]*([=*_][ \t]*){3,}$", re.M), ""),
    (re.compile(r"^[ \t]*(> ?|#{1,6} |[-*+•] |\d{1,2}[.)] |: )+", re.M), ""),
    (re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?: \"[^\"]*\")?\)"), r"\1"),
    (re.compile(r"</?su[bp]>"), ""),
    (re.compile(r"<(https?://[^<>\s]+)>"), r"\1"),
    (re.compile(r"\\?\|"), " "),
    (re.compile(r"\\([!-/:-@\[-`{-~])"), r"\1"),
    (re.compile(r"\*\*|__|~~|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)|`"), ""),
)


@dataclass(frozen=True, slots=True)
class ReadScore:
    """Characters of a file: of the truth, of these recovered, of the reading, of these invented."""

    true: int
    recovered: int
    read: int
    invented: int
    lost_texts: tuple[str, ...] = ()
    invented_texts: tuple[str, ...] = ()

    def __add__(self, other: ReadScore) -> ReadScore:
        numbers = (self.true + other.true, self.recovered + other.recovered)
        return ReadScore(*numbers, self.read + other.read, self.invented + other.invented)

    @property
    def recovered_percent(self) -> float:
        """Of the truth; 100 if there is none."""
        return 100 * self.recovered / self.true if self.true else 100.0

    @property
    def invented_percent(self) -> float:
        """Of the reading; 0 if there is none."""
        return 100 * self.invented / self.read if self.read else 0.0


NOTHING = ReadScore(0, 0, 0, 0)


def folded(text: str) -> str:
    """A text without structure, with its letters and white space folded (see the rules above)."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    text = re.sub("[ﬀ-ﬆ]", lambda found: _LIGATURES[found[0]], text)
    text = re.sub("<sup>([^<]*)</sup>", r"^\1", text)
    text = re.sub("[⁰¹²³⁴-⁹]+", lambda found: "^" + found[0].translate(_RAISED), text).translate(_LOWERED)
    for pattern, instead in _MARKUP:
        text = pattern.sub(instead, text)
    text = " ".join(text.split())
    return re.sub(rf"(?<=[{_UNSPACED}]) (?=[{_UNSPACED}])", "", text)


def score_reading(truth: Sequence[str], reading: str, optional: Sequence[str] = ()) -> ReadScore:
    """Compares a reading with the true blocks.

    Args:
        optional: texts that may be read or not, any number of times.
    """
    blocks = [block for block in map(folded, truth) if block]
    read = _Reading(folded(reading))
    recovered = 0
    lost: list[str] = []
    # Exact places first, and of long blocks first, so that a short one does not take a piece of a long one.
    left = [block for block in sorted(blocks, key=len, reverse=True) if not read.take(block)]
    recovered = sum(map(len, blocks)) - sum(map(len, left))
    for block in left:
        found, missing = read.align(_TOKEN.findall(block))
        recovered += found
        lost.append(missing)
    for text in sorted({folded(text) for text in optional} - {""}, key=len, reverse=True):
        while read.take(text):
            pass
    runs = read.untaken()
    invented = sum(len(run.replace(" ", "")) for run in runs) + read.surplus
    true = sum(map(len, blocks))
    return ReadScore(true, recovered, read.length, invented, tuple(filter(None, lost)), (*runs, *read.changed))


class _Reading:
    """The tokens of a reading, of which blocks take theirs.

    Attributes:
        surplus: characters that stand inside a block and are not of it.
        changed: passages with letters that differ, with what they should be.
    """

    def __init__(self, text: str) -> None:
        self.length = len(text)
        self.surplus = 0
        self.changed: list[str] = []
        self._tokens = _TOKEN.findall(text)
        self._free = [True] * len(self._tokens)

    def take(self, text: str) -> bool:
        """Takes the first free place of a text; whether there is one."""
        wanted = _TOKEN.findall(text)
        count = len(wanted)
        for at in range(len(self._tokens) - count + 1):
            if self._tokens[at] == wanted[0] and self._tokens[at : at + count] == wanted:
                if not all(self._free[at : at + count]):
                    continue
                self._free[at : at + count] = [False] * count
                return True
        return False

    def align(self, wanted: list[str]) -> tuple[int, str]:
        """Takes what is there of a block, in its order; returns the characters found, and what is missing."""
        matches = SequenceMatcher(None, self._open(), wanted, autojunk=False).get_matching_blocks()
        pieces = self._pieces([match for match in matches if match.size], wanted) or self._alike(wanted)
        found, done = 0, 0
        missing: list[str] = []
        for number, (start, stop, low, high) in enumerate(pieces):
            end = pieces[number + 1][0] if number + 1 < len(pieces) else len(wanted)
            # The words at the ends of a piece, if they differ, stand beside it.
            low = self._reach(low, start - done, -1)
            high = self._reach(high, end - stop, 1)
            found += self._letters(wanted[done:end], low, high, missing)
            done = end
        missing.append("".join(wanted[done:]))
        return found, " … ".join(text for text in (text.strip() for text in missing) if text)

    def _reach(self, at: int, count: int, step: int) -> int:
        """The place that is `count` free tokens farther from a place, at most a few, or as many as there are."""
        for _ in range(min(count, _BESIDE)):
            beside = at if step > 0 else at - 1
            if not 0 <= beside < len(self._tokens) or not self._free[beside]:
                break
            at += step
        return at

    def _alike(self, wanted: list[str]) -> list[tuple[int, int, int, int]]:
        """Where letters like those of the block stand, if none of its words do, as one piece."""
        text = "".join(wanted)
        found = fuzz.partial_ratio_alignment(text, "".join(self._open()), score_cutoff=_SIMILAR)
        if found is None:
            return []
        ends = list(accumulate(map(len, self._open())))
        low, high = bisect_right(ends, found.dest_start), bisect_left(ends, found.dest_end) + 1
        return [(0, len(wanted), low, high)] if all(self._free[low:high]) else []

    def untaken(self) -> list[str]:
        """The passages that no block took."""
        runs: list[str] = []
        open_run = False
        for token, is_free in zip(self._tokens, self._free, strict=True):
            if is_free:
                runs[-1:] = [runs[-1] + token] if open_run else [*runs[-1:], token]
            open_run = is_free
        return [run.strip() for run in runs if run.strip()]

    def _open(self, low: int = 0, high: int | None = None) -> list[str]:
        """The tokens, those that are taken as something that equals nothing."""
        free, tokens = self._free[low:high], self._tokens[low:high]
        return [token if is_free else "\0" for token, is_free in zip(tokens, free, strict=True)]

    def _pieces(self, matches: list[Match], wanted: list[str]) -> list[tuple[int, int, int, int]]:
        """What stands together of a block: the first and last token of each piece, and those of the reading."""
        clusters: list[list[Match]] = []
        for match in matches:
            before = clusters[-1][-1] if clusters else None
            if before and len("".join(self._tokens[before.a + before.size : match.a])) <= _GAP:
                clusters[-1].append(match)
            else:
                clusters.append([match])
        sized = []
        for cluster in clusters:
            start, stop = cluster[0].b, cluster[-1].b + cluster[-1].size
            low, high = cluster[0].a, cluster[-1].a + cluster[-1].size
            size = sum(len("".join(self._tokens[match.a : match.a + match.size])) for match in cluster)
            # Words that occur here and there in another text are no piece.
            longest = max(len("".join(wanted[start:stop])), len("".join(self._tokens[low:high])))
            if 2 * size >= longest:
                sized.append((size, (start, stop, low, high)))
        # The main piece is a quarter of the block, or more than a few words.
        least = min(len("".join(wanted)) / 4, _GAP)
        main = max(range(len(sized)), key=lambda number: sized[number][0], default=-1)
        return [
            spans for number, (size, spans) in enumerate(sized) if size >= _APART or (number == main and size >= least)
        ]

    def _letters(self, wanted: list[str], low: int, high: int, missing: list[str]) -> int:
        """Takes the tokens of a piece that are of the block; returns the characters of the block that stand there."""
        found = 0
        matcher = SequenceMatcher(None, self._open(low, high), wanted, autojunk=False)
        for kind, a, b, c, d in matcher.get_opcodes():
            first, last = low + a, low + b
            text, read = "".join(wanted[c:d]), "".join(self._tokens[first:last])
            alike = kind == "replace" and Indel.normalized_similarity(text, read) >= _ALIKE
            if kind == "equal":
                found += len(text)
            elif alike and all(self._free[first:last]):
                # Letter by letter: a changed letter is one lost and one invented, not a word of them.
                same = (len(text) + len(read) - Indel.distance(text, read)) // 2
                found += same
                self.surplus += len(read) - same
                self.changed.append(f"{read} for {text}")
            elif kind == "delete" and read == " " and self._free[first]:
                self.surplus += 1
            else:
                missing.append(text)
                continue
            self._free[first:last] = [False] * (b - a)
        return found
