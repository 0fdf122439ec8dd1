"""The encoding of a text that is not UTF-8: what a declared name means, and a guess where nothing is declared.

The guess is the encoding under which the bytes are likeliest as a text of one of its languages: the letters of the
language, capitals where they stand in words, punctuation at the edges of words. Language and letters decide together,
since "è" of Italian is "č" of Czech. Windows-1252 is preferred where others are no better: most such files are Western.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import cache
from math import log

from data.documents.readers.encoding_tables import (
    AS_BROWSERS,
    CJK_POINTS,
    EAST_ASIAN,
    HANGUL,
    HIRAGANA,
    LABELS,
    LATIN,
    SCRIPTS,
    SIMPLIFIED,
    THAI_MARKS,
    TRADITIONAL,
)
from data.text.languages import language_probabilities

_SAMPLE = 12_000  # bytes of lines that are not ASCII, on which the guess rests
_HIGH_LINE = re.compile(rb"[^\n\r]*[\x80-\xff][^\n\r]*")
_TAG = re.compile(rb"<[A-Za-z/!][^<>]{0,1000}>")
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_HIGH_BYTES = bytes(range(0x80, 0x100))
_WORD = re.compile("[A-Za-z\u0080-\U0010ffff]+")
_REPLACED = "\ufffd"

# Logarithms of probabilities, roughly: what matters is their order.
_LETTER, _RARE_LETTER, _FOREIGN_LETTER = -3.5, -5.5, -9.0
_POINT, _SIGN, _SIGN_IN_WORD, _INVALID = -4.0, -8.0, -12.0, -13.0
_BESIDE_LATIN = -8.0  # a letter of another script in a Latin word
_LEAST_LANGUAGE, _OTHER_LANGUAGE = 0.002, -7.0

_OPENING, _CLOSING, _APOSTROPHES = frozenset("“„«‘‚‹¿¡"), frozenset("”»›…"), frozenset("’´")
_WORDS_OF_ONE_LETTER = frozenset("àáâåæèéêíóôöøúý")
_POINTS = frozenset("–—•·€£§°©®™†ºª²³½¼¾×÷±µ")


def known_encoding(name: str) -> str | None:
    """Python's name of a declared encoding, as browsers read it: latin-1 is Windows-1252. None if it is unknown."""
    name = name.strip().lower()
    try:
        found = codecs.lookup(LABELS.get(name, name))
    except LookupError:
        return None
    return AS_BROWSERS.get(found.name, found.name) if found._is_text_encoding else None


def mends_utf8(raw: bytes) -> bool:
    """Whether bytes that are not valid UTF-8 are UTF-8 nevertheless: most of what is not ASCII is valid."""
    rest = _MULTIBYTE.sub(b"", raw)
    bad = len(rest) - len(rest.translate(None, _HIGH_BYTES))
    # Chance makes valid pairs, of letters that hardly any text has: "É»" is "ɻ".
    good = sum(
        not 0x80 <= ord(char) < 0xA0 and not 0x180 <= ord(char) < 0x370
        for found in _MULTIBYTE.findall(raw)
        for char in found.decode("utf-8", "ignore")
    )
    return 0 < good >= bad


def guess_encodings(raw: bytes) -> list[str]:
    """The encodings that a text that is not UTF-8 may have, by Python's names, the likeliest first."""
    sample = _sample(raw)
    chances = _language_chances(sample)
    scores = {
        **{name: _latin_score(sample, name, chances) for name in LATIN},
        **{name: _script_score(sample, name) for name in SCRIPTS},
        **{name: _east_asian_score(sample, name) for name in EAST_ASIAN},
    }
    return sorted(scores, key=scores.__getitem__, reverse=True)


def _sample(raw: bytes) -> bytes:
    lines, size = [], 0
    for found in _HIGH_LINE.finditer(raw):
        lines.append(found[0][:_SAMPLE])
        size += len(found[0])
        if size > _SAMPLE:
            break
    return _TAG.sub(b" ", b"\n".join(lines))


def _language_chances(sample: bytes) -> Mapping[str, float]:
    """The probability of each language by the Latin base letters alone, which all encodings share."""
    text = unicodedata.normalize("NFKD", sample.decode("cp1252", "ignore"))
    return language_probabilities("".join(char for char in text if char < "\u0080"))


def _words(sample: bytes, encoding: str) -> tuple[Counter[str], int]:
    """The words that are not ASCII, with their counts, and how many ASCII bytes became parts of other characters."""
    text = sample.decode(encoding, "replace")
    words = Counter(word for word in _WORD.findall(text) if not word.isascii())
    eaten = sum(byte < 0x80 for byte in sample) - sum(char < "\u0080" for char in text)
    return words, eaten


def _latin_score(sample: bytes, encoding: str, chances: Mapping[str, float]) -> float:
    languages, score = LATIN[encoding]
    words, _ = _words(sample, encoding)
    letters: Counter[str] = Counter()
    for word, count in words.items():
        capitals = word.isupper()
        for place, char in enumerate(word):
            if char.isascii():
                continue
            before, after = word[place - 1 : place], word[place + 1 : place + 2]
            if char.isalpha() and char not in "ºªµ":
                letters[char.lower()] += count
                if len(word) == 1 and char.lower() not in _WORDS_OF_ONE_LETTER:
                    score -= 6.0 * count
                if before.isalpha() and not before.isascii():
                    score -= 3.0 * count
                if char.isupper() and (before.islower() or (after.isupper() and not capitals)):
                    score -= 5.0 * count
            else:
                score += count * _point_cost(char, before, after)
    best = _OTHER_LANGUAGE + sum(count * _RARE_LETTER for count in letters.values()) - (encoding != "cp1252") * 99
    for language, alphabet in languages.items():
        own = _RARE_LETTER if language == "en" else _LETTER
        fit = sum(count * (own if char in alphabet else _FOREIGN_LETTER) for char, count in letters.items())
        best = max(best, fit + log(max(chances.get(language, 0.0), _LEAST_LANGUAGE)))
    return score + best


def _point_cost(char: str, before: str, after: str) -> float:
    """Of a character that is no letter: quotes stand at the edges of words."""
    inside = before.isalpha() and after.isalpha()
    if char == _REPLACED or "\u0080" <= char < "\u00a0":
        return _INVALID
    if char == "\u00a0":
        return _POINT
    if char in _APOSTROPHES:
        return _POINT
    if char in _OPENING:
        return _SIGN_IN_WORD if before.isalpha() else _POINT
    if char in _CLOSING:
        return _SIGN_IN_WORD if after.isalpha() and char != "…" else _POINT
    if char in "–—·":
        return _POINT - 2.0 * inside
    if char in _POINTS:
        # A unit's exponent ends a short word.
        return _SIGN_IN_WORD if inside else _POINT - 2.0 * before.isalpha()
    return _SIGN_IN_WORD if before.isalpha() or after.isalpha() else _SIGN


@cache
def _script_costs(encoding: str) -> dict[str, float]:
    letters, _ = SCRIPTS[encoding]
    steps = ((7, -2.4), (15, -3.1), (24, -3.9), (36, -4.8))
    costs: dict[str, float] = {}
    for place, letter in enumerate(letters):
        costs.setdefault(letter, next((cost for end, cost in steps if place < end), -6.0))
    return costs


def _script_score(sample: bytes, encoding: str) -> float:
    _, score = SCRIPTS[encoding]
    costs = _script_costs(encoding)
    words, _ = _words(sample, encoding)
    for word, count in words.items():
        cost = 0.0
        capitals = word.isupper()
        for place, char in enumerate(word):
            if char.isascii():
                continue
            before, after = word[place - 1 : place], word[place + 1 : place + 2]
            own = costs.get(char.lower())
            if own is None:
                letter = char.isalpha()
                cost += _FOREIGN_LETTER - 3.0 if letter else _point_cost(char, before, after)
                continue
            cost += own
            if char.isupper():
                cost -= 1.0 if capitals else 2.0 if not before.isalpha() else 6.0
            if char in THAI_MARKS and not before.isalpha() and before not in THAI_MARKS:
                cost -= 6.0
            if char == "ς" and after.isalpha():
                cost -= 4.0
            cost += _BESIDE_LATIN * sum(near.isascii() and near.isalpha() for near in (before, after))
        score += count * cost
    # A single letter among Latin words is a Latin one.
    return score - 7.0 * sum(count for word, count in words.items() if len(word) == 1 and word.isalpha())


def _east_asian_score(sample: bytes, encoding: str) -> float:
    score = EAST_ASIAN[encoding]
    words, eaten = _words(sample, encoding)
    for word, count in words.items():
        cost = 0.0
        for place, char in enumerate(word):
            if char.isascii():
                continue
            cost += _east_asian_cost(char, encoding)
            near = (word[place - 1 : place], word[place + 1 : place + 2])
            cost -= 2.0 * sum(each.isascii() and each.isalpha() for each in near)
        score += count * cost
    return score - 1.5 * max(eaten, 0)


@cache
def _east_asian_cost(char: str, encoding: str) -> float:
    if char == _REPLACED or "\ue000" <= char < "\uf900":  # nothing, or private characters
        return _INVALID
    if char in CJK_POINTS or "０" <= char <= "９":
        return _POINT
    if encoding in ("cp932", "euc_jp"):
        return _japanese_cost(char)
    if "\u3040" <= char < "\u3100":
        return -13.0
    if encoding == "cp949":
        if char in HANGUL:
            return -5.0
        return (-8.3 if _lead(char, "euc_kr") >= 0xB0 else -14.0) if "가" <= char <= "힣" else -13.0
    frequent, standard, last = (SIMPLIFIED, "gb2312", 0xD7) if encoding == "gb18030" else (TRADITIONAL, "big5", 0xC6)
    if char in frequent:
        return -5.7
    lead = _lead(char, standard)
    return -15.0 if not lead else -9.1 if "\u4e00" <= char <= "\u9fff" and lead <= last else -12.5


def _japanese_cost(char: str) -> float:
    if char in HIRAGANA:
        return -3.6
    if "\u3040" <= char < "\u3100":
        return -5.3
    if "\uff61" <= char <= "\uff9f":
        return -10.0
    return -9.2 if 0xB0 <= _lead(char, "euc_jp") <= 0xCF else -13.0


def _lead(char: str, encoding: str) -> int:
    """The first byte of a character; 0 if the encoding lacks it."""
    try:
        return char.encode(encoding)[0]
    except UnicodeEncodeError:
        return 0
