"""The words of an answer as the public question answering scripts compare them, in scripts with and without spaces.

For plain English this is SQuAD's normalisation (rajpurkar/SQuAD-explorer, evaluate-v2.0.py). Scripts without spaces are
compared by character, as MLQA, XTREME and MKQA do; Korean, which has spaces, by word as there.
"""

from __future__ import annotations

import re
import string
import sys
import unicodedata
from functools import cache

from data.text.words import UNSPACED

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_HANGUL = re.compile("[\uac00-\ud7af]")
# A letter of a script without spaces, with the vowel signs and tone marks that stand on it.
_LETTER = re.compile(rf"[{UNSPACED}]")
# Typographic forms of ASCII punctuation that Unicode does not call punctuation.
_LIKE_ASCII = str.maketrans({"\u00b4": "'", "\u02bc": "'", "\u2212": "-"})


def normalize_answer(text: str, *, split_korean: bool = False) -> str:
    """The words of an answer, separated by single spaces: what exact match compares.

    Case, punctuation and invisible characters of all scripts are dropped, compatibility forms (full-width letters,
    ligatures, composed and decomposed accents) are one, digits of all scripts are 0 to 9. Of articles only the English
    ones are dropped, as SQuAD does. Each letter of a script without spaces is a word.

    Args:
        split_korean: also make each Korean syllable a word, to find words whose endings are attached to them.
    """
    if text.isascii():
        return " ".join(_ARTICLES.sub(" ", text.lower().translate(_ASCII_PUNCTUATION)).split())
    folded = unicodedata.normalize("NFKC", text.translate(_LIKE_ASCII)).casefold().translate(_dropped())
    words = []
    for word in _ARTICLES.sub(" ", unicodedata.normalize("NFKC", folded)).split():
        words += _letters(word, split_korean) if _LETTER.search(word) else [word]
    return " ".join(words)


def _letters(word: str, split_korean: bool) -> list[str]:
    """The letters of scripts without spaces one by one, and what stands between them in one piece."""
    parts: list[str] = []
    joined = False  # whether the last part may be continued
    for character in word:
        alone = bool(_LETTER.match(character)) and (split_korean or not _HANGUL.match(character))
        mark = unicodedata.category(character).startswith("M")
        if parts and (mark or (joined and not alone)):
            parts[-1] += character
        else:
            parts.append(character)
        joined = joined if mark else not alone
    return parts


@cache
def _dropped() -> dict[int, str | None]:
    """Punctuation and invisible characters -> None; decimal digits of other scripts -> 0 to 9."""
    table: dict[int, str | None] = dict.fromkeys(map(ord, string.punctuation))
    for code in range(128, sys.maxunicode + 1):
        character = chr(code)
        category = unicodedata.category(character)
        if category[0] == "P" or category == "Cf":
            table[code] = None
        elif category == "Nd":
            table[code] = str(unicodedata.decimal(character))
    return table
