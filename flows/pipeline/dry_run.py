"""Check a run or a sweep before it costs anything: files, settings, model facts, budgets; and say what is cached.

No weights are read. The sources are really looked at (and their small snapshots written to the work directory).
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

_NOTHING = "nothing was built; leave --dry-run out to run it"


@dataclass(frozen=True)
class Pending:
    """Stands for the result of a stage that would run; the same stage of the same things has the same result."""

    stage: str
    args: tuple[Any, ...]


def look(config: RunConfig, goal: str) -> None:
    """Print what each stage would do.

    Raises:
        UserError: the first thing that would stop the run.
    """
    pipeline, stages = _walk(config, goal)
    typer.echo(describe(config, pipeline.model))
    width = max(len(stage.name) for stage, _ in stages)
    for stage, result in stages:
        if isinstance(result, Pending):
            what = "would run"
        else:
            what = f"{'cached' if stage.cache else 'read'}{describe_counts(result)}"
        typer.echo(f"{stage.name:<{width}}  {what}")
    typer.echo(_NOTHING)


def look_at_sweep(config: RunConfig, over: str, values: tuple[str, ...]) -> None:
    """Print what each value of a sweep would run that the values before it have not run already.

    Raises:
        UserError: the first thing that would stop the sweep.
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
    """A stage has nothing cached."""


def all_cached(config: RunConfig, goal: str) -> tuple[dict[str, Artifact], tuple[Outcome, ...]] | None:
    """What every stage as far as a goal would give, by name and in order; None where one of them would build.

    Raises:
        UserError: what would stop the run.
    """
    outcomes: list[Outcome] = []

    def call(stage: Stage[Any], store: Store, *args: Any) -> Artifact:
        found = stage.peek(store, *args) if stage.cache else stage.fn(store, *args)
        if found is None:
            raise Missing
        outcomes.append(Outcome(stage.name, found, cached=True, seconds=0.0))
        return found

    pipeline = Pipeline(config.store(), config, call)
    try:
        pipeline.until(goal)
    except Missing:
        return None
    return pipeline.artifacts, tuple(outcomes)


def _walk(config: RunConfig, goal: str) -> tuple[Pipeline, list[tuple[Stage[Any], Artifact | Pending]]]:
    """Go the pipeline's way as far as a goal and build nothing: each stage, with what it gave or would give."""
    stages: list[tuple[Stage[Any], Artifact | Pending]] = []

    def call(stage: Stage[Any], store: Store, *args: Any) -> Artifact | Pending:
        found: Artifact | None = None
        if not stage.cache:
            found = stage.fn(store, *args)
        elif not any(map(_pending, args)):
            found = stage.peek(store, *args)
        stages.append((stage, found or Pending(stage.name, args)))
        return stages[-1][1]

    pipeline = Pipeline(config.store(), config, call)
    pipeline.until(goal)
    return pipeline, stages


def preflight(config: RunConfig, goal: str = "everything") -> Store:
    """Look at the sources before a server is started, so that bad input is told at once.

    Raises:
        UserError: the first thing that would stop the run before its first stage.
    """
    store = config.store()

    def call(stage: Stage[Any], store: Store, *args: Any) -> Any:
        return Pending(stage.name, args) if stage.cache else stage.fn(store, *args)

    Pipeline(store, config, call).sources(trains=goal != "dataset")
    return store


def _pending(value: Any) -> bool:
    return isinstance(value, Pending) or (isinstance(value, tuple) and any(map(_pending, value)))
