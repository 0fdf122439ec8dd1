"""Words of the format, which must not come out of a text: where a text is cut, so that they become ordinary tokens.

Words of the format are

- added tokens: control tokens, and those that the tokenizer calls ordinary but that look like one, such as "</think>";
- what a chat template writes around messages in the form of a tag, such as Llama 2's "[/INST]" and OLMo's "<|user|>";
- Alpaca's headings;
- in prompts also the markers of the output format.

A text that holds one is cut there, and the parts are encoded one after another: a word that is a token after its first
character, any other between all its characters. Nothing is lost or added: decoded, the tokens are the same text. But
they are not the tokens that the word has in a template or a target.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import AddedToken

Normalize = Callable[[str], str]

_SIGNS = re.compile(r"[<>\[\]{}|｜#]")
_OF_WORDS = "'’-.,+&▁"  # signs that words have: "don't", "C++", "R&D"
# <|user|>, <start_of_turn>, </think>, <<SYS>>, [INST], ### Response:, USER:
_TAG = re.compile(r"<{1,2}[^\s<>]{1,64}>{1,2}|\[/?[A-Z_]{2,}\]|#{2,} ?\w+:|\b[A-Z]{4,}:")
_NEVER = re.compile(r"(?!)")


def is_control(token: AddedToken, literals: Iterable[str] = ()) -> bool:
    """Whether an added token is a word of the format.

    Others are text: runs of white space, single characters, runs of punctuation, and words that somebody added to the
    vocabulary and that no template writes. "(end)", "end_of_turn" and "USER:" are no such words: beside letters they
    have signs that words lack. One that is cut though it is text loses nothing but its own token.

    Args:
        literals: the literal text of the templates.
    """
    if token.special or len(token.content.strip()) < 2:
        return token.special
    content = token.content
    if _SIGNS.search(content) or any(content in text for text in literals):
        return True
    signs = set(content) - set(_OF_WORDS)
    return any(map(str.isalpha, content)) and any(unicodedata.category(sign)[0] in "PS" for sign in signs)


def tags_of(literals: Iterable[str]) -> set[str]:
    """The tags in the literal text of templates."""
    return {tag for text in literals for tag in _TAG.findall(text)}


class FormatWords:
    """Finds the words of a format in texts.

    Args:
        tokens: words that are tokens; shorter ones than two characters are left out, since they cannot be cut.
        spelled: words of several tokens.
        normalize: what the tokenizer does to a text before it looks for tokens, if anything.
    """

    def __init__(self, tokens: Iterable[str], spelled: Iterable[str] = (), normalize: Normalize | None = None) -> None:
        self._normalize = normalize
        self._tokens = set(tokens)
        known = {word for word in (*self._tokens, *spelled) if len(word) > 1}
        if normalize is not None:
            known |= {word for word in map(normalize, known) if len(word) > 1}
        self._pattern = re.compile(_longest_of(sorted(known))) if known else _NEVER

    def cuts(self, text: str, template: Iterable[tuple[int, int]] = ()) -> list[int]:
        """Offsets at which the text is cut, ascending.

        Args:
            template: spans of the text in which the words of the format may stand.
        """
        spans = list(template)
        cuts: list[int] = []
        position = 0
        while match := self._pattern.search(text, position):
            if any(start <= match.start() and match.end() <= end for start, end in spans):
                position = match.end()
            else:
                end = match.start() + 2 if match[0] in self._tokens else match.end()
                cuts += range(match.start() + 1, end)
                position = cuts[-1]
        return cuts

    def first(self, text: str) -> tuple[int, int] | None:
        """The span of the first word in a text, if there is one."""
        match = self._pattern.search(text)
        return None if match is None else match.span()

    def turns(self, text: str) -> bool:
        """Whether the tokenizer finds a word of the format in the text, perhaps one that it makes itself."""
        return self._normalize is not None and self._pattern.search(self._normalize(text)) is not None

    def plain(self, text: str) -> str:
        """The text; a single character that the tokenizer would turn into a word of the format is turned now."""
        assert self._normalize is not None
        turned = {char: self._normalize(char) for char in set(text)}
        wrong = {char: word for char, word in turned.items() if self._pattern.search(word)}
        return "".join(wrong.get(char, char) for char in text) if wrong else text

    def hidden_cuts(self, text: str) -> list[int]:
        """Offsets, besides `cuts`, at which a text is cut because the tokenizer would turn it into a word."""
        hidden: list[int] = []
        for start, end in pairwise([0, *self.cuts(text), len(text)]):
            while self.turns(text[start:end]):
                first, last = self._hidden(text, start, end)
                hidden += range(first + 1, last)
                if last - first == 1:
                    break  # one character, which `plain` has turned
                start = last - 1
        return hidden

    def _hidden(self, text: str, start: int, end: int) -> tuple[int, int]:
        """The span of the first part that turns into a word."""
        last = _smallest(start + 1, end, lambda stop: self.turns(text[start:stop]))
        return last - _smallest(1, last - start, lambda length: self.turns(text[last - length : last])), last


def _smallest(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest number from `low` to `high` of which something holds; it does of `high`."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _longest_of(words: list[str]) -> str:
    """A regular expression for the longest of some sorted words; as a tree, since some tokenizers have thousands."""
    first, rest = words[0], words[1:]
    if not rest:
        return re.escape(first)
    last = words[-1]  # what the first and the last of sorted words share, all share
    shared = next((n for n, (x, y) in enumerate(zip(first, last, strict=False)) if x != y), min(len(first), len(last)))
    tails = [word[shared:] for word in words if len(word) > shared]
    groups = [list(group) for _, group in groupby(tails, key=lambda tail: tail[0])]
    branches = "|".join(map(_longest_of, groups))
    return f"{re.escape(first[:shared])}(?:{branches}){'?' if len(first) == shared else ''}"
