"""Snapshots: what a person names (folders, files, models) becomes artifacts, by content. Never cached, always quick."""

import re
from pathlib import Path

from data.documents.corpus import Corpus, read_corpus
from data.documents.documents import DocumentSettings
from data.documents.readers.memory import ReadingMemory
from data.files.jsonl import write_jsonl
from data.questions.question_files import read_questions, squad_documents
from data.raft.mixing import read_general
from data.retrieval.embeddings import resolve_embedder
from data.retrieval.reranker import resolve_reranker
from jora_model.formats.base import resolve_base
from tasks.engine.cache import stage
from tasks.engine.code import stage_code
from tasks.engine.logs import run_log
from tasks.store.artifacts import Artifact
from tasks.store.store import Store

# What a base model folder may hold that is used, exported or needed by transformers; other files are not taken.
_BASE_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja", "tokenizer*", "*.txt")


@stage(name="snapshot-documents", version=1, cache=False, retries=2)
def snapshot_documents(store: Store, corpus: str, documents: DocumentSettings) -> Artifact:
    """Documents of a folder, a file, a data set or a SQuAD file (`.json`).

    Files: documents.jsonl; unreadable.jsonl and skipped.jsonl, what was not read and why (may be empty).

    Raises:
        UserError: nothing is there or can be read, or `strict` and a file cannot; one line that says which and why.
    """
    path = Path(corpus).expanduser()
    if path.is_file() and path.suffix == ".json":
        found = Corpus(tuple(squad_documents(path)), (), (), {})
    else:
        found = read_corpus(path, documents, ReadingMemory(store.work_dir / "readings", stage_code(read_corpus).key))
    with store.build("documents", settings=documents) as build:
        write_jsonl(build.folder / "documents.jsonl", found.documents)
        write_jsonl(build.folder / "unreadable.jsonl", found.unreadable)
        write_jsonl(build.folder / "skipped.jsonl", found.skipped)
        build.count(documents=len(found.documents), skipped_files=len(found.skipped))
        if found.unreadable:
            build.count(unreadable=len(found.unreadable))
        build.count(**found.counts)
    return build.artifact


@stage(name="snapshot-questions", version=1, cache=False)
def snapshot_questions(store: Store, questions: str) -> Artifact:
    """Questions of a file as raw_questions.jsonl.

    Raises:
        UserError: the file is missing, broken (with the line's number) or of an unknown kind.
    """
    found = read_questions(Path(questions).expanduser())
    with store.build("raw-questions") as build:
        write_jsonl(build.folder / "raw_questions.jsonl", found)
        build.count(questions=len(found))
    return build.artifact


@stage(name="snapshot-base", version=1, cache=False, retries=2)
def snapshot_base(store: Store, base_model: str) -> Artifact:
    """The base model as links to its files: kind `base-model` for a Hugging Face folder, `gguf` for a GGUF file.

    Raises:
        UserError: there is no such model, or files are missing.
    """
    source = resolve_base(base_model)
    named = _named(base_model, source)
    if source.is_file():
        with store.build("gguf", settings=named) as build:
            build.link("model.gguf", source)
    else:
        with store.build("base-model", settings=named) as build:
            for name in sorted({path.name for pattern in _BASE_FILES for path in source.glob(pattern)}):
                build.link(name, source / name)
    return build.artifact


# Of weights in four bits, bfloat16 takes about four times the room.
@stage(
    name="import-base", version=1, modules=("jora_model.formats.gguf_import",), space=lambda store, gguf: 4 * gguf.bytes
)
def import_base(store: Store, gguf: Artifact) -> Artifact:
    """A GGUF file as a Hugging Face folder with bfloat16 weights."""
    from jora_model.formats.gguf_import import import_gguf

    with store.build("base-model", inputs=(gguf,)) as build:
        import_gguf((store.path(gguf) / "model.gguf").resolve(), build.folder)
    return build.artifact


@stage(name="snapshot-embedder", version=1, cache=False, retries=2)
def snapshot_embedder(store: Store, embedder: str) -> Artifact:
    """The embedder's folder as links.

    Raises:
        UserError: there is no such embedder.
    """
    return _linked(store, "embedder", embedder, resolve_embedder(embedder))


@stage(name="snapshot-reranker", version=1, cache=False, retries=2)
def snapshot_reranker(store: Store, reranker: str) -> Artifact:
    """The cross-encoder's folder as links.

    Raises:
        UserError: there is no such cross-encoder.
    """
    return _linked(store, "reranker", reranker, resolve_reranker(reranker))


@stage(name="snapshot-general", version=1, cache=False)
def snapshot_general(store: Store, mix_file: str) -> Artifact:
    """General records of an Alpaca file as general.jsonl.

    Raises:
        UserError: the file is missing, broken or of another kind.
    """
    found = read_general(Path(mix_file).expanduser())
    with store.build("general") as build:
        write_jsonl(build.folder / "general.jsonl", found)
        build.count(records=len(found))
    return build.artifact


def _linked(store: Store, kind: str, name: str, source: Path) -> Artifact:
    """All files of a model's folder, hidden ones left out."""
    with store.build(kind, settings=_named(name, source)) as build:
        for path in sorted(source.rglob("*")):
            inner = path.relative_to(source)
            if path.is_file() and not any(part.startswith(".") for part in inner.parts):
                build.link(inner.as_posix(), path)
    return build.artifact


def _named(name: str, source: Path) -> dict[str, str]:
    """What a person named and, where it was downloaded, the commit that it then was, for the manifest."""
    commit = re.search(r"/snapshots/([0-9a-f]{40})(/|$)", source.as_posix())
    if commit is None:
        return {"name": name}
    run_log().info("%s is revision %s", name, commit[1])
    return {"name": name, "revision": commit[1]}
