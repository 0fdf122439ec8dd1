"""Kinds of index: exact up to a size, then HNSW, then IVF, or what a `faiss.index_factory` string describes.

An approximate index only names candidates; the exact vectors, which lie beside it, score and order them (index.py). How
hard it looks (efSearch, nprobe) is doubled until it finds what exact search finds in a sample of the chunks, and what
it then finds in another sample is its recall. Graphs are built by one thread: with more, the same chunks would give
another graph each time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from user_error import UserError

log = logging.getLogger(__name__)

EXACT = "Flat"
RECALL_DEPTH = 10

_HNSW_UP_TO = 200_000  # one thread builds a graph of this size in minutes; k-means keeps all cores busy
_SAMPLE = 256  # chunks, for each of the two measurements
_TRAINING_POINTS = 40  # of each centroid; FAISS warns below 39
_EFFORTS = {"efSearch": (32, 1024), "nprobe": (4, 4096)}  # first and last

# (queries float32 [Q, D], k) -> positions of the best k in the vectors, int64 [Q, k].
VectorSearch = Callable[[np.ndarray, int], np.ndarray]


class IndexSettings(BaseModel):
    """Which FAISS index finds chunks, and how much an approximate one may miss."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(
        default="auto",
        min_length=1,
        description='"exact", "hnsw", "ivf" (a byte a number), "ivfpq" (a byte for four, slow to train), a string of '
        'faiss.index_factory such as "OPQ32,IVF256,PQ32", or "auto": exact up to exact_up_to chunks, then hnsw or ivf '
        "by size.",
    )
    exact_up_to: int = Field(default=50_000, ge=0, description='With "auto", so many chunks are searched exactly.')
    min_recall: float = Field(
        default=0.95,
        ge=0,
        le=1,
        description="An approximate index must find this share of the 10 nearest chunks, or it is refused.",
    )


@dataclass(frozen=True, slots=True)
class IndexQuality:
    """What a built index is.

    Attributes:
        factory: the string of `faiss.index_factory`.
        effort: name and value of what decides how hard it looks; none for an exact index.
        recall: share of the `RECALL_DEPTH` nearest that it finds, on `sample` chunks that did not choose the effort.
        sample: 0 for an exact index, which misses nothing.
    """

    factory: str
    effort: dict[str, int]
    recall: float
    sample: int


def choose_factory(settings: IndexSettings, count: int, dimension: int) -> str:
    """The `faiss.index_factory` string for so many vectors [count, dimension]."""
    kind = settings.kind
    if kind == "auto":
        kind = "exact" if count <= settings.exact_up_to else "hnsw" if count <= _HNSW_UP_TO else "ivf"
    if kind == "exact":
        return EXACT
    if kind == "hnsw":
        return "HNSW32,SQ8"
    if kind in ("ivf", "ivfpq"):
        lists = 1 << max(0, round(np.log2(2 * count**0.5)))
        while lists > 1 and lists * _TRAINING_POINTS > count:
            lists //= 2
        if kind == "ivf":
            return f"IVF{lists},SQ8"
        codes = next(codes for codes in range(max(dimension // 4, 1), 0, -1) if dimension % codes == 0)
        return f"IVF{lists},PQ{codes}"
    return kind


def build_index(vectors: np.ndarray, factory: str) -> Any:
    """A trained and filled FAISS index by inner product over vectors, float32 [N, D] and contiguous.

    Raises:
        UserError: FAISS knows no such kind, or it does not suit so many vectors of this length.
    """
    import faiss

    count, dimension = vectors.shape
    advice = 'set index.kind to "auto", "exact", "hnsw", "ivf", "ivfpq" or a string of faiss.index_factory'
    try:
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        index.train(_training_points(vectors, index))
        with _one_thread("HNSW" in factory or "NSG" in factory):
            index.add(vectors)
    except (RuntimeError, AssertionError) as error:
        why = str(error).rpartition("Error: ")[2].strip() or type(error).__name__
        raise UserError(f"no index {factory!r} over {count} vectors of {dimension} numbers ({why}): {advice}") from None
    if index.ntotal != count:
        raise UserError(f"the index {factory!r} holds {index.ntotal} of {count} vectors: {advice}")
    return index


def tune(index: Any, factory: str, vectors: np.ndarray, search: VectorSearch, settings: IndexSettings) -> IndexQuality:
    """Sets how hard an approximate index looks, and measures what it finds.

    Args:
        search: by this index, with what follows it.

    Raises:
        UserError: at its hardest it still misses more than `min_recall` allows.
    """
    chosen = np.random.default_rng(0).permutation(len(vectors))[: 2 * _SAMPLE]
    halves = (chosen,) if len(vectors) < 2 * _SAMPLE else (chosen[:_SAMPLE], chosen[_SAMPLE:])
    first, second = halves[0], halves[-1]
    # Half of the misses that are allowed, so that the other sample does not fall short by chance.
    aim = (1 + settings.min_recall) / 2
    effort: dict[str, int] = {}
    nearest = _nearest(vectors, first)
    for effort in _efforts(index, len(vectors)):
        found = recall(search(vectors[first], RECALL_DEPTH + 1), nearest, first)
        log.debug("%s %s finds %.4f", factory, effort, found)
        if found >= aim:
            break
    if first is not second:
        nearest = _nearest(vectors, second)
    found = recall(search(vectors[second], RECALL_DEPTH + 1), nearest, second)
    if found < settings.min_recall:
        raise UserError(
            f"the index {factory!r} finds {found:.3f} of the {RECALL_DEPTH} nearest chunks at its hardest, less than "
            f'index.min_recall={settings.min_recall}: set index.kind="exact" or "hnsw", or lower index.min_recall'
        )
    log.info(
        "index: %s%s finds %.1f%% of the %d nearest chunks (of %d chunks tried)",
        factory,
        "".join(f" with {name}={value}" for name, value in effort.items()),
        100 * found,
        RECALL_DEPTH,
        len(second),
    )
    return IndexQuality(factory, effort, found, len(second))


def recall(found: np.ndarray, nearest: np.ndarray, own: np.ndarray) -> float:
    """The share of the nearest that was found; a chunk itself, whose vector asked, counts on neither side.

    Args:
        found, nearest: positions, int64 [Q, k].
        own: the position of each query, int64 [Q].
    """
    hits = wanted = 0
    for row, truth, itself in zip(found.tolist(), nearest.tolist(), own.tolist(), strict=True):
        sought = set(truth) - {itself, -1}
        hits += len(sought & set(row))
        wanted += len(sought)
    return hits / wanted if wanted else 1.0


def _nearest(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    import faiss

    depth = min(RECALL_DEPTH + 1, len(vectors))
    found: np.ndarray = faiss.knn(vectors[rows], vectors, depth, metric=faiss.METRIC_INNER_PRODUCT)[1]
    return found


def _efforts(index: Any, count: int) -> Iterator[dict[str, int]]:
    """Sets one effort after the other, each twice the one before; once nothing where there is nothing to set."""
    import faiss

    space = faiss.ParameterSpace()
    for name, (first, last) in _EFFORTS.items():
        try:
            space.set_index_parameter(index, name, first)
        except RuntimeError:
            continue
        while True:
            yield {name: first}
            first *= 2
            if first > min(last, 2 * count):
                return
            space.set_index_parameter(index, name, first)
    yield {}


def _training_points(vectors: np.ndarray, index: Any) -> np.ndarray:
    """Enough of the vectors for k-means, drawn by a seed, in their order; all of them where that is few."""
    import faiss

    inverted = faiss.try_extract_index_ivf(index)
    wanted = max(_TRAINING_POINTS * (inverted.nlist if inverted is not None else 0), 65_536)
    if len(vectors) <= wanted:
        return vectors
    return vectors[np.sort(np.random.default_rng(0).permutation(len(vectors))[:wanted])]


@contextmanager
def _one_thread(wanted: bool) -> Iterator[None]:
    import faiss

    threads = faiss.omp_get_max_threads()
    if wanted:
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
