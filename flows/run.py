"""What a run does around its stages: it takes its turn, is recorded, decides about its model, and shows its results.

A run that would give what the last one gave ends at once, as "nothing to do".
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import State, runtime
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_TASKS_REFRESH_CACHE
from prefect.states import Cancelled, Completed

from flows.pages import show_in_prefect
from flows.pipeline.dry_run import all_cached
from flows.pipeline.promotion import promote
from flows.pipeline.stages import Pipeline
from flows.pipeline.turns import Busy, turn
from flows.report import leave_report, report_run
from flows.settings.config import RunConfig, check_config
from tasks.records.models import Registry
from tasks.records.records import Recording, installed_packages, recorded
from tasks.records.runs import Results, is_published, latest_paths, publish_latest, read_latest
from tasks.stages.diff import compare, last_dataset
from tasks.store.artifacts import Artifact, BrokenArtifact, Outcome
from tasks.store.retries import kind_of
from tasks.store.store import Store
from user_error import UserError

# A run that the automation of crashes (deploy/automations.yaml) starts again and again will not heal.
STARTS = 10
NOTHING_TO_DO = "NothingToDo"
# Of a run, not of its stages: what it says about the run before it.
_ABOUT_BEFORE = ("diff", "comparison")


def run(goal: str, **parameters: Any) -> "Results | State[Any]":
    """Go as far as a goal, as the flow around this call; `parameters` are those of `RunConfig`."""
    if (runtime.flow_run.run_count or 0) > STARTS:
        raise RuntimeError(
            f"this run was started {STARTS} times and never came to its end; its log says why. What is built is kept: "
            "a new run goes on from there"
        )
    # Here rather than by Prefect: a fault is the line that the command line gives.
    config = check_config(parameters)
    store = config.store()
    log = get_run_logger()
    settings = config.model_dump(mode="json")
    with recorded(store, runtime.flow_run.flow_name or "run", goal, subject(config), settings) as recording:
        if (nothing := nothing_to_do(config, goal)) is not None:
            log.info("%s", nothing.note)
            _rename(nothing.artifacts["dataset"], log)
            recording.end_with_nothing(nothing.outcomes, nothing.artifacts, nothing.note)
            leave_report(store, recording.record, log)
            return Completed(name=NOTHING_TO_DO, message=nothing.note, data=nothing)
        try:
            with turn(store, goal, config.when_busy, log):
                return _run(store, config, goal, recording)
        except Busy as busy:
            recording.end("cancelled", {}, str(busy))
            return Cancelled(message=str(busy))


def _run(store: Store, config: RunConfig, goal: str, recording: Recording) -> Results:
    log = get_run_logger()

    def rename(outcome: Outcome) -> None:
        if outcome.artifact.kind == "dataset":
            _rename(outcome.artifact, log)

    store.listeners.append(rename)
    try:
        pipeline = _through(store, config, goal)
    except BrokenArtifact as error:
        # Something was removed or damaged while the run was on; its stage builds it again.
        log.warning("%s; going through the stages once more", str(error).split(";")[0])
        pipeline = _through(store, config, goal)
    if (last := last_dataset(store, pipeline.artifacts)) is not None:
        made = pipeline.artifacts
        made["diff"] = compare(store, *last, made["documents"], made["dataset"])
    note = ""
    if "export" in pipeline.artifacts:
        note = promote(pipeline)
        log.info("%s", note)
    results = replace(publish_latest(store, pipeline.artifacts, recording.record.settings), note=note)
    recording.end("completed", pipeline.artifacts, note)
    # What is left tells of a run that has ended well; where it fails, that stays so.
    recording.write(packages=installed_packages())
    with _or_warn(log, "Prefect shows no page of this run"):
        show_in_prefect(store, results, pipeline.artifacts)
    report_run(store, recording.record, results, log)
    if store.remote is not None:
        store.remote.share_file(recording.folder / "run.json", f"runs/{recording.record.name}/run.json")
    return results


@contextmanager
def _or_warn(log: Any, otherwise: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        log.warning("%s: %s: %s", otherwise, type(error).__name__, " ".join(str(error).split()))


def _through(store: Store, config: RunConfig, goal: str) -> Pipeline:
    pipeline = Pipeline(store, config)
    pipeline.until(goal)
    return pipeline


def nothing_to_do(config: RunConfig, goal: str) -> Results | None:
    """The results of the last run, where this one would give the same: settings, sources and code are as they were.

    Raises:
        UserError: what would stop the run.
    """
    work_dir = Path(config.work_dir).expanduser()
    try:
        last, settings = read_latest(work_dir)
    except UserError:
        return None
    if settings != config.model_dump(mode="json") or PREFECT_TASKS_REFRESH_CACHE.value():
        return None
    try:
        found = all_cached(config, goal)
    except Exception as error:
        if kind_of(error) is None:
            raise
        return None  # what another attempt may heal is for the stages, which make it
    if found is None:
        return None
    artifacts, outcomes = found
    if {name: artifact for name, artifact in last.items() if name not in _ABOUT_BEFORE} != artifacts:
        return None
    if "export" in artifacts and not Registry(config.work_dir).is_settled(artifacts["adapter"]):
        return None
    store = config.store()
    if not is_published(store, last):
        return None
    note = f"nothing to do: all {len(outcomes)} stages are as the last run left them"
    return Results(store.work_dir, outcomes, latest_paths(store, artifacts), note, artifacts)


def record_nothing(config: RunConfig, goal: str, nothing: Results) -> None:
    """Keep a record of a run that had nothing to do and for which no flow was started."""
    store = config.store()
    with recorded(store, "jora", goal, subject(config), config.model_dump(mode="json")) as recording:
        recording.end_with_nothing(nothing.outcomes, nothing.artifacts, nothing.note)
        leave_report(store, recording.record)


def subject(config: RunConfig) -> str:
    """Corpus and model in two words."""
    return f"{Path(config.corpus).name or config.corpus} {Path(config.base_model).name or config.base_model}"


def run_name() -> str:
    """What Prefect calls a run until its dataset is known."""
    given = runtime.flow_run.parameters
    names = (str(given[key]).rstrip("/").rsplit("/", 1)[-1] for key in ("corpus", "base_model") if key in given)
    return " ".join((runtime.flow_run.flow_name or "run", *names))


def _rename(dataset: Artifact, log: Any) -> None:
    """Add the dataset's digest to the name of the flow run."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    name = f"{context.flow_run.name} {dataset.digest[:8]}"
    if context.flow_run.name.endswith(name[-9:]):
        return
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(context.flow_run.id, name=name)
        context.flow_run.name = name
    except Exception as error:  # a name is not worth a run
        log.log(logging.DEBUG, "the run keeps its name: %s", error)
