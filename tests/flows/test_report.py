"""The report on a run: what it reads of a work directory, where it lies, and that it never costs a run its end."""

import json
import logging
import shlex
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from data.documents.accounts import FILES_NAME, FileAccount
from data.documents.chunks import Chunk
from data.files.jsonl import to_jsonl
from data.questions.questions import Question
from data.report.run_settings import command_of
from flows.report import leave_report
from flows.settings.config import RunConfig, load_config
from tasks.records.models import Decision, Registry
from tasks.records.records import RunRecord, find_run, recorded
from tasks.records.runs import publish_latest, publish_sweep
from tasks.store.artifacts import Artifact, Outcome
from tasks.store.store import Store
from tasks.workdir import run_report
from tasks.workdir.run_report import gather, write_report
from testing.answered import answered, sweep_point
from testing.command_line import jora
from testing.registered import file_artifact, model

DEFAULTS = RunConfig().model_dump(mode="json")
NASTY = "<script>alert(1)</script>"
ARABIC = "بُنيت الطاحونة سنة 1931."
CHUNK = Chunk("c", "d", "mill.md", 0, 0, ("Mill",), f"{NASTY} {ARABIC} It opened in 1931. {NASTY}")
ANSWER = {
    "question_id": "q",
    "question": f"When? {NASTY}",
    "expected": "1931",
    "output": "half a character \ud800",
    "answer": "1950 \ud800",
    "quotes": (ARABIC,),
    "context_ids": ("c",),
    "oracle_ids": ("c",),
    "cause": "wrong",
}


def lines(*items: Any) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def made(store: Store) -> dict[str, Artifact]:
    """What a run gives, each with as much as the report reads."""
    score = {"value": 0.5, "low": 0.25, "high": 0.75}
    rungs = [
        {"name": name, "questions": 1, "token_f1": score, "quote_rate": None, "output_tokens": {**score, "value": 30.0}}
        for name in ("base + retrieval", "tuned + retrieval")
    ]
    paired = {"rung": "tuned + retrieval", "against": "base + retrieval", "metric": "token_f1", "questions": 1}
    part = {"tuned + retrieval": {"mill.md": {"questions": 1, "exact_match": 12.5, "token_f1": 37.5}}}
    point = {"study": "distractors", "rung": "tuned", "metric": "token_f1", "mean": 50, "low": 40, "high": 60}
    metrics = [{"update": n, "loss": 3.0 / n, "learning_rate": 1e-3 / n} for n in range(1, 1001)]
    metrics[-1]["validation_loss"] = 1.25
    question = Question("q", "When?", "1931", "d", ("It opened in 1931.",), ("c",), "given", "given")
    ranked = {f"{of}recall_at_{k}": score for k in (1, 3, 5, 10) for of in ("", "document_")}
    ranked |= {"mrr": score, "ndcg": score, "recall_at_5": {**score, "value": 0.25}}
    judged = {"rung": "tuned", "judged": 8, "unreadable": 0, "faithful": None, "agreement": 0.875, "kappa": None}
    judged["correct"] = {"value": 0.625, "low": 0.01, "high": 0.99}
    change = {"metric": "token_f1", "new": 0.5, "standing": None, "change": None, "low": None, "high": None}
    decided = {"against": None, "questions": 1, "promoted": True, "reason": "", "differences": [change]}
    files: dict[str, dict[str, str]] = {
        "chunks": {"chunks.jsonl": to_jsonl([CHUNK]).decode()},
        "questions": {
            "eval.jsonl": to_jsonl([question]).decode(),
            "filters.json": json.dumps([{"filter": "critic", "kept": 5, "rejected": 2}]),
        },
        "dataset": {"counts.json": json.dumps({"tokens of all examples": 123456})},
        "adapter": {
            "metrics.jsonl": lines(*metrics),
            "training.json": json.dumps({"planned_updates": 1000, "seconds": 61, "example_tokens": 777}),
        },
        "evaluation": {
            "summary.json": json.dumps(rungs),
            "answers.jsonl": lines(
                asdict(answered("base + retrieval", 0, 0.0, **ANSWER)),
                asdict(answered("tuned + retrieval", 0, 0.0, **ANSWER, output_tokens=4321)),
            ),
            "comparisons.json": json.dumps([{**paired, "difference": 12.5, "low": -1.0, "high": 26.0, "p": 0.04}]),
            "breakdown.json": json.dumps({"by_document": part, "by_kind": {}}),
        },
        "robustness": {"points.json": json.dumps([{**point, "value": n, "questions": 9} for n in (4, 0, 2)])},
        "retrieval": {
            "retrieval.json": json.dumps([{"part": "eval", "step": "hybrid", "questions": 1, **ranked}]),
            "misses.json": json.dumps({"cause": "chunks say too little: raise chunking.max_tokens"}),
        },
        "verdicts": {"judge.json": json.dumps([judged])},
        "comparison": {"comparison.json": json.dumps(decided)},
        "export": {"adapter__weights": "w", "merged__weights": "m"},
    }
    return {kind: file_artifact(store, kind, {"model": "7b"}, **content) for kind, content in files.items()}


def run(store: Store, artifacts: dict[str, Artifact], note: str = "model 1: the new champion: better") -> RunRecord:
    settings = load_config(None, {"corpus": "my documents", "work_dir": str(store.work_dir)}).model_dump(mode="json")
    with recorded(store, "raft-finetune", "everything", "corpus", settings) as recording:
        for name, artifact in artifacts.items():
            store.note(Outcome(f"make-{name}", artifact, cached=name == "chunks", seconds=2.5, peak_bytes=3_000_000))
        publish_latest(store, artifacts, settings)
        recording.end("completed", artifacts, note)
    return recording.record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "work")


def test_the_page_tells_what_was_measured_and_lies_beside_the_record(store: Store) -> None:
    record = run(store, made(store))
    link = leave_report(store, record)
    assert link == store.work_dir / "latest" / "report.html"
    page = link.read_text(encoding="utf-8")
    assert link.resolve() == store.work_dir / "runs" / record.name / "report.html"
    assert "cannot be shown" not in page
    assert "<script" not in page
    for told in (
        "On 1 questions about documents",
        "50.0 (25.0 to 75.0)",
        "12.5 (-1.0 to 26.0)",
        "not significant",
        "Token F1 by document",
        "judged by 7b",
        "62.5 (1.0 to 99.0)",
        "87.5",
        "37.5",
        "1,000 of 1,000 updates in 1 min 01 s",
        "lowest after update 1,000, 1.25",
        "distractors beside the oracle",
        "document recall@5",
        "for 25.0% of 1 questions, and one of its document for 50.0%: chunks say too little: raise chunking.max_tokens",
        f"<mark>{ARABIC}</mark>",
        "the answer differs, though it comes from the oracle",
        "Model 1: the new champion: better.",
        "critic",
        "123,456",
        "4,321",
        "3.0 MB",
        "--corpus &#39;my documents&#39;",
        record.artifacts["adapter"].digest,
    ):
        assert told in page, told
    assert len(page) < 100_000, "a thousand updates are drawn as three hundred"
    text = (link.resolve().parent / "report.md").read_text(encoding="utf-8")
    assert "12.5" in text
    assert "<script" not in text


def test_the_page_of_all_files_lies_beside_the_report_which_links_to_it(store: Store) -> None:
    files = [
        FileAccount(f"{NASTY}.pdf", "unreadable", reason="damaged PDF"),
        FileAccount("a.html", "read", 1, 900, {"menus": 100}),
    ]
    documents = file_artifact(store, "documents", **{FILES_NAME: to_jsonl(files).decode()})
    record = run(store, {**made(store), "documents": documents})
    link = leave_report(store, record)
    assert link is not None
    latest = store.work_dir / "latest" / "documents.html"
    assert latest.resolve() == store.work_dir / "runs" / record.name / "documents.html"
    page = latest.read_text(encoding="utf-8")
    assert "damaged PDF" in page and "menus 100" in page and "<script" not in page
    assert f"artifacts/documents/{documents.digest}/files.jsonl" in page and record.name in page
    assert (store.work_dir / "latest" / "documents" / FILES_NAME).exists()
    report = link.read_text(encoding="utf-8")
    assert 'href="documents.html"' in report and 'href="report.html"' in page
    assert "900 kept, 100 left out on purpose (10.0%): menus 100" in report and "2: 1 unreadable, 1 read" in report
    assert "900 kept" in (link.resolve().parent / "report.md").read_text(encoding="utf-8")

    (store.path(documents) / FILES_NAME).write_text("[")
    assert "The files cannot be shown" in " ".join(gather(store, record, DEFAULTS).missing)
    assert "cannot be shown" in (leave_report(store, record) or Path()).read_text(encoding="utf-8")
    without = run(store, made(store))
    assert not latest.exists(), "the page of another run's documents"
    assert 'href="documents.html"' not in (leave_report(store, without) or Path()).read_text(encoding="utf-8")


def test_what_is_removed_or_damaged_is_named_and_the_rest_is_shown(store: Store) -> None:
    record = run(store, made(store))
    shutil.rmtree(store.path(record.artifacts["retrieval"]))
    (store.path(record.artifacts["evaluation"]) / "answers.jsonl").write_text('{"rung": 1}\n')
    (store.path(record.artifacts["robustness"]) / "points.json").write_text("[")
    facts = gather(store, record, DEFAULTS)
    assert [line.split(":")[0] for line in facts.missing] == [
        "Removed since",
        "The answers cannot be shown",
        "Robustness cannot be shown",
    ]
    assert facts.rungs and facts.curves and facts.command and not facts.examples
    for artifact in record.artifacts.values():
        shutil.rmtree(store.path(artifact), ignore_errors=True)
    assert "Removed since" in (leave_report(store, record) or Path()).read_text(encoding="utf-8")


def test_a_run_with_nothing_to_do_points_to_the_one_it_repeats(store: Store) -> None:
    artifacts = made(store)
    first = run(store, artifacts)
    leave_report(store, first)
    with recorded(store, "jora", "everything", "again", first.settings) as recording:
        recording.end_with_nothing([], {k: a for k, a in artifacts.items() if k != "comparison"}, "nothing to do")
    page = leave_report(store, recording.record)
    assert page == recording.folder / "report.html"
    assert f'href="../{first.name}/report.html"' in page.read_text(encoding="utf-8")
    latest = store.work_dir / "latest" / "report.html"
    assert latest.resolve().parent.name == first.name
    latest.resolve().unlink()
    assert ">Evaluation<" in (leave_report(store, recording.record) or Path()).read_text(), "the other one is gone"


def test_a_report_that_fails_is_one_line_and_the_next_run_shows_no_old_one(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave_report(store, run(store, made(store)))
    record = run(store, made(store))
    assert not (store.work_dir / "latest" / "report.html").is_symlink()

    def fails(*_: object, **__: object) -> None:
        raise OSError(28, "No space left\non device")

    monkeypatch.setattr(run_report, "write_whole", fails)
    with caplog.at_level(logging.WARNING):
        assert leave_report(store, record) is None
    (line,) = [entry.getMessage() for entry in caplog.records]
    assert line.startswith("no report on this run was written: OSError: [Errno 28] No space left on device; try again")


def test_the_command_writes_it_anew_and_prints_its_path(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, error = jora(monkeypatch, capsys, "report", "--work-dir", store.work_dir / "none")
    assert (code, "no run in" in error) == (2, True)
    record = run(store, made(store))
    monkeypatch.setattr("sys.argv", ["jora", "report", record.name[:12], "--work-dir", str(store.work_dir)])
    with pytest.raises(SystemExit) as ended:
        from flows.cli.main import main

        main()
    path = Path(capsys.readouterr().out.strip())
    assert ended.value.code == 0
    assert path == store.work_dir / "runs" / record.name / "report.html"
    assert path.exists()
    assert find_run(store.work_dir, "latest") == record, "the record stays as it was"


def test_the_command_on_the_page_asks_for_the_same(tmp_path: Path) -> None:
    config = load_config(
        None,
        {"corpus": "it's mine", "work_dir": str(tmp_path)},
        [
            "lora.target_modules=[q_proj, v_proj]",
            "training.learning_rate=1e-5",
            "raft.guard_reranker=null",
            "critic.languages=[en, de]",
        ],
    )
    command = command_of(config.model_dump(mode="json"), DEFAULTS, "evaluation")
    program, name, *words = shlex.split(command.replace("\\\n", ""))
    assert (program, name) == ("jora", "evaluate")
    pairs = list(zip(words[::2], words[1::2], strict=True))
    options = {key.removeprefix("--").replace("-", "_"): value for key, value in pairs if key != "--set"}
    assert load_config(None, options, [value for key, value in pairs if key == "--set"]) == config
    assert command_of({}, {}, "rank") == "", "of a sweep there is no such command"


def test_a_run_of_a_part_and_a_failed_run_have_a_page(store: Store) -> None:
    some = {name: artifact for name, artifact in made(store).items() if name in ("questions", "dataset", "chunks")}
    page = (leave_report(store, run(store, some, "")) or Path()).read_text(encoding="utf-8")
    assert "critic" in page
    assert ">Evaluation<" not in page
    with pytest.raises(ValueError, match="no such file"), recorded(store, "f", "dataset", "x", {}) as recording:
        raise ValueError("no such file")
    facts = gather(store, recording.record, DEFAULTS)
    assert (facts.state, facts.error, facts.missing) == ("failed", "no such file", [])
    assert asdict(facts)


def test_a_model_that_was_judged_before_keeps_its_reason(store: Store) -> None:
    record = model(store, "judged", [1.0])
    registry = Registry(store.work_dir)
    decision = Decision(promoted=True, reason="token F1 +9.9", when="2026-11-27T01:00:00+00:00")
    assert registry.settle(store, record, decision)
    facts = gather(store, run(store, record.artifacts, f"model {record.name}: already the champion"), DEFAULTS)
    assert facts.decision is not None and facts.decision.promoted
    assert facts.decision.text.endswith("already the champion. It was judged on 2026-11-27: token F1 +9.9.")


def test_of_a_sweep_no_value_stands_for_all(store: Store) -> None:
    settings = load_config(None, {"work_dir": str(store.work_dir)}).model_dump(mode="json")
    with recorded(store, "raft-sweep", "rank", "sweep rank", settings) as recording:
        recording.end("completed", made(store), "4, 16")
    record = recording.record
    facts = gather(store, record, DEFAULTS)
    assert facts.missing == ["A sweep over rank; table and plot are in sweeps/rank."]
    assert facts.retriever and facts.digests and not facts.rungs and not facts.curves and not facts.command
    assert facts.sweep is None
    score = {"value": 0.333, "low": 0.3, "high": 0.4}
    base = {"exact_match": score, "token_f1": score}
    point = {"study": "oracle_fraction", "value": 0.5, "rung": "tuned", "metric": "token_f1", "questions": 9}
    for compared, shown in ((made(store)["adapter"], True), (file_artifact(store, "adapter", other="x"), False)):
        swept = {"over": "rank", "points": [asdict(sweep_point(compared.digest, score))], "base": base}
        with store.build("sweep", inputs=(compared,)) as build:
            (build.folder / "sweep.json").write_text(json.dumps(swept))
            (build.folder / "points.json").write_text(json.dumps([{**point, "mean": 1, "low": 0, "high": 2}]))
        assert build.artifact
        publish_sweep(store, "rank", build.artifact)
        facts = gather(store, record, DEFAULTS)
        assert (facts.sweep is not None, bool(facts.robustness)) == (shown, shown)
        page = write_report(store, record, DEFAULTS).read_text(encoding="utf-8")
        assert ("33.3" in page) == shown, "a later sweep is not this one"
