"""The README's four commands, for real: a server, a process worker, `prefect deploy --all`, a run of a deployment."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_runs import copy_samples

ROOT = Path(__file__).parents[2]
PREFECT = [sys.executable, "-m", "prefect"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def stop(process: subprocess.Popen) -> None:
    """End a process and its children (it leads a group of its own)."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Iterator[dict[str, str]]:
    """A server of this test's own, with a worker on the pool."""
    home = tmp_path_factory.mktemp("prefect")
    port = free_port()
    env = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    env.pop("XLA_FLAGS", None)
    server = subprocess.Popen(
        [*PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    worker = None
    try:
        for _ in range(180):
            try:
                urllib.request.urlopen(f"{env['PREFECT_API_URL']}/health", timeout=2).close()
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.5)
        command(env, "work-pool", "create", "jora", "--type", "process")
        command(env, "work-pool", "set-concurrency-limit", "jora", "1")
        worker = subprocess.Popen(
            [*PREFECT, "worker", "start", "--pool", "jora"],
            env=env,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        yield env
    finally:
        if worker is not None:
            stop(worker)
        stop(server)


def command(env: dict[str, str], *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run([*PREFECT, *arguments], env=env, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def test_deploy_all_and_run_a_dataset(environment, tmp_path):
    command(environment, "--no-prompt", "deploy", "--all")
    listed = json.loads(command(environment, "deployment", "ls", "-o", "json").stdout)
    names = {f"{item['name']}" if "/" in item["name"] else item["name"] for item in listed}
    assert {"weekly", "on-demand"} <= names

    corpus, questions = copy_samples(tmp_path, 3)
    given = {"corpus": str(corpus), "questions": str(questions), "work_dir": str(tmp_path / "work")}
    run = ("deployment", "run", "build-dataset/on-demand", "--watch", "--params")
    done = command(environment, *run, json.dumps(given))
    assert "Completed" in done.stdout, done.stdout
    assert (tmp_path / "work" / "latest" / "dataset" / "dataset.jsonl").exists()

    refused = command(environment, *run, json.dumps({**given, "raft": {"oracle_share": 1}}), check=False)
    assert refused.returncode != 0
