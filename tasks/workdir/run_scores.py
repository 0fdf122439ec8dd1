"""Reads evaluation, robustness study, retrieval, judge and sweep for a run's report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.evaluation.judge import verdict_cells
from data.evaluation.sweep_points import SweepPoint, point_cells
from data.report.run_answers import GivenAnswer, choose_examples, group_failures, read_answer
from data.report.run_facts import Figure, Interval, RungDifference, RungScores, Series, Table
from data.scoring.retrieval_misses import LOW_RECALL, recall_warning
from data.scoring.retrieval_scores import retrieval_cells
from data.scoring.scores import METRICS
from tasks.stages.json_files import read_json
from tasks.stages.loading import open_chunks, open_questions
from tasks.store.artifacts import Artifact, Manifest
from tasks.store.store import MANIFEST, Store

# Metric -> display name, in the order of the table.
LABELS = {key: METRICS[key] for key in dict.fromkeys(("token_f1", *METRICS))}
# Metrics that are counts, not shares.
_COUNTED = ("output_tokens",)
# Rungs shown side by side, by current and earlier names; otherwise the first and the last.
_BASE, _TUNED = ("base + retrieval",), ("RAFT + retrieval", "tuned + retrieval")
# Study -> title of its plot and label of its x axis.
_STUDIES = {
    "distractors": ("More distractors at test time", "distractors beside the oracle"),
    "oracle_position": ("Position of the oracle", "position of the oracle"),
    "top_k": ("Number of retrieved chunks", "retrieved chunks (top-k)"),
    "oracle_fraction": ("Oracle fraction in training", "share of training contexts with their oracle"),
}
_MOST_ROWS = 25  # of a breakdown


def read_lines(path: Path) -> list[Any]:
    """The values of a JSON lines file."""
    # str.splitlines would also split at separators inside of texts.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def ladder_facts(evaluation: Path) -> dict[str, Any]:
    """Rungs, and paired comparisons and breakdown if the evaluation has them."""
    rungs = [_rung(rung) for rung in read_json(evaluation / "summary.json")]
    facts: dict[str, Any] = {"rungs": rungs, "labels": LABELS}
    if (path := evaluation / "comparisons.json").exists():
        facts["paired"] = [_paired(item) for item in read_json(path)]
    if (path := evaluation / "breakdown.json").exists():
        parts = read_json(path)
        titles = (("by_document", "Token F1 by document"), ("by_kind", "Token F1 by kind of question"))
        facts["breakdown"] = [_breakdown(title, parts[key]) for key, title in titles if parts.get(key)]
    return facts


def compared_rungs(rungs: Sequence[RungScores]) -> tuple[str, str]:
    """Names of the untuned and the tuned rung that are shown side by side."""
    names = [rung.name for rung in rungs]
    base = next((name for name in _BASE if name in names), names[0])
    return base, next((name for name in _TUNED if name in names), names[-1])


def headline(rungs: Sequence[RungScores], paired: Sequence[RungDifference]) -> str:
    """The result of the run in one sentence."""
    base, tuned = compared_rungs(rungs)
    by_name = {rung.name: rung for rung in rungs}
    scores = [by_name[name].scores.get("token_f1") for name in (tuned, base)]
    if tuned == base or None in scores:
        return ""
    questions = f"On {by_name[tuned].questions:,} questions about documents that training never saw"
    text = f"{questions}, token F1 is {scores[0]} for {tuned} and {scores[1]} for {base}"
    of_both = (p for p in paired if (p.rung, p.against, p.metric) == (tuned, base, "token_f1"))
    if (pair := next(of_both, None)) is not None:
        sign = "+" if pair.difference.value > 0 else ""
        text += f": {sign}{pair.difference} points on the same questions, {pair.verdict}"
    return text + "."


def answer_facts(
    store: Store, evaluation: Path, artifacts: Mapping[str, Artifact], base: str, tuned: str
) -> dict[str, Any]:
    """Examples of two rungs, and the wrong answers of the tuned rung by cause."""
    answers = [read_answer(line) for line in read_lines(evaluation / "answers.jsonl")]
    chunks = {chunk.id: chunk for chunk in open_chunks(store, artifacts["chunks"])}
    proofs: dict[str, Sequence[str]] = {q.id: q.quotes for q in open_questions(store, artifacts["questions"], "eval")}
    examples, note = choose_examples(answers, base, tuned, chunks, proofs)
    failures = group_failures(answers, tuned, chunks, proofs)
    wrong, asked = sum(group.count for group in failures), sum(given.rung == tuned for given in answers)
    return {
        "examples": examples,
        "examples_note": note,
        "failures": failures,
        "failures_note": f"{wrong:,} of {asked:,} answers of {tuned} are wrong; open a cause for an example.",
        "output_tokens": _output_tokens(answers),
    }


def robustness_facts(folder: Path) -> list[Figure]:
    """A plot for each study and metric, with one line for each rung."""
    plots: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for point in read_json(folder / "points.json"):
        plots.setdefault((point["study"], point["metric"]), {}).setdefault(point["rung"], []).append(point)
    figures = []
    for (study, metric), rungs in plots.items():
        title, axis = _STUDIES.get(study, (study.replace("_", " "), study.replace("_", " ")))
        asked = sorted({point["questions"] for points in rungs.values() for point in points})
        note = f"{' to '.join(f'{n:,}' for n in dict.fromkeys((asked[0], asked[-1])))} questions; bands: 95% intervals"
        label = f"{LABELS.get(metric, metric.replace('_', ' '))} (percent)"
        figures.append(Figure(title, axis, label, [_series(rung, points) for rung, points in rungs.items()], note))
    return figures


def retriever_facts(folder: Path) -> Table:
    """Scores of the retriever."""
    rows = read_json(folder / "retrieval.json")
    note = "how often retrieval finds the oracle, and a chunk of its document; percent, with 95% intervals"
    misses = folder / "misses.json"
    warning = recall_warning(rows, read_json(misses)["cause"], LOW_RECALL) if misses.exists() else ""
    return Table("Retrieval", retrieval_cells(rows), f"{note}. Low recall: {warning}" if warning else note, words=2)


def judge_facts(verdicts: Path) -> Table:
    """Ratings of a judge model for each rung, and its agreement with exact match."""
    cells = verdict_cells(read_json(verdicts / "judge.json"))
    model = Manifest.model_validate_json((verdicts / MANIFEST).read_bytes()).settings["model"]
    return Table("Ratings by a judge model", cells, f"judged by {model}")


def sweep_facts(sweep: Path) -> dict[str, Any]:
    """The table of a sweep, and its plot if it has points of a study."""
    content = read_json(sweep / "sweep.json")
    points = [SweepPoint(**point) for point in content["points"]]
    facts: dict[str, Any] = {"sweep": Table("", point_cells(content["over"], points, content["base"]))}
    if (sweep / "points.json").exists():
        facts["robustness"] = robustness_facts(sweep)
    return facts


def _rung(rung: Mapping[str, Any]) -> RungScores:
    name = rung["name"] if "name" in rung else rung["rung"]
    scores = {}
    for key, score in rung.items():
        if key in LABELS or isinstance(score, Mapping):
            scale = 1 if key in _COUNTED else 100
            scores[key] = score and Interval(*(scale * score[part] for part in ("value", "low", "high")))
    return RungScores(name, rung["questions"], scores)


def _paired(item: Mapping[str, Any]) -> RungDifference:
    difference = Interval(item["difference"], item["low"], item["high"])
    return RungDifference(item["rung"], item["against"], item["metric"], difference, item.get("p"), item["questions"])


def _breakdown(title: str, rungs: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Table:
    asked: dict[str, int] = {}
    for parts in rungs.values():
        for part, scores in parts.items():
            asked[part] = max(asked.get(part, 0), int(scores["questions"]))
    ordered = sorted(asked, key=lambda part: (-asked[part], part))
    rows = [["", "questions", *rungs]]
    for part in ordered[:_MOST_ROWS]:
        cells = (f"{parts[part]['token_f1']:.1f}" if part in parts else "-" for parts in rungs.values())
        rows.append([part, f"{asked[part]:,}", *cells])
    left = len(ordered) - _MOST_ROWS
    return Table(title, rows, f"and {left:,} more with fewer questions" if left > 0 else "percent")


def _series(rung: str, points: Sequence[Mapping[str, Any]]) -> Series:
    if all(isinstance(point["value"], int | float) for point in points):
        points = sorted(points, key=lambda point: float(point["value"]))
    columns = ([point[key] for point in points] for key in ("value", "mean", "low", "high"))
    return Series(rung, *columns)


def _output_tokens(answers: Sequence[GivenAnswer]) -> int:
    return sum(given.output_tokens for given in answers)
