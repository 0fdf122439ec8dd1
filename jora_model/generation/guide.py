"""Constrained decoding: the tokens that a grammar allows next, computed by the library llguidance.

    grammars = Grammars(base_folder, vocab_size=49152, end_ids=(2,))
    guide = grammars.guide('start: "yes" | "no"')
    guide.allowed      # one bit per token
    guide.take(token, likeliest)

A grammar is text in llguidance's Lark-like syntax. One that several answers share is compiled once.
"""

import json
import logging
from collections.abc import Sequence, Set
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from jora_model.spec.hf_files import TOKENIZER

log = logging.getLogger(__name__)

_PRIVATE = "\U000f0002"  # a character of private use
_COMPILED = 256  # grammars in the cache
# The library's default limits allow about a thousand sentences. With these, the first token of a quote takes 10 ms with
# 4,000 sentences, 0.2 ms with 40.
_LIMITS: dict[str, Any] = {
    "max_items_in_row": 50_000,
    "step_max_items": 500_000,
    "initial_lexer_fuel": 100_000_000,
    "step_lexer_fuel": 10_000_000,
    "max_lexer_states": 5_000_000,
    "max_grammar_size": 5_000_000,
}


class Guide:
    """The state of one answer in a grammar.

    Attributes:
        overruled: how many of its tokens are not the likeliest, because that was not allowed; None once llguidance has
            failed on the grammar, and the answer continues unconstrained.
    """

    def __init__(self, matcher: Any):
        self.overruled: int | None = 0
        self._matcher = matcher
        self._allowed: np.ndarray | None = None

    @property
    def allowed(self) -> np.ndarray | None:
        """The allowed tokens, uint8 [ceil(V / 8)]: bit n % 8 of byte n // 8 is set for token n. None allows all."""
        if self._allowed is None and self.overruled is not None:
            bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
            if self._matcher.is_error():
                self._give_up()
            else:
                self._allowed = bits
        return self._allowed

    def take(self, token: int, likeliest: int) -> None:
        """Advance by an allowed token; `likeliest` is the token that would be chosen without the grammar."""
        if self.allowed is None or self.overruled is None:
            return
        self.overruled += not self.allowed[likeliest // 8] >> (likeliest % 8) & 1
        self._allowed = None
        if not self._matcher.consume_token(token):
            self._give_up()

    def _give_up(self) -> None:
        log.warning("an answer continues without its grammar: %s", _line(self._matcher))
        self.overruled = None


class Grammars:
    """Grammars over the tokens of one tokenizer. A grammar that llguidance cannot use is logged and ignored: an
    evaluation does not fail for it after hours of training.

    Args:
        folder: of the model, with tokenizer.json.
        vocab_size: number of the model's logits, some of which may have no token.
        end_ids: tokens that end an answer; allowed where the grammar may end.
        control_ids: added tokens that are no text, whatever tokenizer.json calls them: a grammar allows none, so that
            a quote of "</think>" is written in ordinary tokens, as in training.
    """

    def __init__(self, folder: Path, vocab_size: int, end_ids: Sequence[int], control_ids: Sequence[int] = ()):
        self._tokenizer = _tokenizer(Path(folder) / TOKENIZER, vocab_size, end_ids, control_ids)
        self._compiled = lru_cache(_COMPILED)(self._compile)

    def guide(self, grammar: str) -> Guide | None:
        """The start state of a grammar; None if it cannot be used."""
        matcher = self._compiled(grammar)
        return None if matcher is None else Guide(matcher.deep_copy())

    def _compile(self, grammar: str) -> Any:
        if self._tokenizer is None:
            return None
        from llguidance import LLMatcher, LLParserLimits

        limits = LLParserLimits(**_LIMITS, verbose_errors=False)
        matcher = LLMatcher(self._tokenizer, LLMatcher.grammar_from_lark(grammar), limits=limits, log_level=0)
        if not matcher.is_error():
            return matcher
        log.warning("a grammar cannot be used, its answers are unconstrained: %s", _line(matcher))
        return None


def _tokenizer(path: Path, vocab_size: int, end_ids: Sequence[int], control_ids: Sequence[int]) -> Any:
    from llguidance import LLTokenizer

    try:
        text = _without_words(path.read_text(encoding="utf-8"), {*control_ids, *end_ids})
        return LLTokenizer(text, n_vocab=vocab_size, eos_token=list(end_ids))
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("answers are unconstrained: %s cannot be used (%s)", path, str(error).splitlines()[0])
        return None


def _without_words(text: str, ids: Set[int]) -> str:
    """Return tokenizer.json with other words for these added tokens, which no text holds.

    Else llguidance, where a quote is certain to go on with "</think>", allows only the token of that name, and then
    does not take it.
    """
    fields = json.loads(text)
    model = fields["model"]
    words: dict[str, str] = {}
    for token in fields.get("added_tokens") or []:
        if token["id"] in ids and token["content"] != model.get("unk_token"):
            words[token["content"]] = f"{_PRIVATE}{token['id']}{_PRIVATE}"
            token.update(content=words[token["content"]], special=True, normalized=False)
    if isinstance(vocabulary := model["vocab"], dict):
        model["vocab"] = {words.get(word, word): number for word, number in vocabulary.items()}
    else:
        model["vocab"] = [[words.get(word, word), score] for word, score in vocabulary]
    return json.dumps(fields)


def _line(matcher: Any) -> str:
    return str(matcher.get_error()).strip().partition("\n")[0]
