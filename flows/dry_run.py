"""Check a run before it costs anything: files, settings, model facts, budgets; and say which stages are cached.

No weights are read. The sources are really looked at (and their small snapshots written to the work directory).
"""

from dataclasses import dataclass
from typing import Any

import typer

from flows.checks import describe
from flows.config import RunConfig
from flows.pipeline import Pipeline
from tasks.cache import Stage
from tasks.report import describe_counts
from tasks.store import Store


@dataclass(frozen=True)
class Pending:
    """Stands for the result of a stage that would run."""

    stage: str


def look(config: RunConfig, goal: str) -> None:
    """Print what each stage would do.

    Raises:
        ValueError: the first thing that would stop the run.
    """
    lines: list[tuple[str, str]] = []

    def call(stage: Stage[Any], store: Store, *args: Any) -> Any:
        found: Any = None
        if not stage.cache:
            found = stage.fn(store, *args)
            what = f"read{describe_counts(found)}"
        elif any(map(_pending, args)) or (found := stage.peek(store, *args)) is None:
            what = "would run"
        else:
            what = f"cached{describe_counts(found)}"
        lines.append((stage.name, what))
        return found or Pending(stage.name)

    pipeline = Pipeline(Store(config.work_dir), config, call)
    pipeline.until(goal)
    typer.echo(describe(config, pipeline.model))
    width = max(len(name) for name, _ in lines)
    for name, what in lines:
        typer.echo(f"{name:<{width}}  {what}")
    typer.echo("nothing was built; leave --dry-run out to run it")


def preflight(config: RunConfig) -> Store:
    """Look at the sources before a server is started, so that bad input is told at once.

    Raises:
        ValueError: the first thing that would stop the run before its first stage.
    """
    store = Store(config.work_dir)

    def call(stage: Stage[Any], store: Store, *args: Any) -> Any:
        return Pending(stage.name) if stage.cache else stage.fn(store, *args)

    Pipeline(store, config, call).sources()
    return store


def _pending(value: Any) -> bool:
    return isinstance(value, Pending) or (isinstance(value, tuple) and any(map(_pending, value)))
