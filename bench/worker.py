"""One side of a benchmark in its own process, so that the other side's libraries and memory settings cannot affect it.

Calls and answers are JSON lines. A benchmark's `main` calls `parse`, which serves one side in such a process.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.machine import peak_bytes
from data.retrieval.machine import usable_cores

# The settings of a side -> its handlers by name.
Start = Callable[[dict[str, Any]], Mapping[str, Callable[..., Any]]]


class Worker:
    """The process of one side."""

    def __init__(self, module: str, side: str, folder: Path, environment: Mapping[str, str], settings: dict[str, Any]):
        self.side = side
        self._log = (folder / f"{side}.log").open("w+")
        threads = {"OMP_NUM_THREADS": str(usable_cores())}
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, "--worker", side],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, **threads, **environment},
        )
        self.call("settings", **settings)

    def call(self, what: str, **arguments: Any) -> Any:
        """Run a handler in the process and return its answer."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"what": what, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise RuntimeError(f"{self.side} ended: {self._log.read()[-3000:]}")
        return json.loads(line)

    def peak_mb(self) -> int:
        """Return the process's peak resident memory so far, in MiB."""
        return peak_bytes(self._process.pid) // 2**20

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream:
                stream.close()


def parse(parser: argparse.ArgumentParser, sides: Mapping[str, Start]) -> argparse.Namespace:
    """Return the parsed arguments, with --squad and --quick; in a worker process, serve its side and exit."""
    parser.add_argument("--squad", type=Path, help="a SQuAD-format file")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--worker", choices=tuple(sides), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        _serve(sides[arguments.worker])
        sys.exit()
    if arguments.squad is None:
        parser.error("--squad FILE is required")
    return arguments


def _serve(start: Start) -> None:
    """Answer calls until stdin closes. `start` turns the settings, which come first, into handlers by name."""
    # What libraries print goes to the log, so that stdout carries only answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    handlers: Mapping[str, Callable[..., Any]] = {}
    for line in sys.stdin:
        call = json.loads(line)
        what = call.pop("what")
        if what == "settings":
            handlers, answer = start(call), "ready"
        else:
            answer = handlers[what](**call)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
