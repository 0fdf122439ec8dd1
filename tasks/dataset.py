"""The RAFT dataset: Alpaca records with their provenance, a `datasets` folder, and the tokens that training reads."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.alpaca import to_records, write_dataset
from data.chunks import Chunk
from data.jsonl import write_jsonl
from data.questions import Question
from data.raft import RaftBuild, RaftSettings, build_examples
from data.sequences import encode_records, write_sequences
from data.tokenizer import Tokenizer
from tasks.cache import stage
from tasks.loading import open_chunks, open_index, open_questions, open_tokenizer
from tasks.store import Artifact, Store


@stage(name="build-dataset", version=1)
def build_dataset(
    store: Store,
    questions: Artifact,
    chunks: Artifact,
    index: Artifact,
    embedder: Artifact,
    base: Artifact,
    raft: RaftSettings,
) -> Artifact:
    """RAFT examples of the training questions and, in a folder `validation`, of the validation questions if there are.

    Raises:
        ValueError: no example can be built (nothing fits the token budget, say).
    """
    train, validation, evaluation = (open_questions(store, questions, part) for part in ("train", "validation", "eval"))
    every_chunk, vectors = open_chunks(store, chunks), open_index(store, index, embedder).vectors()
    tokenizer = open_tokenizer(store, base)

    def build_without(held_out: Sequence[Question], asked: Sequence[Question]) -> tuple[RaftBuild, list[Chunk]]:
        """Over the chunks of all but some documents: of those no chunk is shown, not even as a distractor."""
        documents = {question.document_id for question in held_out}
        kept = np.array([chunk.document_id not in documents for chunk in every_chunk])
        own = [chunk for chunk, keep in zip(every_chunk, kept, strict=True) if keep]
        return build_examples(asked, own, vectors[kept], raft, tokenizer), own

    built, own = build_without([*validation, *evaluation], train)
    with store.build("dataset", settings=raft, inputs=(questions, chunks, index, embedder, base)) as build:
        _write(build.folder, built, own, raft, tokenizer)
        build.count(examples=len(built.examples), contexts=built.counts["contexts"], rejected=len(built.rejected))
        if validation:
            watched, own = build_without(evaluation, validation)
            (build.folder / "validation").mkdir()
            _write(build.folder / "validation", watched, own, raft, tokenizer)
            build.count(validation_examples=len(watched.examples))
    return build.artifact


def _write(folder: Path, built: RaftBuild, chunks: Sequence[Chunk], raft: RaftSettings, tokenizer: Tokenizer) -> None:
    records = to_records(built.examples, chunks)
    write_dataset(folder, records, raft, built.counts)
    (folder / "sequences").mkdir()
    write_sequences(folder / "sequences", encode_records(records, tokenizer, raft.prompt_style))
    write_jsonl(folder / "rejected.jsonl", built.rejected)
    counts = json.dumps(built.counts, indent=1, sort_keys=True) + "\n"
    (folder / "counts.json").write_text(counts, encoding="utf-8")
