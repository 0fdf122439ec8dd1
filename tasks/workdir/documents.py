"""Writes the page that accounts for every file of a run's corpus, beside the run's record."""

from pathlib import Path

from data.documents.accounts import FILES_NAME, FileAccount
from data.files.jsonl import read_jsonl
from data.files.whole_files import write_whole
from data.report.documents_page import corpus_facts, documents_page
from tasks.records.records import RUNS, RunRecord
from tasks.records.runs import DOCUMENTS
from tasks.store.store import Store


def write_documents_page(store: Store, record: RunRecord) -> None:
    """Write documents.html into the folder of the run's record; nothing if the run's documents are gone or older."""
    documents = record.artifacts.get("documents")
    if documents is None or not (store.path(documents) / FILES_NAME).is_file():
        return
    files = store.path(documents) / FILES_NAME
    facts = corpus_facts(read_accounts(files.parent))
    # Relative to the work directory, which can be moved.
    page = documents_page(record.name, facts, files.relative_to(store.work_dir).as_posix())
    write_whole(store.work_dir / RUNS / record.name / DOCUMENTS, page.encode("utf-8", "replace").decode(), durable=True)


def read_accounts(documents: Path) -> list[FileAccount]:
    """The accounts of a documents artifact.

    Raises:
        UserError: files.jsonl is missing or damaged.
    """
    return read_jsonl(documents / FILES_NAME, FileAccount)
