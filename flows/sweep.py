"""The flow of a sweep: one run per value up to the evaluation, then their comparison.

Each value is a nested flow run. Runs share only the cache: stages that two values have in common are built once, a
killed sweep continues where it stopped, and a value that has run costs nothing.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.logging import get_run_logger
from prefect.states import Cancelled

from flows.pages import show_sweep_in_prefect
from flows.pipeline.stages import Pipeline
from flows.pipeline.turns import Busy, turn
from flows.run import subject
from flows.settings.config import RunConfig, check_config
from flows.settings.sweep_values import check_values, find_sweep, read_values, with_value
from tasks.records.records import recorded
from tasks.records.runs import publish_sweep
from tasks.stages.sweeps import compare_runs
from tasks.store.artifacts import Artifact, Outcome
from tasks.store.store import Store
from user_error import UserError

_DEFAULTS = RunConfig()
# Artifacts that determine the prompts; no value of a sweep may change them.
_SHARED = ("questions", "chunks", "index", "embedder", "base")
# The recorder of the values' stages; not a parameter of the flow, which Prefect would show and store.
_note_stage: ContextVar[Callable[[Outcome], None] | None] = ContextVar("note_stage", default=None)


@dataclass(frozen=True)
class ValueRun:
    """The run of one value: outcomes of its stages and artifacts by name."""

    value: str
    outcomes: tuple[Outcome, ...]
    artifacts: dict[str, Artifact]


@dataclass(frozen=True)
class SweepResults:
    """The runs of a sweep, and the folder of sweep.md, sweep.csv and sweep.png."""

    runs: tuple[ValueRun, ...]
    folder: Path


@flow(name="sweep-value", flow_run_name="{over}={value}")
def run_value(over: str, value: str, config: RunConfig) -> ValueRun:
    """Run one value: dataset, training, evaluation ladder."""
    store = config.store()
    if (note := _note_stage.get()) is not None:
        store.listeners.append(note)
    pipeline = Pipeline(store, with_value(config, over, value))
    pipeline.until("evaluation")
    return ValueRun(value, tuple(store.outcomes), pipeline.artifacts)


@flow(name="raft-sweep", flow_run_name="raft-sweep {over}", validate_parameters=False)
def raft_sweep(
    over: str, values: tuple[str, ...] | None = None, config: RunConfig = _DEFAULTS
) -> "SweepResults | State[Any]":
    """Measure quality against cost over the values of one setting; values run one after the other.

    Args:
        over: Setting to vary: rank, targets, oracle-fraction or distractors.
        values: Its values, for example 4, 16 and 64; if omitted, the defaults.
        config: All other settings, as of a run.
    """
    # Validated here and not by Prefect, so that the error is the same line as on the command line.
    config = check_config(dict(config))
    values = read_values(over, find_sweep(over).default if values is None else ",".join(values))
    check_values(config, over, values)
    store = config.store()
    settings = config.model_dump(mode="json")
    with recorded(store, "raft-sweep", over, f"sweep {over} {subject(config)}", settings) as recording:
        try:
            with turn(store, "evaluation", config.when_busy, get_run_logger()):
                _note_stage.set(recording.note_stage)
                results = _sweep(store, over, values, config)
        except Busy as busy:
            recording.end("cancelled", {}, str(busy))
            return Cancelled(message=str(busy))
        recording.end("completed", _by_value(results), ", ".join(values))
        return results


def _by_value(results: SweepResults) -> dict[str, Artifact]:
    """Every artifact of a sweep by name; one that differs from the first value's has its value in the name."""
    by_name: dict[str, Artifact] = {}
    for run in results.runs:
        for name, artifact in run.artifacts.items():
            if by_name.get(name, artifact) == artifact:
                by_name[name] = artifact
            else:
                by_name[f"{name} {run.value}"] = artifact
    return by_name


def _sweep(store: Store, over: str, values: tuple[str, ...], config: RunConfig) -> SweepResults:
    runs: list[ValueRun] = []
    for number, value in enumerate(values, 1):
        get_run_logger().info("%s=%s (%d of %d)", over, value, number, len(values))
        try:
            runs.append(run_value(over, value, config))
        except UserError as error:
            raise UserError(f"{over}={value}: {error}") from error
        for name in _SHARED:
            if runs[-1].artifacts[name] != runs[0].artifacts[name]:
                raise UserError(
                    f"{over}={value}: not the same {name} as for {over}={values[0]}, so the two cannot be compared; "
                    "the sources changed during the sweep: run the same command again"
                )
    compared = compare_runs(
        store,
        over,
        values,
        *(tuple(run.artifacts[name] for run in runs) for name in ("dataset", "adapter", "evaluation")),
    )
    folder = publish_sweep(store, over, compared)
    show_sweep_in_prefect(over, folder)
    return SweepResults(tuple(runs), folder)
