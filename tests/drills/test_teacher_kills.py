"""A killed teacher run pays for no call twice.

`jora build-dataset` over the sample documents, with a teacher behind a server on loopback that counts the calls. Once
undisturbed; once killed (SIGKILL) three times at random moments of the teaching and then completed; and once more with
the process that makes the calls killed as well, as when a machine goes down. A call that the server has begun counts
as paid, whether its answer arrived or not. Quick: 8 documents instead of 24.
"""

import json
import os
import random
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from testing.command_line import JORA, Started
from testing.small_runs import SAMPLES
from testing.teacher_server import TeacherServer, serve
from testing.waiting import wait_for

KILLS = 3
CONCURRENCY = 8
SECONDS = 0.4  # of a call
LIMIT = 600.0


def test_a_killed_run_pays_for_no_call_twice(
    prefect_server: str, tmp_path: Path, moments: random.Random, full: bool
) -> None:
    with serve(seconds=SECONDS) as server:
        corpus = tmp_path / "documents"
        corpus.mkdir()
        for path in sorted((SAMPLES / "documents").iterdir())[: None if full else 8]:
            shutil.copy(path, corpus)
        runs = Runs(server, corpus, prefect_server, moments)
        expected = runs.build(tmp_path / "undisturbed", 0, everything=False)
        calls = len(server.bodies)
        killed = runs.build(tmp_path / "killed", calls, everything=False)
        paid_twice = len(server.bodies) - calls
        all_killed = runs.build(tmp_path / "all-killed", calls, everything=True)
        lost = len(server.bodies) - calls
    print(f"figure calls {calls}")
    print(f"figure kills {KILLS}")
    print(f"figure calls_paid_twice {paid_twice}")
    print(f"figure same_dataset {int(killed == expected)}")
    print(f"figure calls_at_once {CONCURRENCY}")
    print(f"figure calls_lost_in_flight {lost}")
    print(f"figure same_dataset_without_the_calling_process {int(all_killed == expected)}")
    assert paid_twice == 0
    assert killed == expected == all_killed
    assert lost <= KILLS * CONCURRENCY, "more calls than were in flight"


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
                assert process.poll() is None, "it ended before it was killed: " + _end_of_log(work)
                if everything:
                    children = _teacher_processes(process.pid)
                    assert children, "no process makes the calls"
                    for child in children:
                        os.kill(child, signal.SIGKILL)
                process.send_signal(signal.SIGKILL)
            print(f"{work.name}: killed after {len(self.server.bodies)} calls", flush=True)
        with self._start(work) as process:
            assert process.wait(LIMIT) == 0, _end_of_log(work)
        print(f"{work.name}: finished with {len(self.server.bodies)} calls", flush=True)
        artifacts = json.loads((work / "latest" / "run.json").read_bytes())["artifacts"]
        return {name: artifacts[name]["digest"] for name in ("raw_questions", "questions", "dataset")}

    def _await_calls(self, calls: int, process: Started) -> None:
        wait_for(lambda: len(self.server.bodies) >= calls or process.poll() is not None, LIMIT)

    def _start(self, work: Path) -> Started:
        sets = {
            "kind": "endpoint",
            "base_url": self.server.base_url,
            "model": "made-up",
            "concurrency": CONCURRENCY,
        }
        options = [part for name, value in sets.items() for part in ("--set", f"teacher.{name}={value}")]
        command = ["build-dataset", "--corpus", str(self.corpus), "--work-dir", str(work), *options]
        with work.with_suffix(".log").open("ab") as log:
            return Started([*JORA, *command], env=self.environment, stdout=log, stderr=log)


def _end_of_log(work: Path) -> str:
    return work.with_suffix(".log").read_text(encoding="utf-8")[-4000:]


def _teacher_processes(parent: int) -> list[int]:
    """The processes below a process that make the calls."""
    children = Path(f"/proc/{parent}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text().split()]
    return [pid for pid in pids if re.search(rb"tasks\.stages\.\w+_job\b", Path(f"/proc/{pid}/cmdline").read_bytes())]
