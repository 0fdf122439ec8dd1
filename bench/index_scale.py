"""The default index with many vectors: `python -m bench.index_scale --squad FILE [--quick]` (about ten minutes).

1,000,000 vectors (quick: 100,000) of dimension 384, made from the embedded sentences of a SQuAD file: a random sentence
plus noise of half its norm, normalized. Builds the index that `index.kind=auto` chooses at that size, saves it and
loads it memory-mapped; recall@10 is measured against exact search, over new queries made in the same way.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np

from bench.machine import describe_machine
from bench.squad_workload import squad_sentences
from data.retrieval.embeddings import Embedder, resolve_embedder
from data.retrieval.index import ChunkIndex
from data.retrieval.index_kinds import IndexSettings

NOISE = 0.5  # norm of the noise relative to the sentence's; two vectors of one sentence have a cosine of 0.8
QUERIES = 1_000
BLOCK = 50_000


def main() -> None:
    """Build, read, search; then print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--squad", type=Path, required=True, help="SQuAD JSON whose sentences are embedded")
    parser.add_argument("--quick", action="store_true", help="100,000 vectors")
    parser.add_argument("--kind", default="auto", help="index.kind")
    options = parser.parse_args()
    count = 100_000 if options.quick else 1_000_000
    print(describe_machine("faiss-cpu", "numpy"), flush=True)
    sentences = embedded(options.squad)
    print(f"{len(sentences)} sentences embedded", flush=True)
    with tempfile.TemporaryDirectory(prefix="jora-index-") as scratch:
        vectors = np.lib.format.open_memmap(Path(scratch) / "made.npy", "w+", np.float32, (count, sentences.shape[1]))
        rng = np.random.default_rng(0)
        for start in range(0, count, BLOCK):
            vectors[start : start + BLOCK] = noisy(sentences, min(BLOCK, count - start), rng)
        queries = noisy(sentences, QUERIES, rng)
        start_time = time.monotonic()
        index = ChunkIndex.build(vectors, [str(n) for n in range(count)], "made", IndexSettings(kind=options.kind))
        built = time.monotonic() - start_time
        index.save(Path(scratch) / "index")
        size = sum(path.stat().st_size for path in (Path(scratch) / "index").iterdir())
        quality = index.quality
        del index
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        start_time = time.monotonic()
        loaded = ChunkIndex.load(Path(scratch) / "index", "made", check=False)
        opened = time.monotonic() - start_time
        start_time = time.monotonic()
        found = loaded.search(queries, 10)[1]
        searched = time.monotonic() - start_time
        exact = faiss.knn(queries, vectors, 10, metric=faiss.METRIC_INNER_PRODUCT)[1]
        shared = sum(len({int(n) for n in row} & set(truth)) for row, truth in zip(found, exact.tolist(), strict=True))
    print(f"{quality.factory} with {quality.effort}: recall@10 {quality.recall:.3f} when built")
    print(f"figure index_vectors {count}")
    print(f"figure index_build_seconds {built:.0f}")
    print(f"figure index_peak_rss_gb {peak:.2f}")
    print(f"figure index_megabytes {size / 1e6:.0f}")
    print(f"figure index_open_seconds {opened:.2f}")
    print(f"figure index_milliseconds_per_query {1000 * searched / QUERIES:.2f}")
    print(f"figure index_recall_at_10 {shared / (10 * QUERIES):.4f}")


def embedded(squad: Path) -> np.ndarray:
    """Return the vectors of all sentences, float32 [N, 384]."""
    return Embedder(resolve_embedder("embedded")).embed(squad_sentences(squad))


def noisy(sentences: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return randomly drawn sentences with noise, normalized; float32 [count, D]."""
    noise = rng.standard_normal((count, sentences.shape[1]), np.float32)
    noise *= NOISE / np.linalg.norm(noise, axis=1, keepdims=True)
    noise += sentences[rng.integers(0, len(sentences), count)]
    made: np.ndarray = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return made


if __name__ == "__main__":
    main()
