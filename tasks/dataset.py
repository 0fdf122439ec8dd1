"""The RAFT dataset: Alpaca records with their provenance, a `datasets` folder, and the tokens that training reads."""

import json

import numpy as np

from data.alpaca import to_records, write_dataset
from data.jsonl import write_jsonl
from data.raft import RaftSettings, build_examples
from data.sequences import encode_records, write_sequences
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
    """RAFT examples of the training questions.

    Raises:
        ValueError: no example can be built (nothing fits the token budget, say).
    """
    train = open_questions(store, questions, "train")
    held_out = {question.document_id for question in open_questions(store, questions, "eval")}
    every_chunk, vectors = open_chunks(store, chunks), open_index(store, index, embedder).vectors()
    # No chunk of an evaluation document is ever trained on, not even as a distractor.
    kept = np.array([chunk.document_id not in held_out for chunk in every_chunk])
    own = [chunk for chunk, keep in zip(every_chunk, kept, strict=True) if keep]
    tokenizer = open_tokenizer(store, base)
    built = build_examples(train, own, vectors[kept], raft, tokenizer)
    records = to_records(built.examples, own)
    sequences = encode_records(records, tokenizer, raft.prompt_style)
    with store.build("dataset", settings=raft, inputs=(questions, chunks, index, embedder, base)) as build:
        write_dataset(build.folder, records, raft, built.counts)
        (build.folder / "sequences").mkdir()
        write_sequences(build.folder / "sequences", sequences)
        write_jsonl(build.folder / "rejected.jsonl", built.rejected)
        counts = json.dumps(built.counts, indent=1, sort_keys=True) + "\n"
        (build.folder / "counts.json").write_text(counts, encoding="utf-8")
        build.count(examples=len(built.examples), contexts=built.counts["contexts"], rejected=len(built.rejected))
    return build.artifact
