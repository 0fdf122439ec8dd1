"""An index by inner product over chunk embeddings (FAISS), saved with its chunk ids and its embedder's digest.

Folder: `index.faiss`, `chunk_ids.json` (a list, in the order of the vectors), `index.json` (facts and digests) and,
for an approximate kind (index_kinds.py), `vectors.npy`, the exact vectors, by which its candidates are scored. Loaded,
index and vectors are mapped into memory: what is not touched is not read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from data.retrieval.index_kinds import EXACT, IndexQuality, IndexSettings, build_index, choose_factory, tune
from user_error import UserError

_INDEX, _VECTORS, _IDS, _FACTS = "index.faiss", "vectors.npy", "chunk_ids.json", "index.json"
_CANDIDATES = 16  # of an approximate index, for each chunk that is wanted
_QUERIES_AT_ONCE = 64


class ChunkIndex:
    """Finds the chunks whose embeddings have the largest inner product with a vector.

    Attributes:
        chunk_ids: in the order of the vectors.
        embedder_digest: `Embedder.digest` of the embedder that made the vectors.
        quality: the kind, and the recall that was measured when it was built.
    """

    def __init__(
        self,
        index: Any,
        chunk_ids: Sequence[str],
        embedder_digest: str,
        quality: IndexQuality,
        exact: np.ndarray | None = None,
    ) -> None:
        assert index.ntotal == len(chunk_ids)
        self._index = index
        self._exact = exact
        self.chunk_ids = tuple(chunk_ids)
        self.embedder_digest = embedder_digest
        self.quality = quality

    def __len__(self) -> int:
        return len(self.chunk_ids)

    @classmethod
    def build(
        cls,
        vectors: np.ndarray,
        chunk_ids: Sequence[str],
        embedder_digest: str,
        settings: IndexSettings | None = None,
    ) -> ChunkIndex:
        """An index over vectors (float32 [N, D], normalized), one for each chunk id.

        Raises:
            UserError: there are no chunks, FAISS knows no such kind, or it finds less than `min_recall`.
        """
        settings = settings or IndexSettings()
        if len(chunk_ids) == 0:
            raise UserError("no chunks to index: give documents with text")
        assert vectors.ndim == 2 and len(vectors) == len(chunk_ids) == len(set(chunk_ids))
        vectors = np.ascontiguousarray(vectors, np.float32)
        factory = choose_factory(settings, *vectors.shape)
        index = build_index(vectors, factory)
        if factory == EXACT:
            return cls(index, chunk_ids, embedder_digest, IndexQuality(factory, {}, 1.0, 0))
        draft = cls(index, chunk_ids, embedder_digest, IndexQuality(factory, {}, 0.0, 0), vectors)
        draft.quality = tune(index, factory, vectors, lambda queries, k: draft._search(queries, k)[1], settings)
        return draft

    def save(self, folder: Path) -> None:
        """Writes the files; the folder is made when it is missing."""
        import faiss

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Serialized here, not by faiss.write_index, so that the digest is of the bytes meant, not of those on disk.
        files: dict[str, Any] = {
            _INDEX: faiss.serialize_index(self._index).data,
            _IDS: json.dumps(self.chunk_ids, ensure_ascii=False, indent=0).encode(),
        }
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        for name, content in files.items():
            (folder / name).write_bytes(content)
        if self._exact is not None:
            np.save(folder / _VECTORS, self._exact)
            digests[_VECTORS] = _digest(folder / _VECTORS)
        facts = {
            "count": len(self),
            "dimension": self._index.d,
            "embedder_digest": self.embedder_digest,
            "quality": asdict(self.quality),
            "sha256": digests,
        }
        (folder / _FACTS).write_text(json.dumps(facts, sort_keys=True, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path, embedder_digest: str, *, check: bool = True) -> ChunkIndex:
        """Maps what `save` wrote into memory.

        Args:
            check: compare the files with their digests. Leave it out only where that was done: FAISS believes the sizes
                that a damaged file names.

        Raises:
            UserError: a file is missing or damaged, or another embedder made the vectors.
        """
        import faiss

        folder = Path(folder)
        facts = _read_facts(folder)
        if facts["embedder_digest"] != embedder_digest:
            raise UserError(
                f"the index in {folder} was built by another embedder ({facts['embedder_digest']}, not "
                f"{embedder_digest}): use that embedder, or delete the folder to rebuild the index"
            )
        for name, sha256 in facts["sha256"].items():
            path = folder / name
            if not path.is_file() or (check and _digest(path) != sha256):
                raise UserError(f"{path} is missing or damaged: delete {folder} to rebuild the index")
        quality = IndexQuality(**facts["quality"])
        ids = json.loads((folder / _IDS).read_bytes())
        exact = None if quality.factory == EXACT else np.load(folder / _VECTORS, mmap_mode="r")
        index = faiss.read_index(str(folder / _INDEX), faiss.IO_FLAG_MMAP_IFC)
        return cls(index, ids, embedder_digest, quality, exact)

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, list[list[str]]]:
        """The best k chunks for each vector, or all when there are fewer; equal scores in the chunks' order.

        An approximate index may find fewer than k, where k is many.

        Args:
            vectors: float32 [Q, D], normalized.

        Returns:
            Scores, float32 [Q, min(k, N)], from high to low (-inf where nothing was found), and the chunk ids in the
            same places.
        """
        if k < 1:
            raise UserError(f"k={k} chunks cannot be searched: use 1 or more")
        assert vectors.ndim == 2 and vectors.shape[1] == self._index.d
        scores, positions = self._search(np.ascontiguousarray(vectors, np.float32), min(k, len(self)))
        return scores, [[self.chunk_ids[position] for position in row if position >= 0] for row in positions]

    def vectors(self) -> np.ndarray:
        """The vectors that the index was built from, float32 [N, D]; read only."""
        if self._exact is not None:
            return self._exact
        return np.asarray(self._index.reconstruct_n(0, len(self)), np.float32)

    def _search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores and positions, [Q, min(k, N)]; position -1 where nothing was found."""
        k = min(k, len(self))
        if self._exact is None:
            scores, positions = self._index.search(vectors, k)
            return _best(scores, positions, k)
        found = []
        for start in range(0, len(vectors), _QUERIES_AT_ONCE):
            asked = vectors[start : start + _QUERIES_AT_ONCE]
            _, positions = self._index.search(asked, min(_CANDIDATES * k, len(self)))
            scores = np.einsum("qd,qcd->qc", asked, self._exact[positions])
            scores[positions < 0] = -np.inf
            found.append(_best(scores, positions, k))
        if not found:
            return np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)
        return np.concatenate([scores for scores, _ in found]), np.concatenate([places for _, places in found])


def _best(scores: np.ndarray, positions: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k with the highest scores, in this order."""
    order = np.lexsort((positions, -scores), axis=-1)[:, :k]  # faiss returns equal scores in the order of its heap
    return np.take_along_axis(scores, order, axis=-1), np.take_along_axis(positions, order, axis=-1)


def _read_facts(folder: Path) -> dict[str, Any]:
    path = folder / _FACTS
    if not path.is_file():
        raise UserError(f"no index in {folder} ({_FACTS} is missing): build it first")
    try:
        facts = json.loads(path.read_bytes())
        quality = IndexQuality(**facts["quality"])
        needed = {_INDEX, _IDS} | ({_VECTORS} if quality.factory != EXACT else set())
        if set(facts["sha256"]) != needed:
            raise KeyError
        return {key: facts[key] for key in ("embedder_digest", "quality", "sha256")}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{path} is damaged: delete {folder} to rebuild the index") from None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
