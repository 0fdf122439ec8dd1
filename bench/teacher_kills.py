"""What a killed teacher run pays twice: `python -m bench.teacher_kills [--quick] [--seed N]`.

`jora build-dataset` over the sample documents, with a teacher behind a server on loopback that counts the calls. Once
in peace; once killed (SIGKILL) three times at random moments of the teaching and then completed; and once more with
the process that makes the calls killed as well, as when a machine goes down. A call that the server has begun counts
as paid, whether its answer arrived or not. Quick: 8 documents instead of 24.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.machine import describe_machine
from testing.teacher_server import TeacherServer, serve, wait_for

DOCUMENTS = Path("data") / "samples" / "documents"
KILLS = 3
CONCURRENCY = 8
SECONDS = 0.4  # of a call
LIMIT = 600.0


def main() -> None:
    """Build three times, then print the figures."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="8 documents")
    parser.add_argument("--seed", type=int, help="of the moments; without it they differ from run to run")
    arguments = parser.parse_args()
    print(describe_machine("prefect", "openai"), flush=True)
    seed = arguments.seed if arguments.seed is not None else random.randrange(10**6)
    print(f"moments drawn with --seed {seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="jora-kills-") as name,
        prefect_test_harness(server_startup_timeout=180),
        serve(seconds=SECONDS) as server,
    ):
        folder, url = Path(name), str(PREFECT_API_URL.value())
        corpus = folder / "documents"
        corpus.mkdir()
        for path in sorted(DOCUMENTS.iterdir())[: 8 if arguments.quick else None]:
            shutil.copy(path, corpus)
        runs = Runs(server, corpus, url, random.Random(seed))
        whole = runs.build(folder / "whole", 0, everything=False)
        calls = len(server.bodies)
        killed = runs.build(folder / "killed", calls, everything=False)
        paid_twice = len(server.bodies) - calls
        felled = runs.build(folder / "felled", calls, everything=True)
        lost = len(server.bodies) - calls
    print(f"figure calls {calls}")
    print(f"figure kills {KILLS}")
    print(f"figure calls_paid_twice {paid_twice}")
    print(f"figure same_dataset {int(killed == whole)}")
    print(f"figure calls_at_once {CONCURRENCY}")
    print(f"figure calls_lost_in_flight {lost}")
    print(f"figure same_dataset_without_the_calling_process {int(felled == whole)}")


class Runs:
    """Runs of the command against one server, which counts anew for each work directory."""

    def __init__(self, server: TeacherServer, corpus: Path, prefect: str, moments: random.Random) -> None:
        self.server = server
        self.corpus = corpus
        self.environment = {**os.environ, "PREFECT_API_URL": prefect}
        self.moments = moments

    def build(self, work: Path, calls: int, *, everything: bool) -> dict[str, Any]:
        """Build a dataset, killed on the way where the number of calls is known; the artifacts of the finished run.

        Args:
            everything: kill the process that makes the calls as well.
        """
        self.server.bodies.clear()
        self.server.asked.clear()
        # Not near the end: a run must still be at it when its moment comes.
        kills = sorted(self.moments.sample(range(1, calls * 2 // 3), KILLS)) if calls else []
        for moment in kills:
            with self._start(work) as process:
                self._await_calls(max(moment, len(self.server.bodies) + 1), process)
                time.sleep(self.moments.uniform(0, SECONDS))
                if process.poll() is not None:
                    raise RuntimeError(f"the run ended before it was killed; see {work}.log")
                if everything:
                    for child in _teacher_processes(process.pid):
                        os.kill(child, signal.SIGKILL)
                process.send_signal(signal.SIGKILL)
            print(f"{work.name}: killed after {len(self.server.bodies)} calls", flush=True)
        with self._start(work) as process:
            if process.wait(LIMIT) != 0:
                raise RuntimeError(work.with_suffix(".log").read_text(encoding="utf-8")[-4000:])
        print(f"{work.name}: finished with {len(self.server.bodies)} calls", flush=True)
        artifacts = json.loads((work / "latest" / "run.json").read_bytes())["artifacts"]
        return {name: artifacts[name]["digest"] for name in ("raw_questions", "questions", "dataset")}

    def _await_calls(self, calls: int, process: "subprocess.Popen[bytes]") -> None:
        wait_for(lambda: len(self.server.bodies) >= calls or process.poll() is not None, LIMIT)

    def _start(self, work: Path) -> "subprocess.Popen[bytes]":
        sets = {
            "kind": "endpoint",
            "base_url": self.server.base_url,
            "model": "made-up",
            "concurrency": CONCURRENCY,
        }
        options = [part for name, value in sets.items() for part in ("--set", f"teacher.{name}={value}")]
        command = ["build-dataset", "--corpus", str(self.corpus), "--work-dir", str(work), *options]
        with work.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "flows.cli.main", *command], env=self.environment, stdout=log, stderr=log
            )


def _teacher_processes(parent: int) -> list[int]:
    """The processes below a process that make the calls."""
    children = Path(f"/proc/{parent}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text().split()]
    return [pid for pid in pids if b"tasks.stages.endpoint_job" in Path(f"/proc/{pid}/cmdline").read_bytes()]


if __name__ == "__main__":
    main()
