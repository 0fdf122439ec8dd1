"""What a run does around its stages: wait for its turn, keep a record, decide about the champion, publish results.

A run whose results equal the last one's ends at once, as "nothing to do".
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

# Limit of the automation that restarts crashed runs (deploy/automations.yaml): such a run does not recover.
STARTS = 10
NOTHING_TO_DO = "NothingToDo"
# Artifacts that compare a run with the one before it, which therefore differ between equal runs.
_COMPARISONS = ("diff", "comparison")


def run(goal: str, **parameters: Any) -> "Results | State[Any]":
    """Run the pipeline up to a goal within the current flow; `parameters` are fields of `RunConfig`."""
    if (runtime.flow_run.run_count or 0) > STARTS:
        raise RuntimeError(
            f"this run was started {STARTS} times and never finished; its log says why. Results so far are kept: "
            "a new run continues from them"
        )
    # Validated here and not by Prefect, so that the error is the same line as on the command line.
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
        # An artifact was deleted or damaged during the run; its stage builds it again.
        log.warning("%s; running the stages once more", str(error).split(";")[0])
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
    # The run has succeeded; the rest only describes it, and must not fail it.
    recording.write(packages=installed_packages())
    with _or_warn(log, "this run has no pages in Prefect"):
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
    """The last run's results if this run would repeat them (same settings, sources and code); else None.

    Raises:
        UserError: an input error that would stop the run.
    """
    work_dir = Path(config.work_dir).expanduser()
    try:
        last, settings = read_latest(work_dir)
    except UserError:
        return None
    if settings != config.model_dump(mode="json") or PREFECT_TASKS_REFRESH_CACHE.value():
        return None
    try:
        cached = all_cached(config, goal)
    except Exception as error:
        if kind_of(error) is None:
            raise
        return None  # a transient error: the stages retry it
    if cached is None:
        return None
    artifacts, outcomes = cached
    if {name: artifact for name, artifact in last.items() if name not in _COMPARISONS} != artifacts:
        return None
    if "export" in artifacts and not Registry(config.work_dir).is_settled(artifacts["adapter"]):
        return None
    store = config.store()
    if not is_published(store, last):
        return None
    note = f"nothing to do: all {len(outcomes)} stages are as the last run left them"
    return Results(store.work_dir, outcomes, latest_paths(store, artifacts), note, artifacts)


def record_nothing(config: RunConfig, goal: str, nothing: Results) -> None:
    """Keep the record of a run that had nothing to do and started no flow."""
    store = config.store()
    with recorded(store, "jora", goal, subject(config), config.model_dump(mode="json")) as recording:
        recording.end_with_nothing(nothing.outcomes, nothing.artifacts, nothing.note)
        leave_report(store, recording.record)


def subject(config: RunConfig) -> str:
    """Names of corpus and model, for the name of a run."""
    return f"{Path(config.corpus).name or config.corpus} {Path(config.base_model).name or config.base_model}"


def run_name() -> str:
    """The name of a flow run until its dataset is known."""
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
    except Exception as error:  # must not fail the run
        log.log(logging.DEBUG, "the run was not renamed: %s", error)
