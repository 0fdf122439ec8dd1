"""A Prefect server, a worker and our deployments, separate from all others, for drills and tests.

Each process can be killed and started again; `stop` ends all of them.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from testing.waiting import wait_for

ROOT = Path(__file__).resolve().parent.parent
PREFECT = (sys.executable, "-m", "prefect")
ATTEMPTS = 5


class Box:
    """`environment` is that of its processes; their logs are in `folder`."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.port = _free_port()
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.environment = {
            **os.environ,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": self.api,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            # Off where the tests of other things run.
            "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "true",
            "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "true",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **variables,
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start_server(self, seconds: float = 180.0) -> None:
        """Start the server, on the same port and database as before, and wait until it answers."""
        process = self._start("server", "server", "start", "--host", "127.0.0.1", "--port", str(self.port))

        def answers() -> bool:
            assert process.poll() is None, self.log("server")
            try:
                return httpx.get(f"{self.api}/health", timeout=2).is_success
            except httpx.HTTPError:
                return False

        wait_for(answers, seconds, "a server")

    def start_worker(self, pool: str = "jora") -> None:
        """Start a worker that polls for runs each second."""
        self._start("worker", "worker", "start", "--pool", pool)

    def command(self, *command: str, check: bool = True) -> str:
        """Run a command such as `prefect deployment ls` in the repository with this server; return what it printed."""
        program, *arguments = command
        start = PREFECT if program == "prefect" else (sys.executable, program)
        done = subprocess.run([*start, *arguments], env=self.environment, cwd=ROOT, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def run(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Start a run of FLOW/DEPLOYMENT and return its id."""
        known = self.ask("GET", f"deployments/name/{deployment}")
        return str(self.ask("POST", f"deployments/{known['id']}/create_flow_run", {"parameters": parameters})["id"])

    def states(self, run: str) -> list[dict[str, Any]]:
        """Return all states of a run, oldest first."""
        states = self.ask("GET", f"flow_run_states/?flow_run_id={run}")
        return sorted(states, key=lambda state: str(state["timestamp"]))

    def state(self, run: str) -> str:
        """Return the name of a run's state."""
        return str(self.ask("GET", f"flow_runs/{run}")["state"]["name"])

    def wait(self, run: str, *names: str, seconds: float = 300.0) -> None:
        """Wait until a run is in one of these states."""
        wait_for(lambda: self.state(run) in names, seconds, f"a run that is {' or '.join(names)}", pause=0.3)

    def ask(self, method: str, path: str, content: object = None) -> Any:
        """Call the server's API and return the body of its answer, or None."""
        for attempt in range(ATTEMPTS):
            last = attempt + 1 == ATTEMPTS
            try:
                answer = httpx.request(method, f"{self.api}/{path}", json=content, timeout=60)
            except httpx.TransportError:  # it may be restarting, and may have begun to act on the call
                if last or method != "GET":
                    raise
            else:
                if last or answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:  # its database is locked
                    break
            time.sleep(1)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def kill(self, *names: str) -> list[int]:
        """`kill -9` processes by name (server, worker, flow, trainer) and return the ids of those that ran.

        Flow runs are looked up in all processes: they outlive their worker.
        """
        pids = [pid for name in names for pid in self.pids(name)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for name in names:
            if name in self._processes:
                self._processes.pop(name).wait()
        wait_for(lambda: not any(map(_lives, pids)), 10, "processes to die")
        return pids

    def pids(self, name: str) -> list[int]:
        """Return the ids of the processes with a name."""
        if name in ("server", "worker"):
            return [self._processes[name].pid] if name in self._processes else []
        module = {"flow": b"prefect.engine", "trainer": b"jora_model.training.train"}[name]
        return [pid for pid, command in self._all_of_this_box() if module in command.split(b"\0")]

    def stop(self) -> None:
        """Kill all processes."""
        self.kill("worker", "server")
        for pid, _ in self._all_of_this_box():
            os.kill(pid, signal.SIGKILL)

    def log(self, name: str) -> str:
        """Return what the server or the worker has logged so far."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    def _start(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*PREFECT, *arguments], env=self.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
        return self._processes[name]

    def _all_of_this_box(self) -> list[tuple[int, bytes]]:
        """Return id and command line of all processes that were started with this environment."""
        mark, processes = f"PREFECT_HOME={self.folder / 'prefect'}".encode(), []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    processes.append((int(folder.name), (folder / "cmdline").read_bytes()))
            except OSError:  # gone, or not ours
                continue
        return processes


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
