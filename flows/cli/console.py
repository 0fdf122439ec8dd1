"""Run a flow from the terminal and print a line per stage, then tables and the paths of the results."""

import json
import logging
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import typer

from flows.settings.config import RunConfig
from user_error import UserError

_START_SECONDS = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
# Prefect reads these from pyproject.toml in the current folder only, which need not be the clone. Its own log lines go
# to its UI; the terminal shows ours. Its temporary server takes over 20 s, the default, on a busy machine.
_PREFECT = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    _START_SECONDS: "180",
}
_OURS = tuple(str(Path(__file__).resolve().parents[2] / name) for name in ("tasks", "flows"))


class _StageLines(logging.Handler):
    """Prints what our stages and libraries log, and nothing of what Prefect logs about itself."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.start = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.pathname.startswith(_OURS) or record.name.split(".")[0] in ("data", "jora_model")
        if ours:
            typer.echo(f"[{time.monotonic() - self.start:5.0f} s] {record.getMessage()}", err=True)


def _is_no_failure(record: logging.LogRecord) -> bool:
    """Drops what Prefect logs of a failure, once per task and flow: the exception is raised here as well."""
    return not (record.name in ("prefect.task_runs", "prefect.flow_runs") and record.levelno >= logging.ERROR)


def run_flow(config: RunConfig, goal: str) -> None:
    """Run the flow of a goal in this process and print its results; without PREFECT_API_URL on a temporary server.

    Raises:
        UserError: an input error of any stage.
    """
    _be_quiet()
    from prefect.settings import PREFECT_API_URL

    from flows import raft
    from flows.run import nothing_to_do, record_nothing

    flows = {"dataset": raft.build_dataset, "adapter": raft.train_adapter, "evaluation": raft.evaluate_model}
    flow: Any = flows.get(goal, raft.raft_finetune)
    parameters = config.parameters()
    arguments = {name: parameters[name] for name in flow.parameters.properties if name in parameters}
    # With a server, every run must be visible there.
    if not PREFECT_API_URL.value():
        asked = RunConfig(**arguments)  # the last run's record has defaults for what this flow does not take
        if (nothing := nothing_to_do(asked, goal)) is not None:
            record_nothing(asked, goal, nothing)
            _show(nothing, goal)
            return
    _prepare(config, goal)
    if "until" in flow.parameters.properties:
        arguments["until"] = goal
    results = _call(flow, arguments)
    _show(results, goal)


def run_sweep(config: RunConfig, over: str, values: tuple[str, ...], plot: Path | None) -> None:
    """Run a sweep in this process, print its table and copy the plot to `plot` if that is given.

    Raises:
        UserError: an input error; if it concerns one value, the line names it.
    """
    _prepare(config, "evaluation")
    from flows.sweep import raft_sweep

    results = _call(raft_sweep, {"over": over, "values": values, "config": config})
    outcomes = [outcome for run in results.runs for outcome in run.outcomes]
    cached = sum(outcome.cached for outcome in outcomes)
    typer.echo(f"\n{len(outcomes)} stages: {cached} cached, {len(outcomes) - cached} built\n", err=True)
    typer.echo((results.folder / "sweep.md").read_text(encoding="utf-8"))
    if plot is not None:
        shutil.copyfile(results.folder / "sweep.png", plot)
    typer.echo(f"table  {_short(results.folder / 'sweep.csv')}")
    typer.echo(f"plot   {_short(plot or results.folder / 'sweep.png')}")


def run_export(work_dir: str, model: str, changes: dict[str, Any], to: Path) -> None:
    """Export an existing model to a folder and print the paths of its parts.

    Raises:
        UserError: there is no such model, the folder has other content, or a setting is not allowed.
    """
    _be_quiet()
    from flows.export import chosen, export_again, export_settings
    from tasks.store.store import Store
    from tasks.workdir.deliver import check_target, deliver

    target = to.expanduser().resolve()
    check_target(target)
    name, _, settings = chosen(work_dir, model)
    export_settings(settings["export"], changes)
    store = Store(work_dir)
    _check_server()
    typer.echo(f"work directory {store.work_dir}; starting Prefect ...", err=True)
    _listen()
    export = _call(export_again, {"work_dir": work_dir, "model": model, "changes": changes})
    deliver(
        store, export, target, {"model": name, "base_model": settings["base_model"], "work_dir": store.work_dir.name}
    )
    for part in ("adapter", "merged", "gguf", "gguf-adapter"):
        if (target / part).is_dir():
            typer.echo(f"{part:<14}{_short(target / part)}")


def _prepare(config: RunConfig, goal: str) -> None:
    """Check the sources before a server starts, and print what the flow will log."""
    _be_quiet()
    from flows.pipeline.dry_run import preflight

    store = preflight(config, goal)
    _check_server()
    typer.echo(f"work directory {store.work_dir}; starting Prefect ...", err=True)
    _listen()


def _listen() -> None:
    """Print what stages log."""
    from flows import raft  # noqa: F401  imports Prefect, which sets up the logging that is changed here

    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_no_failure)
    lines = _StageLines()
    for name in ("prefect.task_runs", "prefect.flow_runs", "data", "jora_model"):
        logging.getLogger(name).addHandler(lines)
    logging.getLogger("data").propagate = False
    logging.getLogger("faiss").setLevel(logging.WARNING)


def _be_quiet() -> None:
    for name, value in _PREFECT.items():
        os.environ.setdefault(name, value)


def _call(flow: Any, arguments: dict[str, Any]) -> Any:
    from prefect.exceptions import CancelledRun

    try:
        return flow(**arguments)
    except CancelledRun as error:
        raise UserError(str(error)) from None
    except RuntimeError as error:
        if "ephemeral Prefect API server" not in str(error):
            raise
        raise UserError(
            f"Prefect's temporary server did not start within {os.environ[_START_SECONDS]} s: run the command again "
            "when the machine is less busy; or start a server (prefect server start) and set PREFECT_API_URL"
        ) from None


def _check_server() -> None:
    """Raises UserError if PREFECT_API_URL names a server that does not respond; Prefect would end in a traceback."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    if (url := PREFECT_API_URL.value()) and get_client(sync_client=True).api_healthcheck():
        raise UserError(
            f"no Prefect server answers at {url}; start it with: prefect server start; or run without one: unset "
            "PREFECT_API_URL, in the environment or with: prefect config unset PREFECT_API_URL"
        )


def _show(results: Any, goal: str) -> None:
    if not results.artifacts:  # otherwise the note says that nothing was done
        cached = sum(outcome.cached for outcome in results.outcomes)
        built = len(results.outcomes) - cached
        typer.echo(f"\n{len(results.outcomes)} stages: {cached} cached, {built} built\n", err=True)
    if goal == "dataset":
        _show_filters(results.paths["questions"])
    if "retrieval" in results.paths:
        typer.echo((results.paths["retrieval"] / "retrieval.txt").read_text(encoding="utf-8"))
    if "diff" in results.paths:
        typer.echo((results.paths["diff"] / "diff.txt").read_text(encoding="utf-8"))
    if "evaluation" in results.paths:
        typer.echo((results.paths["evaluation"] / "summary.txt").read_text(encoding="utf-8"))
    if "verdicts" in results.paths:
        typer.echo((results.paths["verdicts"] / "judge.txt").read_text(encoding="utf-8"))
    if results.note:
        typer.echo(f"{results.note}\n")
    for name, path in results.paths.items():
        typer.echo(f"{name:<14}{_short(path)}")
    if goal == "everything":
        typer.echo(f'\nask it: jora ask --work-dir {_short(results.work_dir)} "your question"')
    sys.stdout.flush()


def _show_filters(questions: Path) -> None:
    """Print how many questions each filter kept, why the others were rejected, and what proves the answers."""
    from data.files.jsonl import read_jsonl
    from data.questions.questions import Rejected, count_reasons

    rows = json.loads((questions / "filters.json").read_text(encoding="utf-8"))
    typer.echo(f"{'questions':<18}{'kept':>8}{'rejected':>10}")
    for row in rows:
        typer.echo(f"{row['filter']:<18}{row['kept']:>8,}{row['rejected']:>10,}")
    for reason, count in count_reasons(read_jsonl(questions / "rejected.jsonl", Rejected)).items():
        typer.echo(f"{count:>8,} {reason}")
    evidence = json.loads((questions / "evidence.json").read_text(encoding="utf-8"))
    typer.echo("evidence: " + ", ".join(f"{count:,} {kind}" for kind, count in evidence.items() if count))
    if (questions / "split.json").is_file():
        typer.echo(json.loads((questions / "split.json").read_text(encoding="utf-8"))["note"])
    typer.echo("")


def _short(path: Path) -> str:
    """The path relative to the current folder if it is below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
