"""`jora runs`, `jora show` and `jora pin`. Does not import Prefect."""

import json
from pathlib import Path

import typer

from data.evaluation.ladder import TUNED
from data.report.run_settings import changed_settings
from data.scoring.scores import aligned
from flows.settings.config import RunConfig
from tasks.records.models import Registry
from tasks.records.records import RunRecord, find_run, in_use, is_pinned, list_runs, pin
from tasks.store.artifacts import BrokenArtifact
from tasks.store.report import describe_bytes
from tasks.store.store import Store
from user_error import UserError


def show_runs(work_dir: str, last: int) -> None:
    """Print one row per run, the newest last.

    Raises:
        UserError: there is no run.
    """
    folder = Path(work_dir).expanduser().absolute()
    runs = list_runs(folder)
    if not runs:
        raise UserError(f"no run in {folder}; start one with: jora run --work-dir {work_dir}")
    champion = Registry(folder).champion()
    adapter = champion and champion.artifacts["adapter"]
    rows = [["run", "state", "took", "built", "cached", "token F1", ""]]
    for run in runs[-last:]:
        marks = ["champion"] if adapter is not None and run.artifacts.get("adapter") == adapter else []
        marks += ["pinned"] if is_pinned(folder, run.name) else []
        cached = sum(stage.cached for stage in run.stages)
        counts = [str(len(run.stages) - cached), str(cached)]
        rows.append([run.name, run.state, _duration(run.seconds), *counts, _token_f1(folder, run), ", ".join(marks)])
    typer.echo(aligned(rows), nl=False)
    if len(runs) > last:
        typer.echo(f"the last {last} of {len(runs)}; for more use --last")
    typer.echo("details: jora show RUN")


def show_run(work_dir: str, name: str) -> None:
    """Print a run's stages with time and memory, its non-default settings, its results and its error.

    Raises:
        UserError: there is no such run.
    """
    folder = Path(work_dir).expanduser().absolute()
    run = find_run(folder, name)
    typer.echo(
        f"{run.name}: {run.flow} up to {run.goal}, {run.state}, started {run.started[:19].replace('T', ' ')} UTC"
    )
    if run.seconds is not None:
        typer.echo(f"took {_duration(run.seconds)}")
    for line in filter(None, (run.error and f"error: {run.error}", run.note)):
        typer.echo(line)
    if run.stages:
        rows = [["stage", "artifact", "seconds", "peak memory", "size"]]
        for stage in run.stages:
            spent = ["cached", ""]
            if not stage.cached:
                again = f" (attempt {stage.attempts})" if stage.attempts > 1 else ""
                spent = [f"{stage.seconds:.1f}{again}", describe_bytes(stage.peak_bytes) if stage.peak_bytes else "-"]
            rows.append([stage.stage, str(stage.artifact), *spent, describe_bytes(stage.artifact.bytes)])
        typer.echo("\n" + aligned(rows), nl=False)
    if changed := list(changed_settings(run.settings, RunConfig().model_dump(mode="json"))):
        typer.echo("\nnon-default settings:")
        for key, value in changed:
            typer.echo(f"  {key}={json.dumps(value, ensure_ascii=False)}")
    if run.artifacts:
        store = Store(folder)
        typer.echo("\nresults:")
        for key, artifact in run.artifacts.items():
            path = store.path(artifact)
            typer.echo(f"  {key:<14}{path if path.is_dir() else f'{artifact} (deleted; run again to rebuild it)'}")
    if (table := _evaluation(folder, run)) is not None:
        typer.echo(f"\n{table}", nl=False)


def pin_run(work_dir: str, name: str, pinned: bool) -> None:
    """Pin or unpin a run: `jora gc` keeps the results of a pinned run.

    Raises:
        UserError: there is no such run.
    """
    folder = Path(work_dir).expanduser().absolute()
    run = find_run(folder, name)
    with in_use(Store(folder)):
        pin(folder, run.name, pinned)
    typer.echo(f"{run.name}: {'pinned; jora gc keeps its results' if pinned else 'no longer pinned'}")


def _evaluation(work_dir: Path, run: RunRecord) -> str | None:
    """The table of the run's evaluation; None if its files are gone."""
    if "evaluation" not in run.artifacts:
        return None
    store = Store(work_dir)
    try:
        store.verify(run.artifacts["evaluation"])
    except BrokenArtifact:
        return None
    return (store.path(run.artifacts["evaluation"]) / "summary.txt").read_text(encoding="utf-8")


def _token_f1(work_dir: Path, run: RunRecord) -> str:
    if "evaluation" not in run.artifacts:
        return ""
    path = Store(work_dir).path(run.artifacts["evaluation"]) / "summary.json"
    try:
        rungs = {rung["name"]: rung for rung in json.loads(path.read_text(encoding="utf-8"))}
        rung = rungs[TUNED]
    except (OSError, ValueError, KeyError):
        return ""
    return f"{100 * rung['token_f1']['value']:.1f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
