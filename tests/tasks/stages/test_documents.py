"""Documents of several kinds through the stages to a dataset: what is not read is listed, what repeats is collapsed."""

import json
import shutil
from pathlib import Path

from data.documents.documents import DocumentSettings
from flows.settings.config import load_config
from tasks.records.runs import read_latest
from tasks.stages.sources import snapshot_documents
from tasks.store.store import Store
from testing.small_files import pdf
from testing.small_runs import SMALL, run_here, small_sources


def lines_of(work: Path, kind: str, name: str) -> list[dict]:
    (path,) = (work / "artifacts" / kind).glob(f"*/{name}")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_corpus_with_a_copy_a_pdf_and_a_broken_file_becomes_a_dataset(tmp_path, caplog):
    sources = small_sources(tmp_path, 3)
    documents, questions = Path(sources["corpus"]), Path(sources["questions"])
    original = min(documents.iterdir())
    copied = documents / f"zz-copy{original.suffix}"
    shutil.copy(original, copied)
    (documents / "notice.pdf").write_bytes(pdf([["The ferry leaves at noon."], ["Dogs travel free of charge."]]))
    (documents / "broken.pdf").write_bytes(b"%PDF-")
    asked = [json.loads(line) for line in questions.read_text().splitlines()]
    for item in asked[::2]:
        if item["document"] == original.name:
            item["document"] = copied.name
    asked.append({"question": "Who travels free of charge?", "answer": "Dogs", "document": "notice.pdf"})
    questions.write_text("".join(json.dumps(item) + "\n" for item in asked))
    # As many keep them: beside the documents.
    sources["questions"] = str(questions.rename(documents / "questions.jsonl"))
    work = run_here(load_config(None, sources, SMALL), "dataset").work_dir

    (unread,) = lines_of(work, "documents", "unreadable.jsonl")
    assert unread["path"] == "broken.pdf" and unread["reason"].startswith("damaged PDF")
    assert f"all files: {work / 'latest' / 'documents.html'}" in caplog.text, "the console names the complete list"
    accounts = {account["path"]: account for account in lines_of(work, "documents", "files.jsonl")}
    assert accounts["broken.pdf"]["state"] == "unreadable" and accounts["notice.pdf"]["state"] == "read"
    assert accounts["questions.jsonl"]["state"] == "skipped", "questions are no document of their own run"
    assert set(accounts) == {path.name for path in documents.iterdir()}
    counts = dict(read_latest(work)[0]["documents"].counts)
    assert (counts["files"], counts["unreadable_files"], counts["documents"]) == (7, 1, 5)
    assert counts["characters_kept"] == sum(
        len(item["text"]) for item in lines_of(work, "documents", "documents.jsonl")
    )
    assert counts["characters_left_out"] == sum(sum(item["left_out"].values()) for item in accounts.values())
    chunks = {chunk["id"]: chunk for chunk in lines_of(work, "chunks", "chunks.jsonl")}
    duplicates = lines_of(work, "chunks", "duplicates.jsonl")
    assert {copy["document_path"] for copy in duplicates} == {copied.name}
    assert {chunks[copy["kept_id"]]["document_path"] for copy in duplicates} == {original.name}
    found = [item for part in ("train", "eval") for item in lines_of(work, "questions", f"{part}.jsonl")]
    assert len(found) == len(asked), "no question is lost with the copy"
    assert {chunks[oracle]["document_id"] for item in found for oracle in item["oracle_ids"]} == {
        item["document_id"] for item in found
    }
    (dogs,) = (item for item in found if item["answer"] == "Dogs")
    assert chunks[dogs["oracle_ids"][0]]["pages"] == [1, 2]
    assert lines_of(work, "dataset", "dataset.jsonl")


def test_a_squad_file_has_an_account_too(tmp_path):
    paragraphs = [{"context": "The mill opened in 1931.", "qas": []}]
    (tmp_path / "squad.json").write_text(json.dumps({"data": [{"title": "Mill", "paragraphs": paragraphs}]}))
    store = Store(tmp_path / "work")
    made = snapshot_documents.fn(store, str(tmp_path / "squad.json"), DocumentSettings())
    (account,) = lines_of(store.work_dir, "documents", "files.jsonl")
    assert (account["path"], account["state"], account["documents"], account["kept"]) == ("squad.json", "read", 1, 24)
    assert dict(made.counts)["characters_kept"] == 24
