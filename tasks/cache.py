"""The `stage` decorator: a function (store, artifacts, settings) -> Artifact as a cached, verified Prefect task.

    @stage(name="chunk-documents", version=1, retries=2)
    def chunk_documents(store: Store, documents: Artifact, settings: ChunkSettings) -> Artifact:
        with store.build("chunks", settings=settings, inputs=(documents,)) as build:
            ...
        return build.artifact

Called in a flow it runs as a task unless the same stage, code and inputs have a result in the store's work directory
whose artifact is still sound. Prefect's records lie in WORK_DIR/results and hold no path that is used, so a moved work
directory still hits and two do not share. One process at a time builds a key. Traps, tried: an exception while Prefect
computes the key is logged and the task then runs uncached, so the body computes it again and fails; a
`retry_condition_fn` that is not a plain function (a partial, a method object) silently means "never".
"""

import inspect
import logging
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
from prefect.exceptions import MissingContextError
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.results import ResultRecord
from prefect.settings import PREFECT_TASKS_REFRESH_CACHE
from prefect.transactions import IsolationLevel

from tasks.code import code_digest
from tasks.keys import stage_key
from tasks.locks import FlockLocks
from tasks.memory import peak_memory
from tasks.report import describe_built, describe_counts
from tasks.store import Artifact, BrokenArtifact, Outcome, Store

P = ParamSpec("P")

# Errors that another attempt may heal, and those among them that only a person can.
RETRIED = (OSError,)
NEVER_RETRIED = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
FIRST_DELAY_SECONDS = 2.0


@dataclass
class StagePolicy(CachePolicy):
    """Prefect's hook for the key of a stage."""

    stage: "Stage[Any] | None" = None

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str:
        """The stage's key for these arguments (TypeError where they have none)."""
        assert self.stage is not None
        return self.stage.key_of(inputs)


class StageLocks(FlockLocks):
    """The locks of one stage. A record is checked under its lock, where nobody else is writing it."""

    def __init__(self, stage: "Stage[Any]", store: Store) -> None:
        super().__init__(store.locks)
        self.stage = stage
        self.store = store

    def on_wait(self, key: str) -> None:
        """Say why nothing happens."""
        _log().info("%s: another run is building the same; waiting for it", self.stage.name)

    def on_acquired(self, key: str) -> None:
        """Prefect looks for the record next: leave it where its artifact is sound, or empty it (a miss)."""
        context = TaskRunContext.get()
        refresh = context.task.refresh_cache if context else None
        if PREFECT_TASKS_REFRESH_CACHE.value() if refresh is None else refresh:
            return
        record = self.store.results / key
        if not record.exists():
            return
        artifact = _recorded(record)
        if artifact is None:
            record.write_bytes(b"")
            return
        try:
            self.store.verify(artifact)
        except BrokenArtifact as error:
            _log().warning("%s: %s", self.stage.name, str(error).split(";")[0] + "; building it again")
            record.write_bytes(b"")
            return
        self.store.note(Outcome(self.stage.name, artifact, cached=True, seconds=0.0))
        _log().info("%s: cached%s", self.stage.name, describe_counts(artifact))

    def on_release(self, key: str) -> None:
        """With the result on record, what was kept for another attempt has served."""
        if _recorded(self.store.results / key) is not None:
            shutil.rmtree(self.store.scratch / key, ignore_errors=True)


class Stage(Generic[P]):
    """A step of the pipeline. Call it in a flow like the function that it decorates; `fn` is that function."""

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
        retry_on: tuple[type[BaseException], ...],
        prepare: Callable[..., None] | None,
    ) -> None:
        self.fn = fn
        self.name = name
        self.version = version
        self.modules = tuple(modules)
        self.code = code
        self.cache = cache
        self.retries = retries
        self.retry_on = retry_on
        self.prepare = prepare
        self._signature = inspect.signature(fn)
        update_wrapper(self, fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Artifact:
        """Run as a task of the current flow, in this thread; a failure comes out as the exception itself."""
        if self.prepare is not None and self.peek(*args, **kwargs) is None:
            self.prepare(*args, **kwargs)
        result: Artifact = self.task(self._store(args, kwargs))(*args, **kwargs)
        return result

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> PrefectFuture[Artifact]:
        """Run as a task in the flow's task runner; an argument may be another stage's future."""
        return self.task(self._store(args, kwargs)).submit(*args, **kwargs)

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The cache key for these arguments.

        Raises:
            TypeError: an argument has no canonical form.
        """
        return self.key_of(self._bind(args, kwargs))

    def key_of(self, arguments: Mapping[str, Any]) -> str:
        """`key` for arguments by name, defaults included; a Store is no input."""
        inputs = {name: value for name, value in arguments.items() if not isinstance(value, Store)}
        code = code_digest(self.fn, self.modules) if self.code else None
        return stage_key(self.name, self.version, code, inputs)

    def peek(self, *args: P.args, **kwargs: P.kwargs) -> Artifact | None:
        """The artifact that a call with these arguments would find cached and sound; None where it would build."""
        if not self.cache:
            return None
        store = self._store(args, kwargs)
        artifact = _recorded(store.results / self.key(*args, **kwargs))
        if artifact is not None:
            try:
                store.verify(artifact)
            except BrokenArtifact:
                return None
        return artifact

    def scratch(self, *args: P.args, **kwargs: P.kwargs) -> Path:
        """A folder that outlives a failed or killed attempt with these arguments (checkpoints), made if need be.

        Only the attempt that holds the key's lock uses it; it is removed when the stage's result is on record.
        """
        folder = self._store(args, kwargs).scratch / self.key(*args, **kwargs)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def task(self, store: Store) -> Task[P, Artifact]:
        """The Prefect task that keeps its records and locks in this store."""
        options: dict[str, Any] = {"persist_result": False, "cache_policy": NO_CACHE}
        if self.cache:
            options = {
                "persist_result": True,
                "result_storage": store.results,
                "result_serializer": "json",
                "cache_result_in_memory": False,  # a record that was emptied must be gone
                "cache_policy": StagePolicy(
                    isolation_level=IsolationLevel.SERIALIZABLE,
                    lock_manager=StageLocks(self, store),
                    stage=self,
                ),
            }
        return Task(
            fn=self._body(),
            name=self.name,
            task_run_name=cast(Any, self._run_name),  # a bound method is a callback too
            retries=self.retries,
            retry_delay_seconds=[FIRST_DELAY_SECONDS * 4**attempt for attempt in range(self.retries)] or None,
            retry_condition_fn=self._retry_condition(),
            **options,
        )

    def _body(self) -> Callable[P, Artifact]:
        def body(*args: P.args, **kwargs: P.kwargs) -> Artifact:
            start = time.monotonic()
            if self.cache:
                self.key(*args, **kwargs)  # Prefect would run without a key, and keep nothing
            store = self._store(args, kwargs)
            for value in self._bind(args, kwargs).values():
                for item in value if isinstance(value, tuple) else (value,):
                    if isinstance(item, Artifact):
                        store.verify(item)
            with peak_memory() as peak:
                artifact = self.fn(*args, **kwargs)
            assert isinstance(artifact, Artifact), f"the stage {self.name} returned {type(artifact).__name__}"
            seconds = time.monotonic() - start
            store.note(Outcome(self.name, artifact, cached=False, seconds=seconds, peak_bytes=peak.bytes))
            _log().info("%s: built%s", self.name, describe_built(artifact, seconds))
            return artifact

        update_wrapper(body, self.fn)
        return body

    def _run_name(self, parameters: dict[str, Any]) -> str:
        if not self.cache:
            return self.name
        try:
            key = self.key_of(parameters)
        except TypeError:
            return self.name  # the body raises the same error, in the task's own state
        return f"{self.name} {key.rsplit('-', 1)[1][:6]}"

    def _retry_condition(self) -> Callable[[Any, TaskRun, State], bool]:
        def may_heal(task: Any, run: TaskRun, state: State) -> bool:
            return isinstance(state.data, self.retry_on) and not isinstance(state.data, NEVER_RETRIED)

        return may_heal

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
    retry_on: tuple[type[BaseException], ...] = RETRIED,
    prepare: Callable[..., None] | None = None,
) -> Callable[[Callable[P, Artifact]], Stage[P]]:
    """Make a stage of a function that takes one Store, artifacts and settings, and returns an Artifact.

    Args:
        name: what logs, Prefect's UI and the cache key call it.
        version: raise it to make every earlier result stale.
        modules: library modules that run elsewhere (a job's module), whose code belongs to the key as well. What the
            function itself uses is found from its names (tasks/code.py).
        code_digest: False leaves the code out, so that `version` alone stands for it (training, where an unrelated
            edit would cost hours).
        cache: False for a stage that must look at the world each time (a snapshot of a folder); it may take paths.
        retries: further attempts after an error of `retry_on`, with 2, 8, 32, ... seconds between them.
        retry_on: errors that another attempt may heal. Missing files and refused access never count.
        prepare: called in the flow, with the stage's arguments, before a stage that would build. It may map tasks,
            which a task may not (a serializable transaction waits for ever); what it leaves undone the stage does.
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
            retry_on=retry_on,
            prepare=prepare,
        )

    return decorate


def _recorded(record: Path) -> Artifact | None:
    """The artifact in one of Prefect's records; None where there is no record or nothing of the kind in it."""
    try:
        entry: ResultRecord[Any] = ResultRecord.deserialize(record.read_bytes())
    except Exception:  # absent, emptied, cut off, or by another version: Prefect takes all of them for a miss
        return None
    return entry.result if isinstance(entry.result, Artifact) else None


def _log() -> "logging.Logger | logging.LoggerAdapter[logging.Logger]":
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)
