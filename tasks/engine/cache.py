"""The `stage` decorator: a function (store, artifacts, settings) -> Artifact as a cached, verified Prefect task.

    @stage(name="chunk-documents", version=1, retries=2)
    def chunk_documents(store: Store, documents: Artifact, settings: ChunkSettings) -> Artifact:
        with store.build("chunks", settings=settings, inputs=(documents,)) as build:
            ...
        return build.artifact

Called in a flow it runs as a task, unless the work directory has a valid artifact for the same stage, code and inputs.
Prefect's records are in WORK_DIR/results and no path in them is used, so a moved work directory still hits, and two do
not share. One process at a time builds a key. Prefect's traps: if computing the key raises, Prefect logs that and runs
the task uncached, so the body computes the key again and fails; a `retry_condition_fn` that is not a plain function (a
partial, a method object) silently means "never".
"""

import inspect
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import Any, Generic, ParamSpec, cast

from prefect import Task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.futures import PrefectFuture
from prefect.settings import PREFECT_TASKS_REFRESH_CACHE
from prefect.tasks import MaterializingTask
from prefect.transactions import IsolationLevel

from tasks.engine.assets import asset_of, describe_asset
from tasks.engine.code import stage_code
from tasks.engine.disk import check_space
from tasks.engine.keys import stage_key
from tasks.engine.logs import run_log
from tasks.engine.memory import peak_memory
from tasks.engine.stage_records import artifact_of_record, read_record
from tasks.store.artifacts import Artifact, BrokenArtifact, Outcome
from tasks.store.locks import FlockLocks
from tasks.store.report import describe_built, describe_counts
from tasks.store.retries import DiskFull, is_full, kind_of
from tasks.store.store import Store

P = ParamSpec("P")

FIRST_DELAY_SECONDS = 2.0
JITTER = 0.3  # fraction of a delay, so that tasks that failed together do not retry together


@dataclass
class StagePolicy(CachePolicy):
    """Prefect's cache policy for a stage."""

    stage: "Stage[Any] | None" = None

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str:
        """The stage's key for these arguments (TypeError if one has no canonical form)."""
        assert self.stage is not None
        return self.stage.key_of(inputs)


class StageLocks(FlockLocks):
    """The locks of one stage. A record is verified under its lock, while no other process writes it."""

    def __init__(self, stage: "Stage[Any]", store: Store) -> None:
        super().__init__(store.locks)
        self.stage = stage
        self.store = store

    def on_wait(self, key: str) -> None:
        """Log why the stage waits."""
        run_log().info("%s: another run is building it; waiting", self.stage.name)

    def on_acquired(self, key: str) -> None:
        """Keep the record, which Prefect reads next, if its artifact is valid; otherwise empty it (a miss)."""
        context = TaskRunContext.get()
        refresh = context.task.refresh_cache if context else None
        if PREFECT_TASKS_REFRESH_CACHE.value() if refresh is None else refresh:
            return
        artifact = self._valid(key)
        remote = self.store.remote
        if artifact is None and remote is not None and remote.fetch(self.store, key, artifact_of_record):
            artifact = self._valid(key)
        if artifact is None:
            return
        self.store.note(Outcome(self.stage.name, artifact, cached=True, seconds=0.0))
        run_log().info("%s: cached%s", self.stage.name, describe_counts(artifact))

    def on_release(self, key: str) -> None:
        """Once the result is recorded, remove the scratch folder and upload the result."""
        if (artifact := read_record(self.store.results / key)) is not None:
            shutil.rmtree(self.store.scratch / key, ignore_errors=True)
            if self.store.remote is not None:
                self.store.remote.share(self.store, key, artifact)

    def _valid(self, key: str) -> Artifact | None:
        """The recorded artifact; if it is not valid, None, and the record is emptied."""
        record = self.store.results / key
        if not record.exists():
            return None
        artifact = read_record(record)
        try:
            if artifact is not None:
                self.store.verify(artifact)
                return artifact
        except BrokenArtifact as error:
            run_log().warning("%s: %s", self.stage.name, str(error).split(";")[0] + "; building it again")
        record.write_bytes(b"")
        return None


class Stage(Generic[P]):
    """A step of the pipeline. Call it in a flow like the decorated function, which is `fn`."""

    def __init__(
        self,
        fn: Callable[P, Artifact],
        *,
        name: str,
        version: int,
        modules: Sequence[str],
        code: bool,
        cache: bool,
        retries: int,
        prepare: Callable[..., None] | None,
        space: Callable[..., int] | None,
    ) -> None:
        self.fn = fn
        self.name = name
        self.version = version
        self.modules = tuple(modules)
        self.code = code
        self.cache = cache
        self.retries = retries
        self.prepare = prepare
        self.space = space
        self._signature = inspect.signature(fn)
        update_wrapper(self, fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Artifact:
        """Run as a task of the current flow in this thread; raises the stage's own exception."""
        if self.prepare is not None and self.peek(*args, **kwargs) is None:
            self.prepare(*args, **kwargs)
        result: Artifact = self.task(self._store(args, kwargs))(*args, **kwargs)
        return result

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> PrefectFuture[Artifact]:
        """Run as a task in the flow's task runner; arguments may be futures of other stages."""
        return self.task(self._store(args, kwargs)).submit(*args, **kwargs)

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The cache key for these arguments.

        Raises:
            TypeError: an argument has no canonical form.
        """
        return self.key_of(self._bind(args, kwargs))

    def key_of(self, arguments: Mapping[str, Any]) -> str:
        """The cache key for arguments by name, defaults included; a Store is no input."""
        inputs = {name: value for name, value in arguments.items() if not isinstance(value, Store)}
        code = stage_code(self.fn, self.modules)
        return stage_key(self.name, self.version, code.digest if self.code else None, inputs, code.libraries)

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Artifact | None:
        """The valid cached artifact for these arguments; None if a call would build."""
        if not self.cache:
            return None
        store = self._store(args, kwargs)
        artifact = read_record(store.results / self.key(*args, **kwargs))
        if artifact is not None:
            try:
                store.verify(artifact)
            except BrokenArtifact:
                return None
        return artifact

    def scratch(self, *args: P.args, **kwargs: P.kwargs) -> Path:
        """A folder that survives failed and killed attempts with these arguments (for checkpoints), created if needed.

        Only the attempt that holds the key's lock uses it; it is removed once the result is recorded.
        """
        folder = self._store(args, kwargs).scratch / self.key(*args, **kwargs)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def task(self, store: Store) -> Task[P, Artifact]:
        """The Prefect task with records and locks in this store."""
        options: dict[str, Any] = {"persist_result": False, "cache_policy": NO_CACHE}
        if self.cache:
            options = {
                "persist_result": True,
                "result_storage": store.results,
                "result_serializer": "json",
                "cache_result_in_memory": False,  # otherwise an emptied record would still hit
                "cache_policy": StagePolicy(
                    isolation_level=IsolationLevel.SERIALIZABLE,
                    lock_manager=StageLocks(self, store),
                    stage=self,
                ),
            }
        options |= {
            "name": self.name,
            "task_run_name": cast(Any, self._run_name),  # a bound method is allowed too
            "retries": self.retries,
            "retry_delay_seconds": [_delay(attempt) for attempt in range(self.retries)] or None,
            "retry_jitter_factor": JITTER if self.retries else None,
            "retry_condition_fn": self._retry_condition(),
        }
        if (asset := asset_of(store, self.name)) is None:
            return Task(fn=self._body(), **options)
        return MaterializingTask(fn=self._body(), assets=[asset[0]], asset_deps=asset[1], **options)

    def _body(self) -> Callable[P, Artifact]:
        def body(*args: P.args, **kwargs: P.kwargs) -> Artifact:
            start = time.monotonic()
            if self.cache:
                self.key(*args, **kwargs)  # raises; Prefect would run without a key and cache nothing
            store = self._store(args, kwargs)
            for value in self._bind(args, kwargs).values():
                for item in value if isinstance(value, tuple) else (value,):
                    if isinstance(item, Artifact):
                        store.verify(item)
            if self.space is not None:
                check_space(store, self.name, self.space(*args, **kwargs))
            try:
                with peak_memory() as peak:
                    artifact = self.fn(*args, **kwargs)
            except Exception as error:
                if is_full(error):
                    raise DiskFull(self.name, store.work_dir) from error
                raise
            assert isinstance(artifact, Artifact), f"the stage {self.name} returned {type(artifact).__name__}"
            seconds = time.monotonic() - start
            context = TaskRunContext.get()
            attempts = max(1, context.task_run.run_count if context else 1)
            store.note(Outcome(self.name, artifact, False, seconds, peak.bytes, attempts))
            describe_asset(store, self.name, artifact)
            run_log().info("%s: built%s", self.name, describe_built(artifact, seconds))
            return artifact

        update_wrapper(body, self.fn)
        return body

    def _run_name(self, parameters: dict[str, Any]) -> str:
        if not self.cache:
            return self.name
        try:
            key = self.key_of(parameters)
        except TypeError:
            return self.name  # the body raises the same error, which fails the task
        return f"{self.name} {key.rsplit('-', 1)[1][:6]}"

    def _retry_condition(self) -> Callable[[Any, TaskRun, State], bool]:
        def is_transient(task: Any, run: TaskRun, state: State) -> bool:
            kind = kind_of(state.data) if isinstance(state.data, BaseException) else None
            attempt = run.run_count or 1
            if kind is not None and attempt <= self.retries:
                run_log().warning(
                    "%s: %s: %s; trying again in about %.0f s (attempt %d of %d)",
                    self.name,
                    kind,
                    " ".join(str(state.data).split())[:300],
                    _delay(attempt - 1),
                    attempt + 1,
                    self.retries + 1,
                )
            return kind is not None

        return is_transient

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def _store(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Store:
        stores = [value for value in self._bind(args, kwargs).values() if isinstance(value, Store)]
        assert len(stores) == 1, f"the stage {self.name} takes one Store"
        return stores[0]


def stage(
    *,
    name: str,
    version: int,
    modules: Sequence[str] = (),
    code_digest: bool = True,
    cache: bool = True,
    retries: int = 0,
    prepare: Callable[..., None] | None = None,
    space: Callable[..., int] | None = None,
) -> Callable[[Callable[P, Artifact]], Stage[P]]:
    """Make a Stage of a function that takes one Store, artifacts and settings, and returns an Artifact.

    Args:
        name: in logs, Prefect's UI and the cache key.
        version: raise it to invalidate all earlier results.
        modules: modules that run in another process (a job's module), whose code belongs to the key as well. Code that
            the function itself uses is detected (tasks/engine/code.py).
        code_digest: False leaves the code out of the key, so that `version` alone represents it (training, where an
            unrelated edit would cost hours). Versions of imported libraries still count.
        cache: False for a stage that must read its sources each time (a snapshot of a folder); it may take paths.
        retries: further attempts after a transient failure (tasks/store/retries.py), after about 2, 8, 32, ... seconds.
        prepare: called in the flow, with the stage's arguments, before a stage that would build. It may map tasks,
            which a task may not (a serializable transaction would wait without end); the stage does what it leaves.
        space: called with the stage's arguments; returns an estimate of the bytes written, checked before the start.
    """

    def decorate(fn: Callable[P, Artifact]) -> Stage[P]:
        return Stage(
            fn,
            name=name,
            version=version,
            modules=modules,
            code=code_digest,
            cache=cache,
            retries=retries,
            prepare=prepare,
            space=space,
        )

    return decorate


def _delay(attempt: int) -> float:
    return FIRST_DELAY_SECONDS * 4.0**attempt
