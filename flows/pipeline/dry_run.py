"""Check a run or a sweep before it starts: files, settings, model facts, budgets; and list what is cached.

Of weights, the headers are read. The sources are read, and their small snapshots written to the work directory.
"""

from dataclasses import dataclass
from typing import Any

import typer

from flows.pipeline.stages import Pipeline
from flows.settings.checks import describe
from flows.settings.config import RunConfig
from flows.settings.sweep_values import with_value
from tasks.engine.cache import Stage
from tasks.store.artifacts import Artifact, Outcome
from tasks.store.report import describe_counts
from tasks.store.store import Store

_NOTHING = "nothing was built; to run it leave out --dry-run"


@dataclass(frozen=True)
class Pending:
    """Placeholder for the result of a stage that would run; equal for the same stage and arguments."""

    stage: str
    args: tuple[Any, ...]


def look(config: RunConfig, goal: str) -> None:
    """Print for each stage whether it is cached or would run.

    Raises:
        UserError: the first error that would stop the run.
    """
    pipeline, stages = _walk(config, goal)
    typer.echo(describe(config, pipeline.model))
    for note in filter(None, (pipeline.rounding, *pipeline.model.notes)):
        typer.echo(f"note: {note}")
    width = max(len(stage.name) for stage, _ in stages)
    for stage, result in stages:
        if isinstance(result, Pending):
            what = "would run"
        else:
            what = f"{'cached' if stage.cache else 'read'}{describe_counts(result)}"
        typer.echo(f"{stage.name:<{width}}  {what}")
    typer.echo(_NOTHING)


def look_at_sweep(config: RunConfig, over: str, values: tuple[str, ...]) -> None:
    """Print the stages that each value of a sweep would run and no earlier value has.

    Raises:
        UserError: the first error that would stop the sweep.
    """
    seen: set[Pending] = set()
    for value in values:
        pipeline, stages = _walk(with_value(config, over, value), "evaluation")
        fresh = [result for _, result in stages if isinstance(result, Pending) and result not in seen]
        seen.update(fresh)
        names = f": {', '.join(pending.stage for pending in fresh)}" if fresh else ""
        typer.echo(f"{over}={value}: {describe(pipeline.config, pipeline.model)}")
        typer.echo(f"  would run {len(fresh)} of {len(stages)} stages{names}")
    typer.echo(_NOTHING)


class Missing(Exception):
    """A stage has no cached result."""


def all_cached(config: RunConfig, goal: str) -> tuple[dict[str, Artifact], tuple[Outcome, ...]] | None:
    """Artifacts and outcomes of all stages up to a goal if all are cached; else None.

    Raises:
        UserError: the first error that would stop the run.
    """
    outcomes: list[Outcome] = []

    def call(stage: Stage[Any], store: Store, *args: Any) -> Artifact:
        artifact = stage.peek(store, *args) if stage.cache else stage.fn(store, *args)
        if artifact is None:
            raise Missing
        outcomes.append(Outcome(stage.name, artifact, cached=True, seconds=0.0))
        return artifact

    pipeline = Pipeline(config.store(), config, call)
    try:
        pipeline.until(goal)
    except Missing:
        return None
    return pipeline.artifacts, tuple(outcomes)


def _walk(config: RunConfig, goal: str) -> tuple[Pipeline, list[tuple[Stage[Any], Artifact | Pending]]]:
    """Go through the pipeline up to a goal without building: each stage with its artifact or placeholder."""
    stages: list[tuple[Stage[Any], Artifact | Pending]] = []

    def call(stage: Stage[Any], store: Store, *args: Any) -> Artifact | Pending:
        artifact: Artifact | None = None
        if not stage.cache:
            artifact = stage.fn(store, *args)
        elif not any(map(_pending, args)):
            artifact = stage.peek(store, *args)
        stages.append((stage, artifact or Pending(stage.name, args)))
        return stages[-1][1]

    pipeline = Pipeline(config.store(), config, call)
    pipeline.until(goal)
    return pipeline, stages


def preflight(config: RunConfig, goal: str = "everything") -> Store:
    """Check the sources before a server is started, so that bad input is reported at once.

    Raises:
        UserError: the first error that would stop the run before its first stage.
    """
    store = config.store()

    def call(stage: Stage[Any], store: Store, *args: Any) -> Any:
        return Pending(stage.name, args) if stage.cache else stage.fn(store, *args)

    pipeline = Pipeline(store, config, call)
    pipeline.exports = goal in ("export", "everything")
    pipeline.evaluates = goal in ("evaluation", "everything")
    pipeline.sources(trains=goal != "dataset")
    return store


def _pending(value: Any) -> bool:
    return isinstance(value, Pending) or (isinstance(value, tuple) and any(map(_pending, value)))
