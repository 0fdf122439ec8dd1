"""The RAFT dataset: Alpaca records with their provenance, a `datasets` directory, and token sequences for training."""

import json
from pathlib import Path

from data.files.jsonl import read_jsonl, write_jsonl
from data.prompting.prompts import AnyFormat
from data.raft.alpaca import plain_record, read_records
from data.raft.assembly import Assembler, Part
from data.raft.dataset_folder import write_dataset
from data.raft.leaks import LEAKS_NAME
from data.raft.mixing import GeneralRecord
from data.raft.sequences import encode_records, write_sequences
from data.raft.settings import RaftSettings
from tasks.engine.cache import stage
from tasks.stages.loading import (
    open_chunks,
    open_duplicates,
    open_embed,
    open_index,
    open_questions,
    open_reranker,
    open_tokenizer,
)
from tasks.stages.questions import read_split
from tasks.store.artifacts import Artifact
from tasks.store.store import Store


@stage(name="build-dataset", version=1)
def build_dataset(
    store: Store,
    questions: Artifact,
    chunks: Artifact,
    index: Artifact,
    embedder: Artifact,
    base: Artifact,
    raft: RaftSettings,
    question_cosine: float,
    general: Artifact | None = None,
    reranker: Artifact | None = None,
) -> Artifact:
    """RAFT examples of the training questions and, in a directory `validation`, of the validation questions, if any.

    Args:
        question_cosine: least cosine of near-duplicate questions, as in the split.
        general: records to mix into the training examples.
        reranker: the cross-encoder of the false-negative guard.

    Raises:
        UserError: no example can be built (for example, none fits the token budget), or general records are too few.
    """
    train, validation, evaluation = (open_questions(store, questions, part) for part in ("train", "validation", "eval"))
    copies: dict[str, set[str]] = {}
    for copy in open_duplicates(store, chunks):
        copies.setdefault(copy.kept_id, set()).add(copy.document_id)
    assembler = Assembler(
        open_chunks(store, chunks),
        open_index(store, index, embedder).vectors(),
        raft,
        open_tokenizer(store, base),
        open_embed(store, embedder),
        question_cosine=question_cosine,
        score=open_reranker(store, reranker),
        copies=copies,
        documents_apart=read_split(store, questions)["by"] == "document",
    )
    mixed = read_jsonl(store.path(general) / "general.jsonl", GeneralRecord) if general is not None else []
    part = assembler.build("training", train, [*validation, *evaluation], mixed)
    inputs = (questions, chunks, index, embedder, base, *filter(None, (general, reranker)))
    with store.build("dataset", settings=raft, inputs=inputs) as build:
        _write(build.folder, part, raft)
        build.count(examples=len(part.records), contexts=part.counts["contexts"], rejected=len(part.rejected), leaks=0)
        if validation:
            part = assembler.build("validation", validation, evaluation)
            (build.folder / "validation").mkdir()
            _write(build.folder / "validation", part, raft)
            build.count(validation_examples=len(part.records))
    return build.artifact


@stage(name="build-plain-dataset", version=1)
def build_plain_dataset(
    store: Store, questions: Artifact, dataset: Artifact, base: Artifact, style: AnyFormat
) -> Artifact:
    """The token sequences of the same questions without documents (DSF), one for each record of the RAFT dataset.

    Each question occurs as often and in as many updates as with RAFT, always with its answer, even if RAFT abstains.
    """
    asked = {q.id: q for part in ("train", "validation") for q in open_questions(store, questions, part)}
    tokenizer, folder = open_tokenizer(store, base), store.path(dataset)
    with store.build("plain-dataset", settings={"style": style}, inputs=(questions, dataset, base)) as build:
        for name, counted in (("", "examples"), ("validation", "validation_examples")):
            if not (folder / name).is_dir():
                continue
            records = [plain_record(record, asked) for record in read_records(folder / name)]
            (build.folder / name / "sequences").mkdir(parents=True)
            write_sequences(build.folder / name / "sequences", encode_records(records, tokenizer, style))
            build.count(**{counted: len(records)})
    return build.artifact


def _write(folder: Path, part: Part, raft: RaftSettings) -> None:
    write_dataset(folder, part.records, raft, part.counts)
    (folder / "sequences").mkdir()
    write_sequences(folder / "sequences", part.sequences)
    write_jsonl(folder / "rejected.jsonl", part.rejected)
    for name, content in (("counts.json", part.counts), (LEAKS_NAME, part.leaks.as_json())):
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8")
