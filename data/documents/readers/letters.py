"""Whether a text is what a person reads, or the codes of a font that does not say which letters they are.

Such a font gives private-use characters, or letters of another order ("Wkh ploo" for "The mill"). They cannot be read
back; text recognition on the page's picture can. Only Latin letters are judged by their statistics: the others
(Thai, Chinese, Greek) only by what PDFium says of their fonts. Tables of numbers and listings have too few letters, or
words enough, to be judged nonsense.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import islice, pairwise

_LEAST_LETTERS = 100  # fewer say nothing
_LEAST_KINDS = 12  # of letters: hexadecimal digits are no words
_WORD = re.compile(r"[^\W\d_]{4,}")
_LATIN = re.compile("[A-Za-zß-öø-ÿāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįıĵķĸĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷźżžșț]{4,}", re.IGNORECASE)


def _split(pairs: str) -> frozenset[str]:
    return frozenset(pairs.split())


# The commonest pairs of letters in English, French, German, Spanish, Portuguese, Italian, Dutch, the Scandinavian
# languages, Polish, Czech, Hungarian, Finnish, Turkish and Romanian. Of all pairs they are 43% or more in each of the
# 70 languages in Latin letters of justext's lists, and 9% to 31% in texts whose letters were exchanged.
_PAIRS = _split(
    "th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri ro ic "
    "ne ea ra ce li ch ll be ma si om ur ie ge ei di un sc ss el la os ad do ca ta ia na no da po pr za ni ka ki wi "
    "ow rz cz sz je sk go aa ee ij oo et eg ig ke va ln ek az ak bi il ir ya ul ii tr ui su qu ue us ai pa em nc ec vi"
)
_LEAST_PAIRS = 0.34
_NONSENSE_SHARE = 0.3  # of characters that stand for no letter
# Control characters, private use, surrogates, and the mark for what is no character.
_NO_CHARACTERS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\uf8ff\ufffd\U000f0000-\U0010ffff]")
_FEW_SIGNS = 14  # kinds: lines and rows of dots are few signs many times
_WORDS_ENOUGH = 250
_LEAST_READABLE = 0.25  # of characters that are letters or digits of any script


def is_nonsense(text: str, unmapped: int) -> bool:
    """Whether most of a page's text is no text that a person would see.

    Args:
        unmapped: how many of its characters have a font that does not say what they are. They are read as the font's
            codes, which may happen to be the letters: then they make words.
    """
    shown = len(text) - sum(map(str.isspace, text))
    if not shown:
        return False
    if len(_NO_CHARACTERS.findall(text)) > _NONSENSE_SHARE * shown:
        return True
    if shown >= _LEAST_LETTERS and sum(map(str.isalnum, text)) < _LEAST_READABLE * shown:
        return len(set(text)) > _FEW_SIGNS
    share = _share_of_common_pairs(text)
    if share is None:
        return unmapped > _NONSENSE_SHARE * shown
    return share < _LEAST_PAIRS


def _share_of_common_pairs(text: str) -> float | None:
    """How many of the pairs of Latin letters are common ones; None if there are too few.

    Acronyms, codes and base64 are not looked at.
    """
    found = islice(_WORD.finditer(text), _WORDS_ENOUGH)
    words = [word for match in found if (word := match[0])[1:].islower() and _LATIN.fullmatch(word)]
    plain = [_plain(word.casefold()) for word in words]
    if sum(map(len, plain)) < _LEAST_LETTERS or len(set("".join(plain))) < _LEAST_KINDS:
        return None
    pairs = [a + b for word in plain for a, b in pairwise(word)]
    return sum(pair in _PAIRS for pair in pairs) / len(pairs)


def _plain(word: str) -> str:
    """The letters without their accents."""
    if word.isascii():
        return word
    return "".join(letter for letter in unicodedata.normalize("NFD", word) if letter.isalpha())
