"""An exact inner-product index over chunk embeddings (FAISS), saved with its chunk ids and its embedder's digest.

Folder: `index.faiss`, `chunk_ids.json` (a list, in the order of the vectors) and `index.json` (facts and digests).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_VECTORS, _IDS, _FACTS = "index.faiss", "chunk_ids.json", "index.json"


class ChunkIndex:
    """Finds the chunks whose embeddings have the largest inner product with a vector.

    Attributes:
        chunk_ids: in the order of the vectors.
        embedder_digest: `Embedder.digest` of the embedder that made the vectors.
    """

    def __init__(self, index: Any, chunk_ids: Sequence[str], embedder_digest: str) -> None:
        assert index.ntotal == len(chunk_ids)
        self._index = index
        self.chunk_ids = tuple(chunk_ids)
        self.embedder_digest = embedder_digest

    def __len__(self) -> int:
        return len(self.chunk_ids)

    @classmethod
    def build(cls, vectors: np.ndarray, chunk_ids: Sequence[str], embedder_digest: str) -> ChunkIndex:
        """An index over vectors (float32 [N, D], normalized), one for each chunk id.

        Raises:
            ValueError: there are no chunks.
        """
        import faiss

        if len(chunk_ids) == 0:
            raise ValueError("no chunks to index: give documents with text")
        assert vectors.ndim == 2 and len(vectors) == len(chunk_ids) == len(set(chunk_ids))
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors, np.float32))
        return cls(index, chunk_ids, embedder_digest)

    def save(self, folder: Path) -> None:
        """Writes the three files; the folder is made when it is missing."""
        import faiss

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Serialized here, not by faiss.write_index, so that the digest is of the bytes meant, not of those on disk.
        vectors = faiss.serialize_index(self._index).tobytes()
        ids = json.dumps(self.chunk_ids, ensure_ascii=False, indent=0).encode()
        facts = {
            "chunk_ids_sha256": hashlib.sha256(ids).hexdigest(),
            "count": len(self),
            "dimension": self._index.d,
            "embedder_digest": self.embedder_digest,
            "vectors_sha256": hashlib.sha256(vectors).hexdigest(),
        }
        (folder / _VECTORS).write_bytes(vectors)
        (folder / _IDS).write_bytes(ids)
        (folder / _FACTS).write_text(json.dumps(facts, sort_keys=True, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path, embedder_digest: str) -> ChunkIndex:
        """Loads what `save` wrote.

        Raises:
            ValueError: a file is missing or damaged, or another embedder made the vectors.
        """
        import faiss

        folder = Path(folder)
        facts = _read_facts(folder)
        if facts["embedder_digest"] != embedder_digest:
            raise ValueError(
                f"the index in {folder} was built by another embedder ({facts['embedder_digest']}, not "
                f"{embedder_digest}): use that embedder, or delete the folder to rebuild the index"
            )
        vectors = _read_checked(folder / _VECTORS, facts["vectors_sha256"])
        ids = _read_checked(folder / _IDS, facts["chunk_ids_sha256"])
        index = faiss.deserialize_index(np.frombuffer(vectors, np.uint8))
        return cls(index, json.loads(ids), embedder_digest)

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, list[list[str]]]:
        """The best k chunks for each vector, or all when there are fewer; equal scores in the chunks' order.

        Args:
            vectors: float32 [Q, D], normalized.

        Returns:
            Scores, float32 [Q, min(k, N)], from high to low, and the chunk ids in the same places.
        """
        if k < 1:
            raise ValueError(f"k={k} chunks cannot be searched: use 1 or more")
        assert vectors.ndim == 2 and vectors.shape[1] == self._index.d
        found, positions = self._index.search(np.ascontiguousarray(vectors, np.float32), min(k, len(self)))
        order = np.lexsort((positions, -found), axis=-1)  # faiss returns equal scores in the order of its heap
        found = np.take_along_axis(found, order, axis=-1)
        positions = np.take_along_axis(positions, order, axis=-1)
        return found, [[self.chunk_ids[position] for position in row] for row in positions]

    def vectors(self) -> np.ndarray:
        """The vectors that the index was built from, float32 [N, D]."""
        return np.asarray(self._index.reconstruct_n(0, len(self)), np.float32)


def _read_facts(folder: Path) -> dict[str, Any]:
    path = folder / _FACTS
    if not path.is_file():
        raise ValueError(f"no index in {folder} ({_FACTS} is missing): build it first")
    try:
        facts = json.loads(path.read_bytes())
        return {key: facts[key] for key in ("embedder_digest", "vectors_sha256", "chunk_ids_sha256")}
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"{path} is damaged: delete {folder} to rebuild the index") from None


def _read_checked(path: Path, sha256: str) -> bytes:
    """The bytes of a file; FAISS is never given damaged ones, whose sizes it would believe."""
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{path} is missing or damaged: delete {path.parent} to rebuild the index")
    return content
