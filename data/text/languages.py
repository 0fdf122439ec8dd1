"""The language of a text, by py3langid: 140 languages, offline."""

from __future__ import annotations

from functools import cache
from typing import Any

_CHARACTERS = 5000  # enough to identify a document's language


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def known_languages() -> frozenset[str]:
    """The codes that `language_of` may return: ISO 639 ("en", "de", "zh", "yue")."""
    return frozenset(_identifier().labels)


def language_of(text: str) -> tuple[str, float]:
    """(code, probability) of the likeliest language; the probability is small for a text with few words."""
    code, probability = _identifier().classify(text[:_CHARACTERS])
    return str(code), float(probability)


def language_probabilities(text: str) -> dict[str, float]:
    """The probability of each known language of a text."""
    return {str(code): float(probability) for code, probability in _identifier().rank(text[:_CHARACTERS])}
