"""Time of adding one document: `python -m bench.incremental --squad FILE [--quick]` (about ten minutes; quick: two).

10,000 documents (quick: 1,000), made of random sentences of a SQuAD file, go through snapshot, chunking and indexing in
a work directory: first all but one, then with that document added, then with one removed. With --quick the index after
the addition is compared, byte for byte, with one built from scratch in another work directory. The stages run without
Prefect, whose overhead would add to both.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.machine import describe_machine
from bench.squad_workload import squad_sentences
from data.documents.chunks import ChunkSettings
from data.documents.documents import DocumentSettings
from data.retrieval.embeddings import EmbeddingSettings
from data.retrieval.index_kinds import IndexSettings
from tasks.stages.retrieval import cut_chunks, index_chunks
from tasks.stages.sources import import_base, snapshot_base, snapshot_documents, snapshot_embedder
from tasks.store.artifacts import Artifact
from tasks.store.store import Store

SENTENCES = 4  # per document


def main() -> None:
    """Print a line for each build, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--squad", type=Path, required=True, help="SQuAD JSON, the source of the sentences")
    parser.add_argument("--quick", action="store_true", help="1,000 documents")
    parser.add_argument("--documents", type=int, help="number of documents")
    options = parser.parse_args()
    count = options.documents or (1_000 if options.quick else 10_000)
    print(describe_machine("faiss-cpu", "torch", "sentence-transformers"), flush=True)
    with tempfile.TemporaryDirectory(prefix="jora-incremental-") as scratch:
        corpus = Path(scratch) / "documents"
        write_corpus(corpus, options.squad, count)
        one = WorkDir(Path(scratch) / "work")
        later = corpus / "spared.txt"
        (corpus / "00000.txt").rename(later.with_suffix(".hidden"))
        full, _ = one.build(corpus)
        later.with_suffix(".hidden").rename(later)
        added, grown = one.build(corpus)
        rebuilt = WorkDir(Path(scratch) / "rebuilt").build(corpus)[1] if options.quick else None
        (corpus / "00001.txt").unlink()
        removed, _ = one.build(corpus)
    print(f"figure incremental_documents {count}")
    print(f"figure incremental_full_seconds {full:.1f}")
    print(f"figure incremental_added_seconds {added:.2f}")
    print(f"figure incremental_removed_seconds {removed:.2f}")
    print(f"figure incremental_ratio {full / added:.0f}")
    if rebuilt is not None:
        print(f"figure incremental_index_equals_one_from_nothing {int(grown == rebuilt)}")


class WorkDir:
    """A work directory with the base model's tokenizer and the embedder."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.base = import_base.fn(self.store, snapshot_base.fn(self.store, "embedded"))
        self.embedder = snapshot_embedder.fn(self.store, "embedded")

    def build(self, corpus: Path) -> tuple[float, Artifact]:
        """Return seconds and the index; artifacts are equal if their bytes are."""
        store = self.store
        times = [time.monotonic()]
        documents = snapshot_documents.fn(store, str(corpus), DocumentSettings())
        times.append(time.monotonic())
        chunks = cut_chunks.fn(store, documents, self.base, ChunkSettings())
        times.append(time.monotonic())
        index = index_chunks.fn(store, chunks, self.embedder, EmbeddingSettings(), IndexSettings(), False)
        times.append(time.monotonic())
        parts = ", ".join(
            f"{name} {end - start:.2f} s"
            for name, start, end in zip(("snapshot", "chunks", "index"), times, times[1:], strict=False)
        )
        print(f"{documents.count('documents')} documents, {chunks.count('chunks')} chunks: {parts}", flush=True)
        return times[-1] - times[0], index


def write_corpus(folder: Path, squad: Path, count: int) -> None:
    """Write text files of randomly drawn real sentences."""
    sentences = squad_sentences(squad)
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        chosen = rng.choice(len(sentences), SENTENCES, replace=False).tolist()
        text = " ".join(sentences[index] for index in chosen) + "\n"
        (folder / f"{number:05}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
