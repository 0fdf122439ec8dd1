"""Ahead-of-time compilation, counted, and XLA's persistent cache."""

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import jax
import jax.monitoring

from jora_model.runtime.distributed import wait_for_all


def usable_cores() -> int:
    """Number of cores that this process may run on."""
    # A pinned process has fewer than the machine; not every system has the call.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_compilation_cache(folder: Path) -> None:
    """Use a folder, created if missing, as the persistent cache of compiled programs.

    Each number of cores has its own subfolder: a CPU program is compiled for a number of threads that XLA's cache key
    omits, so a program from another machine, or from a pinned process, would silently run on one thread.
    """
    folder = folder / f"{usable_cores()}-cores"
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Every program: a decoder has many small ones, and what is cached must not depend on the machine's speed.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


class CompilationCount:
    """Counts, as a context manager, the programs that this process compiles, JAX's internal ones included.

    Attributes:
        programs: number of programs.
        cached: number of those that were read from the persistent cache.
        seconds: spent compiling or reading.
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
        # JAX records this event both when it compiles and when it reads a program.
        if event == "/jax/core/compile/backend_compile_duration":
            self.programs += 1
            self.seconds += seconds


class Compilation(NamedTuple):
    """Seconds of tracing and compiling one program, and whether it was read from the persistent cache."""

    seconds: float
    cached: bool


class Programs:
    """Functions compiled ahead of time, once for each name.

    Attributes:
        compiled, compilations: program and cost by name, in the order of the first calls.
    """

    def __init__(self) -> None:
        self.compilations: dict[str, Compilation] = {}
        self.compiled: dict[str, Any] = {}

    def run(self, name: str, function: Any, *args: Any) -> Any:
        """Call a jitted function; shapes, dtypes and devices must be those of the first call with this name."""
        if name not in self.compiled:
            begun = time.monotonic()
            with CompilationCount() as count:
                self.compiled[name] = function.lower(*args).compile()
                wait_for_all(name)
            self.compilations[name] = Compilation(time.monotonic() - begun, count.cached == count.programs > 0)
        return self.compiled[name](*args)


def compilation_facts(programs: Programs, everything: CompilationCount) -> dict[str, Any]:
    """What training.json reports: the cost of each program by name, and the sums over the process."""
    return {
        "programs": {
            name: {"seconds": round(cost.seconds, 2), "cached": cost.cached}
            for name, cost in programs.compilations.items()
        },
        "all_programs": everything.programs,
        "all_cached": everything.cached,
        "all_seconds": round(everything.seconds, 2),
    }


def describe_compilation(facts: dict[str, Any]) -> str:
    """The facts of `compilation_facts` as a log line."""
    programs = ", ".join(
        f"{name} {cost['seconds']:.1f} s{' (cached)' if cost['cached'] else ''}"
        for name, cost in facts["programs"].items()
    )
    return (
        f"{facts['all_programs']} programs compiled in {facts['all_seconds']:.1f} s, {facts['all_cached']} of them "
        f"read from the cache: {programs}"
    )
