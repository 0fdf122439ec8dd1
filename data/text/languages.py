"""The language of a text, by py3langid: 140 languages, from their letters and syllables, without a network."""

from __future__ import annotations

from functools import cache
from typing import Any

# Enough to be sure of a document's language.
_ENOUGH = 5000


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def known_languages() -> frozenset[str]:
    """The codes that `language_of` may give: ISO 639 ("en", "de", "zh", "yue")."""
    return frozenset(_identifier().labels)


def language_of(text: str) -> tuple[str, float]:
    """(code, probability) of the likeliest language; of a text with nothing to go by the probability is small."""
    code, probability = _identifier().classify(text[:_ENOUGH])
    return str(code), float(probability)
