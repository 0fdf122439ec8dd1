"""Embedding throughput: `python -m bench.embedding --squad FILE [--quick]` (two minutes; quick: half a minute).

Embeds the paragraphs of a SQuAD file with our `Embedder` and with `SentenceTransformer.encode`, both on all cores, in
turns within one process. The peer uses the fastest of several batch sizes; the fastest run of each side counts.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from bench.machine import describe_machine
from data.retrieval.embeddings import Embedder, resolve_embedder

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)


def main() -> None:
    """Print a line for each run, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--squad", type=Path, required=True, help="SQuAD JSON, the source of the paragraphs")
    parser.add_argument("--quick", action="store_true", help="60 paragraphs and two turns")
    options = parser.parse_args()
    print(describe_machine("torch", "transformers", "sentence-transformers"), flush=True)
    articles = json.loads(options.squad.read_text(encoding="utf-8"))["data"]
    texts = [paragraph["context"] for article in articles for paragraph in article["paragraphs"]]
    texts = texts[::4] if options.quick else texts
    folder = resolve_embedder("embedded")
    ours = Embedder(folder)
    peer = SentenceTransformer(str(folder), device="cpu", local_files_only=True)

    def encode(batch_size: int) -> np.ndarray:
        vectors: np.ndarray = peer.encode(
            texts, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        return vectors

    first, expected = ours.embed(texts), encode(32)  # also warms up both
    tries = {size: seconds(partial(encode, size)) for size in BATCH_SIZES}
    for size, taken in tries.items():
        print(f"encode, batch size {size:>2}: {len(texts) / taken:6.1f} texts/s", flush=True)
    best = min(tries, key=lambda size: tries[size])
    turns = [
        (seconds(partial(ours.embed, texts)), seconds(partial(encode, best))) for _ in range(2 if options.quick else 4)
    ]
    for mine, theirs in turns:
        print(f"ours {len(texts) / mine:6.1f}, encode ({best}) {len(texts) / theirs:6.1f} texts/s", flush=True)
    mine, theirs = (min(turn[side] for turn in turns) for side in (0, 1))
    again = ours.embed(texts[::-1])[::-1]
    print(f"figure embedding_texts_per_second {len(texts) / mine:.1f}")
    print(f"figure embedding_peer_texts_per_second {len(texts) / theirs:.1f}")
    print(f"figure embedding_peer_batch_size {best}")
    print(f"figure embedding_ratio {theirs / mine:.2f}")
    print(f"figure embedding_difference_from_peer {np.abs(first - expected).max():.1e}")
    print(f"figure embedding_equal_in_another_order {int(np.array_equal(first, again))}")


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.monotonic()
    work()
    return time.monotonic() - start


if __name__ == "__main__":
    main()
