"""Retrieval of chunks for a question, the same for grounding, evaluation and `jora ask`.

    dense ranks (ChunkIndex) --+
                               +-- reciprocal rank fusion -- cross-encoder -- the best k
    BM25 ranks (KeywordIndex) -+          (hybrid)            (reranker)

Fusion is by Cormack, Clarke and Büttcher (SIGIR 2009): a chunk's score is the sum over the rankings of
1 / (rrf_k + rank). It needs no common scale of scores, which inner products and BM25 do not have.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from data.documents.chunks import Chunk
from data.retrieval.index import ChunkIndex
from data.retrieval.keywords import KeywordIndex
from data.retrieval.reranker import ScorePairs
from data.retrieval.vectors import Embed


class RetrievalSettings(BaseModel):
    """How chunks are retrieved for a question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Not part of a cache key: it changes no ranking.
    NO_INPUT: ClassVar[frozenset[str]] = frozenset({"min_recall"})

    hybrid: bool = Field(default=True, description="Fuse the ranking of BM25 with that of the embeddings.")
    rrf_k: int = Field(
        default=60, ge=0, description="With hybrid: a larger value gives the first ranks less weight in the fusion."
    )
    reranker: str | None = Field(
        default=None,
        min_length=1,
        description="A cross-encoder (folder or Hugging Face id) that re-ranks the retrieved chunks.",
    )
    depth: int = Field(
        default=50, ge=1, description="Chunks per ranking that enter fusion, and chunks that the reranker scores."
    )
    min_recall: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Stop before the dataset is built and training is paid for if a smaller share of the questions has "
        "its oracle among the first 5 chunks. Default: warn below one half.",
    )


class Retriever:
    """Retrieves chunks for questions.

    Args:
        chunks: those of the index, in its order.
        embed: texts to normalized vectors, float32 [N, D] (`Embedder.embed`).
        keywords: needed for hybrid retrieval.
        score: a cross-encoder's (`load_reranker`); None for no re-ranking.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        index: ChunkIndex,
        embed: Embed,
        settings: RetrievalSettings,
        keywords: KeywordIndex | None = None,
        score: ScorePairs | None = None,
    ) -> None:
        self.settings = settings
        assert keywords is not None or not self.settings.hybrid
        assert tuple(chunk.id for chunk in chunks) == index.chunk_ids
        self._texts = {chunk.id: chunk.search_text for chunk in chunks}
        self._rows = {chunk.id: row for row, chunk in enumerate(chunks)}
        self._of_document: dict[str, set[str]] = {}
        for chunk in chunks:
            self._of_document.setdefault(chunk.document_id, set()).add(chunk.id)
        self._index = index
        self._embed = embed
        self._keywords = keywords
        self._score = score

    @property
    def chunk_ids(self) -> tuple[str, ...]:
        """Ids of all chunks, in the order of the index."""
        return self._index.chunk_ids

    def chunks_of(self, document_id: str) -> Set[str]:
        """Ids of the chunks of a document; empty for an unknown one."""
        return self._of_document.get(document_id, frozenset())

    def search_text(self, chunk_id: str) -> str:
        """The text of a chunk that is embedded and indexed."""
        return self._texts[chunk_id]

    def vectors_of(self, chunk_ids: Sequence[str]) -> np.ndarray:
        """The vectors of some chunks, float32 [N, D], normalized."""
        return self._index.vectors()[[self._rows[chunk_id] for chunk_id in chunk_ids]]

    def search(self, texts: Sequence[str], k: int) -> list[list[str]]:
        """Ids of the best k chunks for each text, best first."""
        return list(self.rankings(texts, k).values())[-1]

    def rankings(self, texts: Sequence[str], k: int) -> dict[str, list[list[str]]]:
        """The ranking after each step, by the step's name; `search` returns the last.

        Returns:
            For each step and each text, ids of at most k chunks, best first.
        """
        if not texts:
            return {"embeddings": []}
        last = not self.settings.hybrid and self._score is None
        depth = k if last else max(k, self.settings.depth)
        steps = {"embeddings": self._index.search(self._embed(texts), depth)[1]}
        if self.settings.hybrid:
            assert self._keywords is not None
            ids = self._index.chunk_ids
            steps["BM25"] = [[ids[position] for position in row] for row in self._keywords.search(texts, depth)]
            pairs = zip(steps["embeddings"], steps["BM25"], strict=True)
            steps["hybrid"] = [fuse(pair, self.settings.rrf_k)[:depth] for pair in pairs]
        if self._score is not None:
            ranked = list(steps.values())[-1]
            steps["reranked"] = [self._rerank(text, row) for text, row in zip(texts, ranked, strict=True)]
        return {name: [row[:k] for row in rows] for name, rows in steps.items()}

    def _rerank(self, text: str, ranked: Sequence[str]) -> list[str]:
        assert self._score is not None
        scored, rest = ranked[: self.settings.depth], ranked[self.settings.depth :]
        if not scored:
            return []
        scores = self._score([(text, self._texts[name]) for name in scored])
        return [scored[index] for index in np.argsort(-scores, kind="stable")] + list(rest)


def fuse(rankings: Sequence[Sequence[str]], rrf_k: int) -> list[str]:
    """Fuses rankings by the sum of 1 / (rrf_k + rank), ranks from 1; equal sums in the order of the first ranking."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, start=1):
            scores[name] = scores.get(name, 0.0) + 1 / (rrf_k + rank)
    # Sorting is stable, and a dict keeps the order of the first ranking.
    return sorted(scores, key=lambda name: -scores[name])
