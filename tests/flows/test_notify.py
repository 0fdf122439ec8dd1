"""Decisions about models reach a webhook: a real server with its automations, and a receiver on the loopback."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tasks.records.models import Registry
from tasks.store.store import Store
from testing.box import ROOT, Box
from testing.command_line import start_jora
from testing.registered import model


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a server of this test's own, with what the other tests switch off."""
    box = Box(tmp_path)
    try:
        box.start_server()
        yield box.environment
    finally:
        box.stop()


@pytest.fixture
def received() -> Iterator[tuple[str, "queue.Queue[dict]"]]:
    """The address of a receiver, and what it gets."""
    bodies: queue.Queue[dict] = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            bodies.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{receiver.server_port}/", bodies
        receiver.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_promotion_and_a_rollback_reach_the_webhook(server, received, tmp_path: Path) -> None:
    address, bodies = received
    notify = [sys.executable, "deploy/notify.py"]
    refused = subprocess.run(notify, cwd=ROOT, env=server, capture_output=True, text=True)
    assert refused.returncode == 1 and "JORA_WEBHOOK_URL" in refused.stderr
    for _ in range(2):  # the second time finds block and automation there
        subprocess.run(notify, cwd=ROOT, env=server | {"JORA_WEBHOOK_URL": address}, check=True)

    store = Store(tmp_path / "work")
    names = [model(store, name).name for name in "ab"]
    log = tmp_path / "log"
    command = ("models", "promote", names[0], "--work-dir", store.work_dir, "--reason", 'it "answers"')
    with start_jora(*command, prefect=server["PREFECT_API_URL"], log=log, **server) as process:
        code = process.wait()
    assert code == 0, log.read_text()
    assert bodies.get(timeout=30) == {"text": f'jora.model.promoted {names[0]}: it "answers"'}
    Registry(store.work_dir).appoint(store, names[1], "another")
    # In a process of its own: what emits events lives as long as a process, with the server that it has found first.
    code = f"from flows.models import rollback\nprint(rollback({str(store.work_dir)!r}, reason='it \"answers\"'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=server, capture_output=True, text=True)
    assert f"model {names[0]}: the champion instead of" in done.stdout, done.stderr
    assert bodies.get(timeout=30) == {"text": f'jora.model.rolled_back {names[0]}: it "answers"'}
    assert bodies.empty() and Registry(store.work_dir).champion().name == names[0]
