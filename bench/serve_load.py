"""`jora serve` under load: `python -m bench.serve_load [--quick]`.

A finished run of the sample corpus with a tiny model of random weights (what it answers is nonsense, but always the
same), a server on loopback, and 64 clients at once for a minute: most ask one of a few questions, streamed or not;
one request in ten hangs up while its answer grows; one in ten is garbage. Before that, each question is asked alone.
Counted are answers that are other than alone, replies whose status is not the one expected (429 is expected where the
queue is full), slots that stay taken, and memory at the end against after the first third. Quick: 15 seconds.

With float32 sums that depend on the batch, a near tie may fall otherwise; such an answer counts as wrong here.
"""

import argparse
import collections
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from bench.box import ROOT
from bench.machine import describe_machine

sys.path.insert(0, str(ROOT / "tests" / "support"))

CLIENTS = 64
QUESTIONS = (
    "Who broke a collarbone?",
    "How soon must the form be handed in?",
    "Who collects the near-miss cards?",
    "What is baked on Fridays?",
    "Who keeps the keys of the kitchen?",
    "When is the oven cold?",
)
GARBAGE: tuple[tuple[bytes, int], ...] = (
    (b"{", 400),
    (b"[]", 400),
    (b'{"model": "latest"}', 400),
    (json.dumps({"model": "nobody", "messages": [{"role": "user", "content": "x"}]}).encode(), 404),
    (json.dumps({"model": "latest", "n": 2, "messages": [{"role": "user", "content": "x"}]}).encode(), 400),
    (b'{"x": "' + b"y" * 2_000_000 + b'"}', 413),
    (b"\x00\xff\xfe", 400),
)


def main() -> None:
    """Start the server, ask alone, then with everybody, then look at what is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="15 seconds")
    arguments = parser.parse_args()
    print(describe_machine("jax", "starlette", "uvicorn"), flush=True)
    with tempfile.TemporaryDirectory(prefix="jora-serve-") as name:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{name}/xla")
        from asked_runs import finished_run  # type: ignore[import-not-found]

        work = finished_run(Path(name))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = (Path(name) / "server.log").open("w")
        command = [sys.executable, "-m", "flows.cli", "serve", "--work-dir", str(work), "--port", str(port)]
        server = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            _measure(f"http://127.0.0.1:{port}", server, 15.0 if arguments.quick else 60.0)
        finally:
            server.terminate()
            code = server.wait(60)
            log.close()
        print(f"figure server_exit_code {code}")


def _measure(url: str, server: "subprocess.Popen[bytes]", seconds: float) -> None:
    while True:
        assert server.poll() is None, "the server ended at its start"
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.5)
    alone = {question: _ask(httpx.Client(timeout=120), url, question, stream=False)[1] for question in QUESTIONS}
    told: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_client, args=(url, alone, told, end, random.Random(number)))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 3)
    early = _resident(server.pid)
    for thread in threads:
        thread.join()
    time.sleep(3)
    late, health = _resident(server.pid), httpx.get(f"{url}/health").json()
    again = {question: _ask(httpx.Client(timeout=120), url, question, stream=True)[1] for question in QUESTIONS}
    told["wrong answers"] += sum(again[question] != alone[question] for question in QUESTIONS)
    for what, count in sorted(told.items()):
        print(f"{count:7,} {what}")
    print(f"health afterwards: {health}")
    print(f"resident memory: {early} MB after a third, {late} MB at the end")
    print(f"figure requests {sum(told.values())}")
    print(f"figure answers {told['answers']}")
    print(f"figure wrong_answers {told['wrong answers']}")
    print(f"figure wrong_statuses {told['wrong statuses']}")
    print(f"figure slots_still_taken {health.get('seated', 0) + health.get('waiting', 0) + health.get('busy', 0)}")
    print(f"figure memory_growth_percent {100 * (late - early) / early:.1f}")


def _client(url: str, alone: dict[str, str], told: "collections.Counter[str]", end: float, draw: random.Random) -> None:
    """One client until the time is over; counts of a Counter are good enough under the interpreter's lock."""
    with httpx.Client(timeout=180) as client:
        while time.monotonic() < end:
            kind = draw.random()
            question = draw.choice(QUESTIONS)
            if kind < 0.1:
                _hang_up(url, question, draw.uniform(0.0, 0.5))
                told["hung up"] += 1
            elif kind < 0.2:
                content, expected = draw.choice(GARBAGE)
                reply = client.post(
                    f"{url}/v1/chat/completions", content=content, headers={"Content-Type": "application/json"}
                )
                told["garbage"] += 1
                if reply.status_code not in (expected, 429) or "error" not in reply.json():
                    told["wrong statuses"] += 1
            else:
                status, answer = _ask(client, url, question, stream=draw.random() < 0.5)
                if status == 429:
                    told["turned away (429)"] += 1
                    time.sleep(draw.uniform(0.2, 1.0))
                elif status != 200:
                    told["wrong statuses"] += 1
                else:
                    told["answers"] += 1
                    told["wrong answers"] += answer != alone[question]


def _ask(client: httpx.Client, url: str, question: str, stream: bool) -> tuple[int, str]:
    body: dict[str, Any] = {"model": "latest", "messages": [{"role": "user", "content": question}], "stream": stream}
    if not stream:
        reply = client.post(f"{url}/v1/chat/completions", json=body)
        return reply.status_code, reply.json()["choices"][0]["message"]["content"] if reply.status_code == 200 else ""
    parts: list[str] = []
    with client.stream("POST", f"{url}/v1/chat/completions", json=body) as reply:
        for line in reply.iter_lines():
            if reply.status_code == 200 and line.startswith("data: ") and line != "data: [DONE]":
                chunk = json.loads(line.removeprefix("data: "))
                if "error" in chunk:
                    return 500, ""
                parts += [choice["delta"].get("content") or "" for choice in chunk["choices"]]
        return reply.status_code, "".join(parts)


def _hang_up(url: str, question: str, seconds: float) -> None:
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({"model": "latest", "stream": True, "messages": [{"role": "user", "content": question}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        time.sleep(seconds)


def _resident(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1_000_000


if __name__ == "__main__":
    main()
