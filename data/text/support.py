"""Whether a quote supports an answer, by words and numbers, in languages with and without spaces between words."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from data.text.words import UNSPACED

# Marks belong to words: without them those of India's and Arabia's scripts fall apart.
_MARKS = "".join(chr(code) for code in range(0x300, 0x1000) if unicodedata.category(chr(code)).startswith("M"))
_PART = re.compile(
    rf"[{UNSPACED}]+|\d+(?:[.,'’ \u00a0\u202f]\d{{3}})*(?:[.,]\d+)?|(?:(?![{UNSPACED}])(?:[^\W\d_]|[{_MARKS}]))+"
)
_GROUPS = re.compile(r"[.,'’ \u00a0\u202f](?=\d{3}(?:\D|$))")
# The same word in another form: "goat" and "goats", "stationed" and "station".
_SHORTEST_STEM, _LONGEST_ENDING = 4, 3


def split_words(text: str) -> list[str]:
    """The words and numbers of a text in small letters: "Der 3. Hafen" -> der, 3, hafen; 工业革命 -> 工业, 业革, 革命.

    Numbers lose what groups their digits ("1,300" -> "1300"), and digits of any script become 0 to 9.
    """
    words: list[str] = []
    for match in _PART.finditer(unicodedata.normalize("NFKC", text).casefold()):
        part = match[0]
        if part[0].isdecimal():
            words.append("".join(str(unicodedata.decimal(c, c)) for c in _GROUPS.sub("", part)).replace(",", "."))
        elif re.match(f"[{UNSPACED}]", part):
            words += [part[i : i + 2] for i in range(len(part) - 1)] or [part]
        else:
            words.append(part)
    return words


def answer_recall(answer: str, evidence: str) -> float:
    """The share of the answer's content words and numbers that stand in the evidence, 0 to 1.

    A word stands there too in another form of it. An answer of nothing but small words ("yes") has a recall of 1:
    there is nothing to look for.
    """
    words = split_words(answer)
    sought = [word for word in words if word not in _small_words()]
    found = set(split_words(evidence))
    if not sought:
        return 1.0
    return sum(any(_same_word(word, other) for other in found) for word in sought) / len(sought)


def strange_numbers(answer: str, evidence: str) -> list[str]:
    """The numbers of the answer that do not stand in the evidence, in order."""
    found = set(split_words(evidence))
    return [word for word in split_words(answer) if word[0].isdecimal() and word not in found]


def _same_word(word: str, other: str) -> bool:
    if word == other or word[0].isdecimal():
        return word == other
    common = next((i for i, (x, y) in enumerate(zip(word, other, strict=False)) if x != y), min(len(word), len(other)))
    return common >= _SHORTEST_STEM and max(len(word), len(other)) - common <= _LONGEST_ENDING


@cache
def _small_words() -> frozenset[str]:
    """Words that stand in every text, of the languages for which the library that searches by words knows them."""
    from bm25s import stopwords

    lists = [getattr(stopwords, name) for name in dir(stopwords) if name.startswith("STOPWORDS_")]
    return frozenset(word.casefold() for words in lists for word in words) | {"yes", "true", "false"}
