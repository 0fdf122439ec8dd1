"""Runs that are killed and heal by themselves: `python -m bench.kills [--quick] [--seed N]`.

A deployment trains a tiny model on a few sample documents under a worker, once in peace. Then the run's flow, its
trainer, the worker, the server, and the whole machine but its server (worker, flow and trainer at once), are killed by
SIGKILL, at each stage boundary and at random moments, several times a run. Worker and server are started again, as
systemd would; nobody touches the run. It must complete, with the same adapter and dataset bytes. Quick: flow, worker
and server twice in a run each, the trainer once.
"""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.machine import describe_machine
from testing.box import Box, wait_for

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


def main() -> None:
    """One run in peace, then the killed ones, then the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="7 kills in 4 runs")
    parser.add_argument("--seed", type=int, help="of the moments; without it they differ from run to run")
    arguments = parser.parse_args()
    print(describe_machine("prefect", "jax"), flush=True)
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
    print(f"moments drawn with --seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="jora-kills-") as name:
        # Without the name of the work directory in the keys of compiled programs.
        box = Box(Path(name), JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES="none")
        try:
            box.start_server()
            box.command("deploy/set_up.py")
            box.start_worker()
            runs = Runs(box, random.Random(seed))
            runs.in_peace()
            for number, (victim, moments) in enumerate(plan(runs, arguments.quick)):
                runs.killed(f"{number:02d}-{victim}", victim, moments)
        finally:
            box.stop()
    print(f"figure kills {runs.kills}")
    print(f"figure runs {runs.count}")
    print(f"figure completed {runs.completed}")
    print(f"figure identical {runs.identical}")


Moment = int | float | None  # artifacts that are there, or seconds since the run (re)started; None: soon, in training


def plan(runs: "Runs", quick: bool) -> Iterator[tuple[str, Sequence[Moment]]]:
    """Which process is killed in a run, and when."""
    draw = runs.moments
    boundaries = range(1, runs.artifacts)  # the last artifact is the adapter
    for victim in ("flow", "worker", "server"):
        if quick:
            yield victim, sorted(draw.sample(range(1, runs.artifacts), 2))
            continue
        for first in range(0, len(boundaries), KILLS_A_RUN):
            yield victim, boundaries[first : first + KILLS_A_RUN]
    for _ in range(1 if quick else TRAINER_KILLS):
        yield "trainer", [None]
    if quick:
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
        self.programs = box.folder / "xla"  # compiled once
        self.programs.mkdir()
        self.kills = self.count = self.completed = self.identical = 0
        self.bytes: dict[str, bytes] = {}
        self.artifacts, self.seconds = 0, 0.0

    def in_peace(self) -> None:
        """What the others are compared with: bytes, number of artifacts, seconds."""
        start = time.monotonic()
        work = self.box.folder / "peace"
        run = self._start(work)
        self.box.wait(run, "Completed", "Failed", "Crashed", seconds=LIMIT)
        self.seconds = time.monotonic() - start
        self.bytes, self.artifacts = _results(work), _artifacts(work)
        print(f"in peace: {self.box.state(run)} in {self.seconds:.0f} s, {self.artifacts} artifacts", flush=True)

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
        work.mkdir()
        (work / "xla").symlink_to(self.programs)
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
    """Of a run that takes seconds: a tiny base model, two documents, few of everything; a checkpoint each update."""
    from testing.small_runs import SMALL, copy_samples, tiny_base

    documents, questions = copy_samples(folder / "samples", 2)
    parameters: dict[str, Any] = {
        "corpus": str(documents),
        "questions": str(questions),
        "base_model": str(tiny_base(folder / "base")),
    }
    training = (f"training.max_updates={UPDATES}", "training.epochs=20", "training.checkpoint_every=1")
    for item in (*SMALL, *training):
        (group, name), value = item.split("=")[0].split("."), json.loads(item.split("=")[1])
        if group != "evaluation":
            parameters.setdefault(group, {})[name] = value
    return parameters


if __name__ == "__main__":
    main()
