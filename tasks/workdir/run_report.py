"""Writes the report on a run, as HTML and Markdown beside the run's record, from the record and its artifacts.

The page names artifacts that were removed or cannot be read, and shows the rest. Does not use Prefect.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from data.documents.accounts import FILES_NAME
from data.evaluation.champion import LABELS as GUARDED
from data.files.whole_files import write_whole
from data.report.documents_page import corpus_facts, file_rows
from data.report.run_facts import RunFacts, ShownDecision, StageCost, Table, told_bytes, told_seconds
from data.report.run_markdown import run_markdown
from data.report.run_page import run_page
from data.report.run_settings import COMMANDS, changed_settings, command_of, settings_that_matter, told_value
from tasks.records.models import Registry
from tasks.records.records import RUNS, RunRecord, list_runs
from tasks.records.runs import DOCUMENTS, LATEST, REPORT, SWEEPS
from tasks.stages.json_files import read_json
from tasks.store.artifacts import Artifact, Manifest
from tasks.store.links import point
from tasks.store.store import MANIFEST, Store
from tasks.workdir.documents import read_accounts, write_documents_page
from tasks.workdir.run_curves import training_facts
from tasks.workdir.run_scores import (
    answer_facts,
    compared_rungs,
    headline,
    judge_facts,
    ladder_facts,
    retriever_facts,
    robustness_facts,
    sweep_facts,
)
from user_error import UserError

_MARKDOWN = "report.md"
_MODEL_DIGITS = 12  # of a registered model's name (tasks/records/models.py)
# Artifacts that all values of a sweep share.
_SHARED = ("documents", "chunks", "raw_questions", "questions", "retrieval")
# Artifacts that compare a run with the previous one; not results.
_COMPARISONS = ("diff", "comparison")
# Name on the page -> (name of the artifact, file or folder in it).
_LINKS = {
    "the dataset's own report": ("package", "report.html"),
    "all answers": ("evaluation", "answers.jsonl"),
    "adapter": ("export", "adapter"),
    "merged model": ("export", "merged"),
}


def write_report(store: Store, record: RunRecord, defaults: Mapping[str, Any]) -> Path:
    """Write report.html and report.md into the folder of the run's record.

    Args:
        defaults: all settings at their defaults.

    Returns:
        The path of the page.
    """
    folder = store.work_dir / RUNS / record.name
    with suppress(UserError):  # a damaged list, which the report names
        write_documents_page(store, record)
    facts = gather(store, record, defaults)
    # Outputs of a model may hold lone surrogates, which UTF-8 cannot encode.
    write_whole(folder / _MARKDOWN, _writable(run_markdown(facts)), durable=True)
    write_whole(folder / REPORT, _writable(run_page(facts)), durable=True)
    return folder / REPORT


def read_markdown(store: Store, record: RunRecord) -> str:
    """The written report as Markdown."""
    return (store.work_dir / RUNS / record.name / _MARKDOWN).read_text(encoding="utf-8")


def publish_report(store: Store, report: Path) -> Path:
    """Link latest/report.html, and the page of the documents, to those of the run; returns the first link."""
    link = store.work_dir / LATEST / REPORT
    documents = report.with_name(DOCUMENTS)
    if documents.exists():
        point(link.with_name(DOCUMENTS), documents)
    point(link, report)
    return link


def gather(store: Store, record: RunRecord, defaults: Mapping[str, Any]) -> RunFacts:
    """The facts that a run's page shows."""
    settings, made = record.settings, record.artifacts
    missing: list[str] = []
    sweep: Path | None = None
    if record.goal not in COMMANDS:  # a sweep: no single value's artifacts are the run's
        made = {name: made[name] for name in _SHARED if name in made}
        missing.append(f"A sweep over {record.goal}; table and plot are in sweeps/{record.goal}.")
        sweep = _sweep(store, record)
    facts: dict[str, Any] = {
        "name": record.name,
        "state": record.state,
        "about": _about(record),
        "note": record.note,
        "error": record.error,
        "command": command_of(settings, defaults, record.goal),
    }
    if repeats := _repeated(store, record):
        return RunFacts(**facts, repeats=repeats)
    gone = sorted(name for name, artifact in made.items() if not store.path(artifact).is_dir())
    if gone:
        missing.append(f"Removed since: {', '.join(gone)}. The command at the end of the page rebuilds them.")

    def add(what: str, needed: tuple[str, ...], read: Callable[[], dict[str, Any]]) -> None:
        if any(name not in made or name in gone for name in needed):
            return
        try:
            facts.update(read())
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            missing.append(f"{what} cannot be shown: {reason}")

    def path(name: str) -> Path:
        return store.path(made[name])

    add("The settings", (), lambda: _settings(record, defaults))
    add("The data", (), lambda: {"data": _data(made)})
    add("The files", ("documents",), lambda: _files(store, record, facts["data"]))
    add("What the critic kept", ("questions",), lambda: {"filters": _filters(path("questions"))})
    add("The ladder", ("evaluation",), lambda: ladder_facts(path("evaluation")))
    rungs = facts.get("rungs")
    output_tokens = 0
    if rungs:
        facts["headline"] = headline(rungs, facts.get("paired", ()))
        facts["compared"] = pair = compared_rungs(rungs)
        needed = ("evaluation", "chunks", "questions")
        add("The answers", needed, lambda: answer_facts(store, path("evaluation"), made, *pair))
        output_tokens = facts.pop("output_tokens", 0)
    add("The judge", ("verdicts",), lambda: {"judge": judge_facts(path("verdicts"))})
    if sweep is not None:
        add("The sweep", (), lambda: sweep_facts(sweep))
    add("Training", ("adapter",), lambda: training_facts(path("adapter")))
    add("Robustness", ("robustness",), lambda: {"robustness": robustness_facts(path("robustness"))})
    add("The retriever", ("retrieval",), lambda: {"retriever": retriever_facts(path("retrieval"))})
    add("The decision", (), lambda: {"decision": _decision(store, record)})
    add("The cost", (), lambda: {"stages": _stages(record)})
    facts["tokens"] = []
    add("The tokens", ("dataset",), lambda: {"tokens": _tokens(record, path("dataset"), facts, output_tokens)})
    facts.pop("trained_tokens", None)
    add("The tiles", (), lambda: {"tiles": _tiles(record, facts)})
    facts["digests"] = [(name, f"{artifact.kind}/{artifact.digest}") for name, artifact in record.artifacts.items()]
    add("The versions", ("dataset",), lambda: {"versions": _versions(path("dataset"))})
    add("The links", (), lambda: {"links": _links(store, record)})
    return RunFacts(**facts, missing=missing)


def _about(record: RunRecord) -> str:
    took = f", took {told_seconds(record.seconds)}" if record.seconds is not None else ""
    started = record.started[:16].replace("T", " ")
    return f"{record.flow}, goal {record.goal}; started {started} UTC{took}"


def _repeated(store: Store, record: RunRecord) -> str:
    """Name of the earlier run with the same results as this one, which had nothing to do; empty if it is gone."""
    if record.state != "nothing to do":
        return ""
    results = _results(record)
    before = [run for run in list_runs(store.work_dir) if run.state == "completed" and run.started <= record.started]
    same = [run.name for run in before if run.settings == record.settings and _results(run) == results]
    return same[-1] if same and (store.work_dir / RUNS / same[-1] / REPORT).exists() else ""


def _results(record: RunRecord) -> dict[str, Artifact]:
    return {name: artifact for name, artifact in record.artifacts.items() if name not in _COMPARISONS}


def _sweep(store: Store, record: RunRecord) -> Path | None:
    """The folder of the run's sweep, or None if a later sweep replaced it."""
    folder = store.work_dir / SWEEPS / record.goal
    if Path(record.goal).name != record.goal or not (folder / MANIFEST).exists():
        return None
    compared = Manifest.model_validate_json((folder / MANIFEST).read_bytes()).inputs
    return folder if set(compared) <= set(record.artifacts.values()) else None


def _settings(record: RunRecord, defaults: Mapping[str, Any]) -> dict[str, Any]:
    changed = [(key, told_value(value)) for key, value in changed_settings(record.settings, defaults)]
    return {"asked": settings_that_matter(record.settings, record.goal), "changed": changed}


def _data(made: Mapping[str, Artifact]) -> list[tuple[str, str]]:
    """Counts of the artifacts, from their references, so that removed files do not matter."""
    names = {
        "documents": "documents",
        "chunks": "chunks",
        "raw_questions": "questions read",
        "questions": "questions, split",
        "dataset": "training set",
    }
    rows = []
    for name, label in names.items():
        if name in made and made[name].counts:
            counts = (f"{number:,} {what.replace('_', ' ')}" for what, number in made[name].counts if number)
            rows.append((label, ", ".join(counts)))
    return rows


def _files(store: Store, record: RunRecord, data: list[tuple[str, str]]) -> dict[str, Any]:
    """The rows about the data with the totals of the files, and the page that has them all, if it was written."""
    documents = store.path(record.artifacts["documents"])
    if not (documents / FILES_NAME).exists():  # older than the account
        return {}
    totals = file_rows(corpus_facts(read_accounts(documents), rows=0))
    page = DOCUMENTS if (store.work_dir / RUNS / record.name / DOCUMENTS).exists() else ""
    return {"data": [*data[:1], *totals, *data[1:]], "documents_page": page}


def _filters(questions: Path) -> Table | None:
    rows = read_json(questions / "filters.json")
    split = questions / "split.json"
    note = read_json(split)["note"] if split.is_file() else ""
    if not note and not any(row["rejected"] for row in rows):
        return None
    cells = [[row["filter"], f"{row['kept']:,}", f"{row['rejected']:,}"] for row in rows]
    return Table("", [["filter of the questions", "kept", "rejected"], *cells], note)


def _decision(store: Store, record: RunRecord) -> ShownDecision | None:
    """The promotion decision of the run, with its reason if an earlier run made it."""
    if "export" not in record.artifacts or not record.note or record.state != "completed":
        return None
    registry = Registry(store.work_dir)
    champion, name = registry.champion(), record.artifacts["adapter"].digest[:_MODEL_DIGITS]
    text = record.note[:1].upper() + record.note[1:] + "."
    comparison, promoted = record.artifacts.get("comparison"), champion is not None and champion.name == name
    judged = next((model.decision for model in registry.all() if model.name == name), None)
    if comparison is None and judged is not None:
        comparison = judged.comparison
        if judged.reason not in text:
            text += f" It was judged on {judged.when[:10]}: {judged.reason}."
    if comparison is None or not store.path(comparison).is_dir():
        return ShownDecision(text, promoted, None)
    content = read_json(store.path(comparison) / "comparison.json")
    promoted = content["promoted"]
    if promoted and champion is not None and champion.name != name:
        text += f" Since then {champion.name} became the champion."
    return ShownDecision(text, promoted, _differences(content))


def _differences(content: Mapping[str, Any]) -> Table:
    """A comparison of two models as a table."""
    rows = [["", "this model", content["against"] or "base + retrieval", "difference"]]
    for item in content["differences"]:
        cells = ("-" if item[key] is None else f"{100 * item[key]:.1f}" for key in ("new", "standing"))
        ends = [item[key] for key in ("change", "low", "high")]
        change, low, high = (0.0 if end is None else round(100 * end, 1) + 0.0 for end in ends)
        points = "-" if None in ends else f"{change:+.1f} ({low:.1f} to {high:.1f})"
        rows.append([GUARDED.get(item["metric"], item["metric"].replace("_", " ")), *cells, points])
    note = f"over {content['questions']:,} questions"
    return Table("", rows, f"{note}; percent, differences in points with 95% intervals")


def _stages(record: RunRecord) -> list[StageCost]:
    """The cost of each stage, in the order in which they first ended."""
    costs: dict[str, StageCost] = {}
    for stage in record.stages:
        before = costs.get(stage.stage, StageCost(stage.stage, 0, 0, 0.0, None))
        costs[stage.stage] = StageCost(
            stage.stage,
            before.calls + 1,
            before.cached + stage.cached,
            before.seconds + (0.0 if stage.cached else stage.seconds),
            max(filter(None, (before.peak_bytes, stage.peak_bytes)), default=None),
        )
    return list(costs.values())


def _tokens(record: RunRecord, dataset: Path, facts: Mapping[str, Any], output_tokens: int) -> list[tuple[str, str]]:
    counts = read_json(dataset / "counts.json")
    kinds: dict[str, int] = {}
    for stage in record.stages:
        kinds[stage.artifact.kind] = kinds.get(stage.artifact.kind, 0) + dict(stage.artifact.counts).get("tokens", 0)
    tokens = {
        "of the dataset's examples": counts.get("tokens of all examples"),
        "stored, each shared prefix once": counts.get("tokens stored, each shared prefix once"),
        "of the examples trained on": facts.get("trained_tokens"),
        "of prompts (evaluation, and of a local teacher)": kinds.get("prompts"),
        "of the evaluation's answers": output_tokens,
        "of the teacher's calls": kinds.get("teacher-answers"),
    }
    return [(f"tokens {name}", f"{number:,}") for name, number in tokens.items() if number]


def _tiles(record: RunRecord, facts: Mapping[str, Any]) -> dict[str, str]:
    tiles: dict[str, str] = {}
    if rungs := facts.get("rungs"):
        base, tuned = compared_rungs(rungs)
        by_name = {rung.name: rung.scores for rung in rungs}
        shown = (("token_f1", tuned), ("token_f1", base), ("quote_precision", tuned), ("oracle_citation", tuned))
        for metric, rung in dict.fromkeys(shown):
            if (score := by_name[rung].get(metric)) is not None:
                tiles[f"{facts['labels'][metric]}, {rung}"] = f"{score.value:.1f}%"
    if record.seconds is not None:
        tiles["run time"] = told_seconds(record.seconds)
    peaks = [stage.peak_bytes for stage in record.stages if stage.peak_bytes]
    if peaks:
        tiles["peak memory"] = told_bytes(max(peaks))
    return tiles


def _versions(artifact: Path) -> dict[str, str]:
    return dict(Manifest.model_validate_json((artifact / MANIFEST).read_bytes()).versions)


def _links(store: Store, record: RunRecord) -> dict[str, str]:
    """Name -> path relative to the page, so that a work directory can be moved."""
    folder = store.work_dir / RUNS / record.name
    paths = {"the record of this run": folder / "run.json"}
    for name, (artifact, part) in _LINKS.items():
        if artifact in record.artifacts:
            paths[name] = store.path(record.artifacts[artifact]) / part
    return {name: os.path.relpath(path, folder) for name, path in paths.items() if path.exists()}


def _writable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
