"""Vectors kept by content: (how they are computed, digest of the text) -> vector, in FOLDER/FINGERPRINT.sqlite.

A text that was embedded once is never embedded again, whatever document or index it belongs to. A vector does not
depend on what was embedded beside it (`Embedder`), so an index over kept vectors equals one built from nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from data.files.shelf import Shelf

Embed = Callable[[Sequence[str]], np.ndarray]

_SHARD_TEXTS = 1024  # half a minute of MiniLM on two cores: what a killed run loses


class VectorStore:
    """The vectors of one embedder.

    Args:
        folder: of all embedders' vectors.
        fingerprint: `Embedder.fingerprint`.
        dimension: D.
    """

    def __init__(self, folder: Path, fingerprint: str, dimension: int) -> None:
        self.fingerprint = fingerprint
        self._shelf = Shelf(Path(folder) / f"{fingerprint}.sqlite")
        self._dimension = dimension

    def missing(self, texts: Sequence[str]) -> list[str]:
        """The texts that have no vector yet, without repeats, in their order."""
        wanted = {_key(text): text for text in texts}
        known = self._shelf.get(wanted)
        return [text for key, text in wanted.items() if key not in known]

    def add(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keeps the vectors (float32 [N, D]) of texts."""
        rows = np.asarray(vectors, "<f4")
        self._shelf.add({_key(text): row.tobytes() for text, row in zip(texts, rows, strict=True)})

    def get(self, texts: Sequence[str], embed: Embed) -> np.ndarray:
        """The vectors of texts, float32 [N, D]; missing ones are embedded and kept."""
        wanted = {_key(text): text for text in texts}
        known = self._shelf.get(wanted)
        for shard in shards([text for key, text in wanted.items() if key not in known]):
            vectors = np.asarray(embed(shard), "<f4")
            self.add(shard, vectors)
            known |= {_key(text): row.tobytes() for text, row in zip(shard, vectors, strict=True)}
        joined = b"".join(known[_key(text)] for text in texts)
        return np.frombuffer(bytearray(joined), "<f4").reshape(len(texts), self._dimension)


def shards(texts: Sequence[str]) -> list[list[str]]:
    """The texts in groups, each of which is embedded and kept at once."""
    return [list(texts[start : start + _SHARD_TEXTS]) for start in range(0, len(texts), _SHARD_TEXTS)]


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
