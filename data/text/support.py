"""Whether a quote supports an answer, by words and numbers, in scripts with and without spaces between words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Set
from functools import cache, lru_cache

from data.text.words import UNSPACED

#: Yes, no, and words like them: an answer of these alone says nothing that could be found in a text.
VERDICTS = frozenset(
    re.findall(
        r"\S+",
        "yes no true false maybe none perhaps unknown unclear ja nein jein vielleicht oui non peut-être sí sim não nee "
        "nej да нет evet hayır はい いいえ 是 否 是的 不是 예 네 아니요 아니오 نعم لا ใช่ ไม่ใช่ हाँ नहीं",
    )
)

# Combining marks are part of words in Indic and Arabic scripts.
_MARKS = "".join(chr(code) for code in range(0x300, 0x1000) if unicodedata.category(chr(code)).startswith("M"))
_PART = re.compile(
    rf"[{UNSPACED}]+|\d+(?:[.,'’ \u00a0\u202f]\d{{3}})*(?:[.,]\d+)?|(?:(?![{UNSPACED}])(?:[^\W\d_]|[{_MARKS}]))+"
)
_LONE_NUMBER = re.compile(
    rf"(?<![^\W{UNSPACED}])(?<!\d[.,])\d+(?:[.,'’ \u00a0\u202f]\d{{3}}(?!\d))*(?:[.,]\d+)?(?![^\W{UNSPACED}])(?![.,]\d)"
)
_GROUPS = re.compile(r"[.,'’ \u00a0\u202f](?=\d{3}(?:\D|$))")
# Two forms of a word: "goat" and "goats", "stationed" and "station".
_SHORTEST_STEM, _LONGEST_ENDING = 4, 3


def split_words(text: str) -> list[str]:
    """The words and numbers of a text, lower-cased: "Der 3. Hafen" -> der, 3, hafen; 工业革命 -> 工业, 业革, 革命.

    Digit grouping is removed ("1,300" -> "1300"), and digits of all scripts become 0 to 9.
    """
    words: list[str] = []
    for match in _PART.finditer(unicodedata.normalize("NFKC", text).casefold()):
        part = match[0]
        if part[0].isdecimal():
            words.append(_number(part))
        elif re.match(f"[{UNSPACED}]", part):
            words += [part[i : i + 2] for i in range(len(part) - 1)] or [part]
        else:
            words.append(part)
    return words


@lru_cache(maxsize=100_000)
def lone_numbers(text: str) -> frozenset[str]:
    """The numbers that stand alone in a text, without grouping: 1300 in "1,300 marks"; not 3 in "3.5" or "3rd"."""
    return frozenset(_number(match[0]) for match in _LONE_NUMBER.finditer(text))


def _number(part: str) -> str:
    return "".join(str(unicodedata.decimal(c, c)) for c in _GROUPS.sub("", part)).replace(",", ".")


def is_verdict(answer: str) -> bool:
    """Whether an answer is only yes, no, maybe or the like."""
    return unicodedata.normalize("NFKC", answer).strip(" \t\n.!。！\"'“”").casefold() in VERDICTS


def content_words(text: str, language_of: str = "") -> list[str]:
    """The words and numbers of a text that are no stop words of its language, nor yes, no or the like.

    Args:
        language_of: more text in the same language, from which the language is recognised.
    """
    words = split_words(text)
    stop_words = _stop_words_of([*words, *split_words(language_of)] if language_of else words)
    return [word for word in words if word not in stop_words and word not in VERDICTS]


def answer_recall(answer: str, evidence: str) -> float:
    """The share of the answer's content words and numbers that are in the evidence, 0 to 1.

    Another form of a word counts. An answer without content words ("yes") has a recall of 1.
    """
    content = content_words(answer, evidence)
    return held_share(content, set(split_words(evidence))) if content else 1.0


def held_share(words: Collection[str], known: Set[str]) -> float:
    """The share of some words, of which there is at least one, that are among those known, in the same or another
    form."""
    return sum(word in known or any(_same_word(word, other) for other in known) for word in words) / len(words)


def strange_numbers(answer: str, evidence: str) -> list[str]:
    """The numbers of the answer that are not in the evidence, in order."""
    known = set(split_words(evidence))
    return [word for word in split_words(answer) if word[0].isdecimal() and word not in known]


def _same_word(word: str, other: str) -> bool:
    if word == other or word[0].isdecimal():
        return word == other
    common = next((i for i, (x, y) in enumerate(zip(word, other, strict=False)) if x != y), min(len(word), len(other)))
    return common >= _SHORTEST_STEM and max(len(word), len(other)) - common <= _LONGEST_ENDING


def _stop_words_of(words: Iterable[str]) -> frozenset[str]:
    """The stop words of the language that has most of these words among its stop words; in doubt of English.

    One list of all languages would take "war", "die" and "son" from English. A model of languages is unsure of texts as
    short as an answer and its quote, in which every second word is a stop word.
    """
    hits = Counter(language for word in words for language in _languages_by_stop_word().get(word, ()))
    lists = _stop_words()
    return lists[max(lists, key=lambda language: hits[language])]  # the first is English


@cache
def _languages_by_stop_word() -> dict[str, list[str]]:
    languages: dict[str, list[str]] = {}
    for language, words in _stop_words().items():
        for word in words:
            languages.setdefault(word, []).append(language)
    return languages


@cache
def _stop_words() -> dict[str, frozenset[str]]:
    """The stop words of each language for which bm25s has a list, English first."""
    from bm25s import stopwords

    names = sorted(name for name in dir(stopwords) if name.startswith("STOPWORDS_") and "_EN" not in name)
    english = {*stopwords.STOPWORDS_EN, *stopwords.STOPWORDS_EN_PLUS, "many", "much", "whose"} - {"won", "won't"}
    lists = {"EN": english} | {name.removeprefix("STOPWORDS_"): getattr(stopwords, name) for name in names}
    return {
        language: frozenset(
            part for word in words for part in ([word] if re.match(f"[{UNSPACED}]", word) else split_words(word))
        )
        for language, words in lists.items()
    }
