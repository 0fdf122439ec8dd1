"""Compiled programs: ahead of time, once each, counted; and XLA's persistent cache between processes."""

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import jax.monitoring

from jora_model.runtime.distributed import wait_for_all


def usable_cores() -> int:
    """Cores that this process may run on."""
    # Not on every system, and what counts where it is: a pinned process has fewer than the machine.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_compilation_cache(folder: Path) -> None:
    """Keep compiled programs in a folder, made if need be, between processes.

    In a folder of its own for each number of cores: on CPU a program is cut for so many threads, which XLA's key leaves
    out, so that a program of another machine, or of a pinned process, would quietly run on one thread.
    """
    folder = folder / f"{usable_cores()}-cores"
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Every program: a decoder's are small and many, and what is kept must not depend on how fast the machine is.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


class CompilationCount:
    """Counts, as a context manager, what this process compiles, also what JAX compiles by itself.

    Attributes:
        programs: how many programs were asked for.
        cached: how many of them the persistent cache had.
        seconds: that compiling, or reading from the cache, took.
    """

    def __init__(self) -> None:
        self.programs = self.cached = 0
        self.seconds = 0.0

    def __enter__(self) -> "CompilationCount":
        jax.monitoring.register_event_listener(self._on_event)
        jax.monitoring.register_event_duration_secs_listener(self._on_duration)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        jax.monitoring.unregister_event_listener(self._on_event)
        jax.monitoring.unregister_event_duration_listener(self._on_duration)

    def _on_event(self, event: str, **_: str | int) -> None:
        self.cached += event == "/jax/compilation_cache/cache_hits"

    def _on_duration(self, event: str, seconds: float, **_: str | int) -> None:
        # Measured around both ways to a program: compiling it and reading it.
        if event == "/jax/core/compile/backend_compile_duration":
            self.programs += 1
            self.seconds += seconds


class Compilation(NamedTuple):
    """What one program took: seconds of tracing and compiling, and whether the persistent cache had it."""

    seconds: float
    cached: bool


class Programs:
    """Functions compiled ahead of time under a name, once.

    Attributes:
        compiled, compilations: the program and what it took by name, in the order of the first calls.
    """

    def __init__(self) -> None:
        self.compilations: dict[str, Compilation] = {}
        self.compiled: dict[str, Any] = {}

    def run(self, name: str, function: Any, *args: Any) -> Any:
        """Call a jitted function; other shapes, dtypes or devices than at the first call of a name are an error."""
        if name not in self.compiled:
            begun = time.monotonic()
            with CompilationCount() as count:
                self.compiled[name] = function.lower(*args).compile()
                wait_for_all(name)
            self.compilations[name] = Compilation(time.monotonic() - begun, count.cached == count.programs > 0)
        return self.compiled[name](*args)


def compilation_facts(programs: Programs, everything: CompilationCount) -> dict[str, Any]:
    """For training.json: each program by name, and the sums over the whole process."""
    return {
        "programs": {
            name: {"seconds": round(found.seconds, 2), "cached": found.cached}
            for name, found in programs.compilations.items()
        },
        "all_programs": everything.programs,
        "all_cached": everything.cached,
        "all_seconds": round(everything.seconds, 2),
    }


def describe_compilation(facts: dict[str, Any]) -> str:
    """The same as a line for people."""
    programs = ", ".join(
        f"{name} {found['seconds']:.1f} s{' (cached)' if found['cached'] else ''}"
        for name, found in facts["programs"].items()
    )
    return (
        f"{facts['all_programs']} programs compiled in {facts['all_seconds']:.1f} s, {facts['all_cached']} of them "
        f"read from the cache: {programs}"
    )
