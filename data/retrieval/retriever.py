"""The way from a question to chunks, for all that asks: grounding, evaluation, `jora ask`.

    dense ranks (ChunkIndex) --+
                               +-- reciprocal rank fusion -- cross-encoder -- the best k
    BM25 ranks (KeywordIndex) -+          (hybrid)            (reranker)

Fusion is that of Cormack, Clarke and Büttcher (SIGIR 2009): a chunk's score is the sum over the rankings of
1 / (rrf_k + rank). Ranks need no common scale, which inner products and BM25 do not have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from data.documents.chunks import Chunk
from data.retrieval.index import ChunkIndex
from data.retrieval.keywords import KeywordIndex
from data.retrieval.reranker import ScorePairs
from data.retrieval.vectors import Embed


class RetrievalSettings(BaseModel):
    """How chunks are found for a question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hybrid: bool = Field(default=True, description="Fuse the ranks of BM25 with those of the embeddings.")
    rrf_k: int = Field(
        default=60, ge=0, description="With hybrid: the larger, the less the first ranks stand out of the fusion."
    )
    reranker: str | None = Field(
        default=None,
        min_length=1,
        description="A cross-encoder (folder or Hugging Face id) that orders the chunks that were found anew.",
    )
    depth: int = Field(
        default=50, ge=1, description="Chunks of each ranking that fusion sees, and of these that the reranker reads."
    )


class Retriever:
    """Finds chunks for questions.

    Args:
        chunks: those of the index, in its order.
        embed: texts to normalized vectors, float32 [N, D] (`Embedder.embed`).
        keywords: needed for hybrid retrieval.
        score: a cross-encoder's (`load_reranker`); none where chunks are not ordered anew.
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
        self._index = index
        self._embed = embed
        self._keywords = keywords
        self._score = score

    def search(self, texts: Sequence[str], k: int) -> list[list[str]]:
        """Ids of the best k chunks for each text, best first."""
        return list(self.rankings(texts, k).values())[-1]

    def rankings(self, texts: Sequence[str], k: int) -> dict[str, list[list[str]]]:
        """What each step of the way ranks first, by the step's name; the last is what `search` gives.

        Returns:
            Of each step, for each text, ids of at most k chunks, best first.
        """
        if not texts:
            return {"embeddings": []}
        last = not self.settings.hybrid and self._score is None
        depth = k if last else max(k, self.settings.depth)
        steps = {"embeddings": self._index.search(self._embed(texts), depth)[1]}
        if self.settings.hybrid:
            assert self._keywords is not None
            ids = self._index.chunk_ids
            steps["BM25"] = [[ids[place] for place in row] for row in self._keywords.search(texts, depth)]
            pairs = zip(steps["embeddings"], steps["BM25"], strict=True)
            steps["hybrid"] = [fuse(pair, self.settings.rrf_k)[:depth] for pair in pairs]
        if self._score is not None:
            found = list(steps.values())[-1]
            steps["reranked"] = [self._rerank(text, row) for text, row in zip(texts, found, strict=True)]
        return {name: [row[:k] for row in rows] for name, rows in steps.items()}

    def _rerank(self, text: str, found: Sequence[str]) -> list[str]:
        assert self._score is not None
        read, rest = found[: self.settings.depth], found[self.settings.depth :]
        if not read:
            return []
        scores = self._score([(text, self._texts[name]) for name in read])
        return [read[place] for place in np.argsort(-scores, kind="stable")] + list(rest)


def fuse(rankings: Sequence[Sequence[str]], rrf_k: int) -> list[str]:
    """One ranking of several: by the sum of 1 / (rrf_k + rank), ranks from 1; equal sums by the first ranking."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, name in enumerate(ranking, start=1):
            scores[name] = scores.get(name, 0.0) + 1 / (rrf_k + rank)
    # Sorting is stable, and a dict keeps the order of the first ranking.
    return sorted(scores, key=lambda name: -scores[name])
