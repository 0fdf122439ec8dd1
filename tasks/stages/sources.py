"""Snapshots of a person's folders, files and models as artifacts, by content. Never cached; always quick."""

import re
from pathlib import Path

from data.documents.accounts import FILES_NAME, FileAccount, count_files
from data.documents.corpus import Corpus, read_corpus
from data.documents.documents import DocumentSettings
from data.documents.readers.memory import ReadingMemory
from data.files.jsonl import write_jsonl
from data.questions.question_files import QuestionFileSettings, is_squad, read_question_file, squad_documents
from data.raft.mixing import read_general
from data.retrieval.embeddings import resolve_embedder
from data.retrieval.reranker import resolve_reranker
from jora_model.formats.base import resolve_base
from jora_model.spec.hf_files import MORE_TEMPLATES
from tasks.engine.cache import stage
from tasks.engine.code import stage_code
from tasks.engine.logs import run_log
from tasks.store.artifacts import Artifact
from tasks.store.store import Store

UNREADABLE_QUESTIONS = "unreadable_questions.jsonl"
_SHOWN = 10  # lines in a log line; the artifact lists all
# Files of a base model that are used, exported or needed by transformers; others are left out.
_BASE_FILES = ("*.json", "*.safetensors", "*.model", "*.jinja", "tokenizer*", "*.txt", f"{MORE_TEMPLATES}/*.jinja")


@stage(name="snapshot-documents", version=1, cache=False, retries=2)
def snapshot_documents(
    store: Store, corpus: str, documents: DocumentSettings, other_inputs: tuple[str, ...] = ()
) -> Artifact:
    """Read the documents of a folder, a file, a data set or a SQuAD file (`.json`).

    Args:
        other_inputs: paths of the run's other files, which are no documents where they lie in the folder.

    Writes documents.jsonl; files.jsonl, the account of every file; and unreadable.jsonl and skipped.jsonl with reasons
    (may be empty).

    Raises:
        UserError: nothing is there or can be read, or `strict` and a file cannot be read; names it and the reason.
    """
    path = Path(corpus).expanduser()
    if is_squad(path, documents.text_column):
        texts = tuple(squad_documents(path))
        account = FileAccount(path.name, "read", len(texts), sum(len(document.text) for document in texts))
        read = Corpus(texts, (), (), {}, (account,))
    else:
        memory = ReadingMemory(store.work_dir / "readings", stage_code(read_corpus).key)
        # The page is written when the run ends, and names the complete list.
        page = store.work_dir / "latest" / "documents.html"
        others = [Path(other).expanduser() for other in other_inputs]
        read = read_corpus(path, documents, memory, complete_list=str(page), other_inputs=others)
    with store.build("documents", settings=documents) as build:
        write_jsonl(build.folder / "documents.jsonl", read.documents)
        write_jsonl(build.folder / FILES_NAME, read.files)
        write_jsonl(build.folder / "unreadable.jsonl", read.unreadable)
        write_jsonl(build.folder / "skipped.jsonl", read.skipped)
        build.count(documents=len(read.documents), **count_files(read.files))
        if read.unreadable:
            build.count(unreadable=len(read.unreadable))
        build.count(**read.counts)
    return build.artifact


@stage(name="snapshot-questions", version=1, cache=False)
def snapshot_questions(store: Store, questions: str, file: QuestionFileSettings) -> Artifact:
    """Read the questions of a file.

    Writes raw_questions.jsonl, and unreadable_questions.jsonl with the lines that cannot be read (may be empty).

    Raises:
        UserError: the file is missing or of an unknown kind, or no question can be read, or `strict` and a line cannot
            be read; names the first lines.
    """
    read = read_question_file(Path(questions).expanduser(), file)
    for remark in read.remarks():
        run_log().info("%s: %s", Path(questions).name, remark)
    if read.unreadable:
        first = "; ".join(f"{item.source} {item.detail}" for item in read.unreadable[:_SHOWN])
        more = f"; and {len(read.unreadable) - _SHOWN} more" if len(read.unreadable) > _SHOWN else ""
        run_log().warning("%d lines of questions cannot be read: %s%s", len(read.unreadable), first, more)
    with store.build("raw-questions") as build:
        write_jsonl(build.folder / "raw_questions.jsonl", read.questions)
        write_jsonl(build.folder / UNREADABLE_QUESTIONS, read.unreadable)
        build.count(questions=len(read.questions))
        if read.unreadable:
            build.count(unreadable_lines=len(read.unreadable))
    return build.artifact


@stage(name="snapshot-base", version=1, cache=False, retries=2)
def snapshot_base(store: Store, base_model: str) -> Artifact:
    """Snapshot the base model as links: kind `base-model` for a Hugging Face folder, `gguf` for a GGUF file.

    Raises:
        UserError: the model does not exist, or files are missing.
    """
    source = resolve_base(base_model)
    named = _named(base_model, source)
    if source.is_file():
        from jora_model.formats.gguf_files import link_names

        with store.build("gguf", settings=named) as build:
            for name, file in link_names(source).items():
                build.link(name, file)
    else:
        with store.build("base-model", settings=named) as build:
            for path in sorted({path for pattern in _BASE_FILES for path in source.glob(pattern)}):
                build.link(path.relative_to(source).as_posix(), path)
    return build.artifact


# bfloat16 takes about four times the space of 4-bit weights.
@stage(
    name="import-base", version=1, modules=("jora_model.formats.gguf_import",), space=lambda store, gguf: 4 * gguf.bytes
)
def import_base(store: Store, gguf: Artifact) -> Artifact:
    """Convert a GGUF file to a Hugging Face folder, dequantised."""
    from jora_model.formats.gguf_files import linked_gguf
    from jora_model.formats.gguf_import import import_gguf

    with store.build("base-model", inputs=(gguf,)) as build:
        import_gguf(linked_gguf(store.path(gguf)), build.folder)
    return build.artifact


@stage(name="snapshot-embedder", version=1, cache=False, retries=2)
def snapshot_embedder(store: Store, embedder: str) -> Artifact:
    """Snapshot the embedder's folder as links.

    Raises:
        UserError: the embedder does not exist.
    """
    return _linked(store, "embedder", embedder, resolve_embedder(embedder))


@stage(name="snapshot-reranker", version=1, cache=False, retries=2)
def snapshot_reranker(store: Store, reranker: str) -> Artifact:
    """Snapshot the cross-encoder's folder as links.

    Raises:
        UserError: the cross-encoder does not exist.
    """
    return _linked(store, "reranker", reranker, resolve_reranker(reranker))


@stage(name="snapshot-general", version=1, cache=False)
def snapshot_general(store: Store, mix_file: str) -> Artifact:
    """Read the general records of an Alpaca file; writes general.jsonl.

    Raises:
        UserError: the file is missing, broken or of another kind.
    """
    general = read_general(Path(mix_file).expanduser())
    with store.build("general") as build:
        write_jsonl(build.folder / "general.jsonl", general)
        build.count(records=len(general))
    return build.artifact


def _linked(store: Store, kind: str, name: str, source: Path) -> Artifact:
    """Link all files of a model's folder except hidden ones."""
    with store.build(kind, settings=_named(name, source)) as build:
        for path in sorted(source.rglob("*")):
            inner = path.relative_to(source)
            if path.is_file() and not any(part.startswith(".") for part in inner.parts):
                build.link(inner.as_posix(), path)
    return build.artifact


def _named(name: str, source: Path) -> dict[str, str]:
    """Settings of the manifest: the given name and, if downloaded, the commit."""
    commit = re.search(r"/snapshots/([0-9a-f]{40})(/|$)", source.as_posix())
    if commit is None:
        return {"name": name}
    run_log().info("%s is revision %s", name, commit[1])
    return {"name": name, "revision": commit[1]}
