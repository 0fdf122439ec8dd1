"""Vectors kept by content: (how they are computed, digest of the text) -> vector.

    FOLDER/FINGERPRINT/*.rows    rows of (32 hex digits of the text's sha256, float32 [D]), in shards (shelf.py)

A text that was embedded once is never embedded again, whatever document or index it stands in. A vector does not depend
on what was embedded beside it (`Embedder`), so that an index over kept vectors equals one built from nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
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
        self._shelf = Shelf(Path(folder) / fingerprint, ".rows")
        self._row = np.dtype([("key", "S32"), ("vector", "<f4", (dimension,))])

    def missing(self, texts: Sequence[str]) -> list[str]:
        """The texts that have no vector yet, each once, in their order."""
        wanted = {_key(text): text for text in texts}
        for rows in self._read():
            for key in rows["key"].tolist():
                wanted.pop(key, None)
        return list(wanted.values())

    def add(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keeps the vectors (float32 [N, D]) of texts."""
        if not texts:
            return
        rows = np.empty(len(texts), self._row)
        rows["key"] = [_key(text) for text in texts]
        rows["vector"] = vectors
        self._shelf.add(np.sort(rows, order="key").tobytes())

    def get(self, texts: Sequence[str], embed: Embed) -> np.ndarray:
        """The vectors of texts, float32 [N, D]; what is missing is embedded and kept."""
        for shard in shards(self.missing(texts)):
            self.add(shard, embed(shard))
        places: dict[bytes, list[int]] = {}
        for place, text in enumerate(texts):
            places.setdefault(_key(text), []).append(place)
        vectors = np.empty((len(texts), self._row["vector"].shape[0]), np.float32)
        for rows in self._read():
            for number, key in enumerate(rows["key"].tolist()):
                for place in places.pop(key, ()):
                    vectors[place] = rows["vector"][number]
            if not places:
                break
        assert not places, "a shard went while it was read: run it again"
        return vectors

    def _read(self) -> Iterator[np.ndarray]:
        for path in self._shelf.shards():
            # No .npy: NumPy reads its header with ast.parse, which fails in two threads at once on CPython 3.11.
            yield np.memmap(path, self._row, "r")


def shards(texts: Sequence[str]) -> list[list[str]]:
    """The texts in pieces, each of which is embedded and kept as one."""
    return [list(texts[start : start + _SHARD_TEXTS]) for start in range(0, len(texts), _SHARD_TEXTS)]


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).hexdigest()[:32].encode()
