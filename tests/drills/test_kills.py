"""Runs that are killed recover without help.

A deployment trains a tiny model on a few sample documents under a worker, first undisturbed. Then the run's flow, its
trainer, the worker, the server, and all but the server at once (worker, flow and trainer), are killed by SIGKILL, at
each stage boundary and at random moments, several times a run. Worker and server are started again, as systemd would;
nobody touches the run. It must complete, with the same adapter and dataset bytes. Quick: 7 kills in 4 runs: flow,
worker and server twice in a run each, the trainer once.
"""

import random
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tasks.store.store import Store
from testing.box import Box
from testing.jobs_here import share_programs
from testing.small_runs import SMALL, as_parameters, small_sources
from testing.waiting import wait_for

DEPLOYMENT = "train-adapter/on-demand"
UPDATES = 60
RANDOM_MOMENTS = 20
KILLS_A_RUN = 4  # a run may be started flows.raft.STARTS times; of its trainer once: the stage is tried twice
TRAINER_KILLS = 5
MACHINE_KILLS = 2
LIMIT = 400.0
VICTIMS = {
    "flow": ("flow",),
    "trainer": ("trainer",),
    "worker": ("worker",),
    "server": ("server",),
    "machine": ("worker", "flow", "trainer"),
}


def test_killed_runs_complete_with_the_same_bytes(box: Box, moments: random.Random, full: bool) -> None:
    runs = Runs(box, moments)
    runs.undisturbed()
    for number, (victim, when) in enumerate(plan(runs, full)):
        runs.killed(f"{number:02d}-{victim}", victim, when)
    print(f"figure kills {runs.kills}")
    print(f"figure runs {runs.count}")
    print(f"figure completed {runs.completed}")
    print(f"figure identical {runs.identical}")
    assert runs.kills >= 5, "the processes were gone before they could be killed"
    assert runs.count == runs.completed == runs.identical


Moment = int | float | None  # artifacts that are there, or seconds since the run (re)started; None: soon, in training


def plan(runs: "Runs", full: bool) -> Iterator[tuple[str, Sequence[Moment]]]:
    """Which process is killed in a run, and when."""
    draw = runs.moments
    boundaries = range(1, runs.artifacts)  # the last artifact is the adapter
    for victim in ("flow", "worker", "server"):
        if not full:
            yield victim, sorted(draw.sample(range(1, runs.artifacts), 2))
            continue
        for first in range(0, len(boundaries), KILLS_A_RUN):
            yield victim, boundaries[first : first + KILLS_A_RUN]
    for _ in range(TRAINER_KILLS if full else 1):
        yield "trainer", [None]
    if not full:
        return
    for _ in range(MACHINE_KILLS):
        yield "machine", [draw.uniform(2, runs.seconds * 0.8)]
    for number in range(RANDOM_MOMENTS // KILLS_A_RUN):
        victim = ("flow", "worker", "server")[number % 3]
        yield victim, [draw.uniform(0, runs.seconds * 0.6) for _ in range(KILLS_A_RUN)]


class Runs:
    """Runs of one deployment with the same settings, each in a work directory of its own."""

    def __init__(self, box: Box, moments: random.Random) -> None:
        self.box = box
        self.moments = moments
        self.parameters = _parameters(box.folder)
        self.kills = self.count = self.completed = self.identical = 0
        self.bytes: dict[str, bytes] = {}
        self.artifacts, self.seconds = 0, 0.0

    def undisturbed(self) -> None:
        """Make what the others are compared with: bytes, number of artifacts, seconds."""
        start = time.monotonic()
        work = self.box.folder / "undisturbed"
        run = self._start(work)
        self.box.wait(run, "Completed", "Failed", "Crashed", seconds=LIMIT)
        self.seconds = time.monotonic() - start
        self.bytes, self.artifacts = _results(work), _artifacts(work)
        assert self.box.state(run) == "Completed" and len(self.bytes) == 2, self.box.log("worker")[-3000:]
        print(f"undisturbed: {self.box.state(run)} in {self.seconds:.0f} s, {self.artifacts} artifacts", flush=True)

    def killed(self, name: str, victim: str, moments: Sequence[Moment]) -> None:
        """One run, in which a process is killed at each of these moments, as long as the run is on."""
        work = self.box.folder / name
        start, told = time.monotonic(), []
        run = self._start(work)
        for moment in moments:
            if not self._await(run, work, VICTIMS[victim], moment):
                break
            self.kills += bool(self.box.kill(*VICTIMS[victim]))
            told.append(f"{_artifacts(work)} artifacts" + (f", {_updates(work)} updates" if _updates(work) else ""))
            if "server" in VICTIMS[victim]:
                self.box.start_server()
            if "worker" in VICTIMS[victim]:
                self.box.start_worker()
        self.count += 1
        try:
            self.box.wait(run, "Completed", "Failed", "Cancelled", seconds=LIMIT)
        except TimeoutError as error:
            print(f"{name}: {error}; {[state['name'] for state in self.box.states(run)]}", flush=True)
            return
        done, same = self.box.state(run) == "Completed", _results(work) == self.bytes
        self.completed += done
        self.identical += done and same
        seconds, starts = time.monotonic() - start, self.box.ask("GET", f"flow_runs/{run}")["run_count"]
        states = [state["name"] for state in self.box.states(run)]
        end = f"{states[-1]} in {seconds:.0f} s, started {starts} times, crashed {states.count('Crashed')} times"
        print(f"{name}: killed after {', '.join(told)}; {end}, {'the same' if same else 'OTHER'} bytes", flush=True)
        shutil.rmtree(work)

    def _start(self, work: Path) -> str:
        share_programs(Store(work))
        return self.box.run(DEPLOYMENT, {**self.parameters, "work_dir": str(work)})

    def _await(self, run: str, work: Path, victims: tuple[str, ...], moment: Moment) -> bool:
        """Wait for a moment, and for what is to be killed; whether the run is still on."""
        over = ("Completed", "Failed", "Cancelled")
        self.box.wait(run, "Running", *over, seconds=LIMIT)
        start, before, asked = time.monotonic(), _updates(work), 0.0

        def due() -> bool:
            if not self.box.pids(victims[0]):
                return False
            if isinstance(moment, int):
                return _artifacts(work) >= moment
            if moment is not None:
                return time.monotonic() > start + moment
            return _updates(work) > before + self.moments.randrange(3)

        def ended() -> bool:
            nonlocal asked
            if time.monotonic() < asked + 1:  # the server has enough to do
                return False
            asked = time.monotonic()
            return self.box.state(run) in over

        wait_for(lambda: due() or ended(), LIMIT, f"the moment {moment}", pause=0.02)
        return self.box.state(run) not in over


def _artifacts(work: Path) -> int:
    return len(list(work.glob("artifacts/*/*/manifest.json")))


def _updates(work: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in work.glob("scratch/*/output/metrics.jsonl"))


def _results(work: Path) -> dict[str, bytes]:
    files = ("training/adapter_model.safetensors", "dataset/dataset.jsonl")
    return {name: (work / "latest" / name).read_bytes() for name in files if (work / "latest" / name).exists()}


def _parameters(folder: Path) -> dict[str, Any]:
    """Parameters of a run that takes seconds, with a checkpoint each update."""
    training = (f"training.max_updates={UPDATES}", "training.epochs=20", "training.checkpoint_every=1")
    parameters = as_parameters(small_sources(folder), (*SMALL, *training))
    del parameters["evaluation"]
    return parameters
