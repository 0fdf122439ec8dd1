"""Words that are broken at the ends of lines: whether the hyphen belongs to the word.

"mem-/ber" is member and "long-/term" is long-term; a PDF does not say which, and PDFium marks both alike. In this
order:

0. A conjunction follows ("two-/and three-year plans", "Ein-/und Ausgang"): the line break stays a space.
1. More hyphens before ("state-of-the-/art"), a digit on either side, or a capital after it: the hyphen stays.
2. The document writes the word elsewhere within a line: as it is written there, with or without the hyphen.
3. English: the joined word is a common one (`common_words.txt`), endings aside: joined.
4. English, French and Portuguese, whose compounds have hyphens: each half is a word of its own in the document or, in
   English, a common one, and the first is no prefix (under-, over-); or one half is of those that nearly always have
   one (self-, twenty-, -based, -like): the hyphen stays.
5. Otherwise: joined. In German and its relatives both halves of a closed compound are words (Wasser-/mühle), so that
   rule 4 does not hold there.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


def _split(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SHORTEST_HALF = 3  # letters
_HALF_WORDS = 7000  # of the common words; rarer ones say less of a half
_HYPHENS = "\u00ad\u2010\u2011-"  # for use at the end of a character class
_BROKEN = re.compile(rf"([\w’'{_HYPHENS}]*\w)([{_HYPHENS}])\n(\w+)")
_WORD = re.compile(r"[^\W\d_]+(?:[-\u2010\u2011][^\W\d_]+)*")
_COMPOUNDING = ("en", "fr", "pt")
_LEAST_WORDS = 20  # of a text whose language can be recognised
_LEAST_SHARE = 0.06  # of a text's words that are a language's commonest
_FREQUENT = {
    code: _split(words)
    for code, words in {
        "en": "the of and to in is for that with was are on by it be as at from this",
        "fr": "le la les des et en un une du dans est pour par qui au sur plus ce ne pas",
        "pt": "os as do da dos das em um uma para com que não se por no na ao mais foi como",
        "de": "der die das und in den von zu mit ist des im auf für nicht ein eine als auch dem",
        "es": "el la los las en un una del que por con para es se al lo como su no",
        "it": "il la le di un una che per con del della è in dei al da si non",
        "nl": "de het een en van in is op te dat die met voor zijn niet aan er ook",
        "sv": "och att det som en på är av för med den till inte om ett",
        "da": "og at det som en på er af for med den til ikke de et",
        "no": "og det som en på er av for med den til ikke de et",
    }.items()
}
_PREFIXES = _split(
    "under over out for fore with through there where here any some every with after inter intra micro multi sub super "
    "ultra trans pro dis mis per com ant hyper mega mini"
)
# Halves after which a hyphen is the rule in English.
_FIRST_HALVES = _split(
    "self well non half all cross quasi anti pseudo two three four five six seven eight nine twenty thirty forty fifty "
    "sixty seventy eighty ninety"
)
# Halves before which it is.
_LAST_HALVES = _split(
    "like based free wide related specific driven oriented friendly shaped sized cooled called made only"
)
_CONJUNCTIONS = _split("and or to und oder bis bzw et ou y e o och eller og en of ja tai i lub a nebo és vagy ve")
_PARTICLES = _split("in on up off by to out down")
_INFLECTIONS = ("s", "es", "ed", "d", "ing", "er", "ers", "or", "ors")
_ENDINGS = _split("ness less ful ment able ible tion sion ing ings ers est ish ism ist ity ous ally ship hood")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of a document, lower-cased: those without a hyphen, and compounds, within lines."""

    words: Counter[str]
    compounds: Counter[str]
    language: str


def vocabulary_of(text: str) -> Vocabulary:
    """The words of a text whose lines are still as they were printed; the language is looked at if a word is broken."""
    words: Counter[str] = Counter()
    compounds: Counter[str] = Counter()
    # What stands at the break itself is no evidence.
    unbroken = _BROKEN.sub(" ", text)
    for word, count in Counter(_WORD.findall(unbroken)).items():
        folded = word.casefold().replace("\u2010", "-").replace("\u2011", "-")
        (compounds if "-" in folded else words)[folded] += count
    return Vocabulary(words, compounds, _language(words) if _BROKEN.search(text) else "")


def join_words(text: str, vocabulary: Vocabulary) -> tuple[str, int]:
    """The text without line breaks within words, and how many words were joined."""
    joined = 0

    def whole(match: re.Match[str]) -> str:
        nonlocal joined
        first, mark, rest = match.groups()
        if _is_suspended(first, rest, vocabulary):
            return f"{first}-\n{rest}"
        joined += 1
        hyphen = "-" if mark == "\u00ad" else mark
        return first + (hyphen if _keeps_hyphen(first, rest, vocabulary) else "") + rest

    text = _BROKEN.sub(whole, text)
    # A hyphen that PDFium took for a break, before something that does not go on with it; others are invisible.
    return re.sub("\u00ad(?=\n|$)", "-", text).replace("\u00ad", ""), joined


def _is_suspended(first: str, rest: str, vocabulary: Vocabulary) -> bool:
    """Whether the second part of a compound follows later: "two- and three-year plans"."""
    if rest.casefold() not in _CONJUNCTIONS:
        return False
    whole = (first + rest).casefold()
    return not vocabulary.words[whole] and whole not in _common_words()


def _keeps_hyphen(first: str, rest: str, vocabulary: Vocabulary) -> bool:
    if any(hyphen in first for hyphen in "-\u2010\u2011") or first[-1].isdigit() or not rest[0].islower():
        return True
    if not first[-1].isalpha() or not first[-1].islower():
        return True  # MWh-/meter, a variable
    half, rest = re.split("[’']", first)[-1].casefold(), rest.casefold()
    if vocabulary.compounds[f"{half}-{rest}"]:
        return True
    if vocabulary.words[half + rest]:
        return False
    if len(half) == 1 or len(rest) == 1:
        return True  # e-mail, x-axis: no word is broken there
    english = vocabulary.language in ("en", "")
    common = _common_words() if english else {}
    stems = (half + rest, *((half + rest).removesuffix(ending) for ending in _INFLECTIONS))
    if any(stem in common for stem in stems):
        return False
    if vocabulary.language not in (*_COMPOUNDING, "") or half in _PREFIXES or rest in _ENDINGS:
        return False
    if english and ((half in _FIRST_HALVES and len(rest) >= _SHORTEST_HALF) or rest in _LAST_HALVES):
        return True
    if rest in _PARTICLES:
        return common.get(half, _HALF_WORDS) < _HALF_WORDS
    return all(
        len(part) >= _SHORTEST_HALF and (vocabulary.words[part] or common.get(part, _HALF_WORDS) < _HALF_WORDS)
        for part in (half, rest)
    )


def _language(words: Counter[str]) -> str:
    """Which of a few languages the words are, by its commonest ones; empty if none. Fast, unlike `language_of`."""
    total = sum(words.values())
    shares = {code: sum(words[word] for word in common) / total for code, common in _FREQUENT.items()} if total else {}
    best = max(shares, key=shares.__getitem__, default="")
    return best if total >= _LEAST_WORDS and shares[best] >= _LEAST_SHARE else ""


@cache
def _common_words() -> dict[str, int]:
    """Common English words by their rank: those of BERT's vocabulary (uncased, Apache-2.0), which is in that order."""
    text = files(__package__).joinpath("common_words.txt").read_text(encoding="ascii")
    return {word: rank for rank, word in enumerate(text.split())}
