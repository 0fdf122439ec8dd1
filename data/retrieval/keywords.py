"""BM25 over chunks (bm25s): what shares rare words with a question, whatever an embedding makes of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from user_error import UserError


class KeywordIndex:
    """Scores chunks by the words that they share with a question; words are lower-cased, not stemmed.

    No stop words are left out: the list would be English only, and BM25 gives frequent words little weight.
    """

    def __init__(self, scorer: Any) -> None:
        self._scorer = scorer

    @classmethod
    def build(cls, texts: Sequence[str]) -> KeywordIndex:
        """An index over the texts of chunks, in their order."""
        words = _words(texts)
        if not any(words):  # bm25s indexes no empty vocabulary
            words = [["-"] for _ in texts]
        scorer = _bm25s().BM25(method="lucene")
        # Numbered here, in the order of the alphabet: bm25s would number a set, in another order in every process.
        vocabulary = {word: number for number, word in enumerate(sorted({word for text in words for word in text}))}
        numbered = [[vocabulary[word] for word in text] for text in words]
        scorer.index((numbered, vocabulary), show_progress=False)
        return cls(scorer)

    def save(self, folder: Path) -> None:
        """Writes bm25s's files; the folder is made when it is missing."""
        self._scorer.save(str(folder), show_progress=False)

    @classmethod
    def load(cls, folder: Path) -> KeywordIndex:
        """Maps what `save` wrote into memory.

        Raises:
            UserError: there is no such index in the folder.
        """
        try:
            return cls(_bm25s().BM25.load(str(folder), mmap=True, show_progress=False))
        except (OSError, ValueError):
            raise UserError(f"no keyword index in {folder}: build the index with retrieval.hybrid=true") from None

    def search(self, texts: Sequence[str], k: int) -> list[list[int]]:
        """Positions of the best k chunks for each text, best first, equal scores in the chunks' order.

        A chunk that shares no word with a text is not found.
        """
        found: list[list[int]] = []
        for words in _words(texts):
            known = [word for word in words if word in self._scorer.vocab_dict]
            if not known:
                found.append([])
                continue
            scores = self._scorer.get_scores(known)
            places = np.flatnonzero(scores > 0)
            if len(places) > k:  # not all are sorted; of those that equal the last that counts, all are kept
                places = places[scores[places] >= np.partition(scores[places], -k)[-k]]
            found.append(places[np.lexsort((places, -scores[places]))][:k].tolist())
        return found


def _bm25s() -> Any:
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # when imported it sets itself to DEBUG
    return bm25s


def _words(texts: Sequence[str]) -> list[list[str]]:
    pattern = r"(?u)\w+"
    words: list[list[str]] = _bm25s().tokenize(
        list(texts), stopwords=None, token_pattern=pattern, return_ids=False, show_progress=False
    )
    return words
