"""Time and checks of building a dataset from a SQuAD file, embeddings excluded.

    .venv/bin/python -m bench.build_dataset --squad FILE [--base FOLDER] [--quick]

Runs the stages of the pipeline without Prefect's server, twice. The first pass embeds the texts; the second, which is
timed, takes the vectors from memory: documents, chunks, index, grounding, split, examples, leak check, all formats and
the report. Then checks the written files: each quote must occur verbatim in the context of its record.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.machine import describe_machine
from data.files.jsonl import read_jsonl
from data.prompting.prompts import fold_space, parse_output
from data.raft.alpaca import AlpacaRecord
from data.retrieval.embeddings import Embedder
from flows.pipeline.stages import Pipeline
from flows.settings.config import RunConfig, load_config
from tasks.engine.cache import Stage
from tasks.stages.loading import open_chunks
from tasks.stages.package import read_leaks
from tasks.store.artifacts import Artifact
from tasks.store.store import Store

# Done once for all corpora, so not part of building a dataset.
_ONCE = ("snapshot-base", "import-base", "snapshot-embedder")


class CachedEmbedder:
    """Embeds each text once and keeps its vector."""

    def __init__(self) -> None:
        self.vectors: dict[str, np.ndarray] = {}
        self.embedded = 0
        self._embed = Embedder.embed

    def embed(self, embedder: Embedder, texts: Sequence[str], progress: bool = False) -> np.ndarray:
        """Same as `Embedder.embed`."""
        missing = [text for text in dict.fromkeys(texts) if text not in self.vectors]
        self.embedded += len(missing)
        self.vectors.update(zip(missing, self._embed(embedder, missing), strict=True))
        return np.stack([self.vectors[text] for text in texts]) if texts else self._embed(embedder, texts)


def build(config: RunConfig) -> tuple[Store, dict[str, Any], dict[str, float]]:
    """Run the stages up to the packaged dataset; return the store, the artifacts, and each stage's seconds."""
    seconds: dict[str, float] = {}

    def call(stage: Stage[Any], *arguments: Any) -> Artifact:
        begun = time.monotonic()
        artifact = stage.fn(*arguments)
        seconds[stage.name] = time.monotonic() - begun
        return artifact

    pipeline = Pipeline(Store(config.work_dir), config, call)
    pipeline.dataset()
    return pipeline.store, pipeline.artifacts, seconds


def verbatim(records: Sequence[AlpacaRecord], texts: dict[str, str]) -> tuple[int, int]:
    """Return the number of quotes that occur in the context of their record, and the number of all quotes."""
    matched = total = 0
    for record in records:
        shown = [fold_space(texts[id]) for id in record.context_ids]
        for quote in parse_output(record.output).quotes:
            total += 1
            matched += any(fold_space(quote) in text for text in shown)
    return matched, total


def main() -> None:
    """Build twice, the second time with all vectors cached, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--squad", required=True, help="a SQuAD file")
    parser.add_argument("--base", default="embedded", help="base model, for its tokenizer")
    parser.add_argument("--quick", action="store_true", help="no effect: takes less than three minutes")
    arguments = parser.parse_args()
    print(describe_machine("datasets", "sentence-transformers", "transformers"))
    options = {"corpus": arguments.squad, "questions": arguments.squad, "base_model": arguments.base}
    cached = CachedEmbedder()
    Embedder.embed = lambda self, texts, progress=False: cached.embed(self, texts, progress)  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory(prefix="jora-bench-") as folder:
        begun = time.monotonic()
        build(load_config(None, options | {"work_dir": f"{folder}/first"}))
        print(f"first pass, with {cached.embedded} texts embedded: {time.monotonic() - begun:.1f} s")
        cached.embedded = 0
        store, made, seconds = build(load_config(None, options | {"work_dir": f"{folder}/second"}))
        assert cached.embedded == 0, "a text was embedded in the timed pass"
        for name, taken in seconds.items():
            print(f"{name:<20} {taken:6.2f} s")
        package = store.path(made["package"])
        texts = {chunk.id: chunk.text for chunk in open_chunks(store, made["chunks"])}
        records = [r for path in sorted((package / "data").glob("*.jsonl")) for r in read_jsonl(path, AlpacaRecord)]
        matched, total = verbatim(records, texts)
        leaks = sum(len(part["leaks"]) for part in read_leaks(store, made["dataset"]))
        print(f"{made['raw_questions'].count('questions')} questions, {len(texts)} chunks, {total} quotes")
        print(f"figure seconds {sum(taken for name, taken in seconds.items() if name not in _ONCE):.1f}")
        print(f"figure examples {len(records)}")
        print(f"figure quotes_verbatim_percent {100 * matched / total:.2f}")
        print(f"figure leaks {leaks}")


if __name__ == "__main__":
    main()
