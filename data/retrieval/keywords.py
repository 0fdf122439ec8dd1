"""BM25 over chunks (bm25s), for questions that share rare words with a chunk."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from user_error import UserError


class KeywordIndex:
    """Scores chunks by the words that they share with a question; words are lower-cased, not stemmed.

    Stop words are kept: the list would be English only, and BM25 gives frequent words little weight.
    """

    def __init__(self, scorer: Any) -> None:
        self._scorer = scorer

    @classmethod
    def build(cls, texts: Sequence[str]) -> KeywordIndex:
        """An index over the texts of chunks, in their order."""
        words = _words(texts)
        if not any(words):  # bm25s cannot index an empty vocabulary
            words = [["-"] for _ in texts]
        scorer = _bm25s().BM25(method="lucene")
        # Numbered in sorted order: bm25s would number a set, whose order differs between processes.
        vocabulary = {word: number for number, word in enumerate(sorted({word for text in words for word in text}))}
        numbered = [[vocabulary[word] for word in text] for text in words]
        scorer.index((numbered, vocabulary), show_progress=False)
        return cls(scorer)

    def save(self, folder: Path) -> None:
        """Writes bm25s's files; creates the folder if it is missing."""
        self._scorer.save(str(folder), show_progress=False)

    @classmethod
    def load(cls, folder: Path) -> KeywordIndex:
        """Memory-maps what `save` wrote.

        Raises:
            UserError: there is no such index in the folder.
        """
        try:
            return cls(_bm25s().BM25.load(str(folder), mmap=True, show_progress=False))
        except (OSError, ValueError):
            raise UserError(f"no keyword index in {folder}: build the index with retrieval.hybrid=true") from None

    def search(self, texts: Sequence[str], k: int) -> list[list[int]]:
        """Positions of the best k chunks for each text, best first, equal scores in the chunks' order.

        A chunk that shares no word with a text is not among them.
        """
        rankings: list[list[int]] = []
        for words in _words(texts):
            known = [word for word in words if word in self._scorer.vocab_dict]
            if not known:
                rankings.append([])
                continue
            scores = self._scorer.get_scores(known)
            positions = np.flatnonzero(scores > 0)
            if len(positions) > k:  # sort only the best k, with all that tie with the last of them
                positions = positions[scores[positions] >= np.partition(scores[positions], -k)[-k]]
            rankings.append(positions[np.lexsort((positions, -scores[positions]))][:k].tolist())
        return rankings


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
