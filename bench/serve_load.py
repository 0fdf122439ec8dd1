"""`jora serve` under load: many clients, some disconnect, some send invalid requests; all answers are checked.

    .venv/bin/python -m bench.serve_load --work-dir .jora       # a run's models; default: a small new run
    .venv/bin/python -m bench.serve_load --quick                # a tiny model, 15 seconds

The expected answers are those of `jora ask`: one question at a time, in this process, before the server starts. Both
compute in float32, where batching does not change any token.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import openai

from bench.machine import describe_machine
from data.files.jsonl import read_jsonl
from data.questions.questions import Question
from testing.box import ROOT
from testing.waiting import wait_for

SLOTS, QUEUE, MOST_BODY = 16, 32, 20_000
CHAT = "/v1/chat/completions"
_GARBAGE: dict[str, tuple[dict[str, Any], int]] = {
    "no JSON": ({"content": b'{"model": '}, 400),
    "no messages": ({"json": {"model": "latest", "messages": []}}, 400),
    "two answers": ({"json": {"n": 2}}, 400),
    "unknown field": ({"json": {"beam_width": 3}}, 400),
    "no such model": ({"json": {"model": "gpt"}}, 404),
    "too large": ({"json": {"user": "x" * MOST_BODY}}, 413),
    "too long": ({"json": {"messages": [{"role": "user", "content": "a " * 9_500}]}}, 400),
    "plain text": ({"content": b"hello", "headers": {"content-type": "text/plain"}}, 415),
}


@dataclass
class Seen:
    """Counts of what the clients saw."""

    answers: int = 0
    hung_up: int = 0
    garbage: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    improper: Counter[str] = field(default_factory=Counter)


def main() -> None:
    """Print the figures; exit with 1 on a wrong answer, an unexpected status or a leaked slot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, help="work directory of a finished run")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    print(describe_machine("jax", "starlette", "uvicorn"), flush=True)
    seconds = given.seconds or (15 if given.quick else 60)
    with tempfile.TemporaryDirectory(prefix="jora-serve-") as folder:
        work_dir = given.work_dir or _make(Path(folder))
        expected = _expected(work_dir, given.questions, given.max_tokens)
        print(f"{len(expected)} answers of jora ask, {len(set(expected.values()))} distinct", flush=True)
        with _server(work_dir, Path(folder) / "log") as (url, process):
            seen, memory = asyncio.run(_load(url, process.pid, expected, given.clients, seconds, given.max_tokens))
            leaked = _leaked(url)
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
    quarter = max(1, len(memory) // 4)  # the first one includes compilation
    growth = median(memory[-quarter:]) - median(memory[quarter : 2 * quarter])
    print("resident MB, at eight equal steps:", *(f"{memory[n * (len(memory) - 1) // 7]:.0f}" for n in range(8)))
    for problem in seen.wrong[:5]:
        print(problem)
    for what, count in seen.improper.items():
        print(f"improper: {what} ({count})")
    print(f"figure clients {given.clients}")
    print(f"figure seconds {seconds:g}")
    print(f"figure answers {seen.answers}")
    print(f"figure wrong_answers {len(seen.wrong)}")
    print(f"figure hung_up {seen.hung_up}")
    print(f"figure garbage {seen.garbage}")
    print(f"figure refused_429 {seen.refused}")
    print(f"figure improper_statuses {seen.improper.total()}")
    print(f"figure slots_leaked {leaked}")
    print(f"figure memory_mb {median(memory[-quarter:]):.0f}")
    print(f"figure memory_growth_mb {growth:.1f}")
    print(f"figure exit_code {code}")
    sys.exit(bool(seen.wrong or seen.improper or leaked or code))


def _make(folder: Path) -> Path:
    """Return the work directory of a small new run."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "xla"))
    from testing.asked_runs import finished_run

    return Path(finished_run(folder))


def _expected(work_dir: Path, count: int, max_tokens: int) -> dict[tuple[str, str], str]:
    """Return (model, question) -> the answer of `jora ask`, one at a time."""
    from flows.serving.opening import open_last_run
    from tasks.answering.answering import answer_together

    opened, config = open_last_run(str(work_dir), ["base", "latest"], slots=1, float32=True)
    settings = config.generation.model_copy(update={"max_new_tokens": max_tokens})
    questions = read_jsonl(work_dir / "latest" / "questions" / "eval.jsonl", Question)
    expected = {}
    for number, question in enumerate(questions[:count]):
        for name in ("base", "latest") if number < count // 4 else ("latest",):
            asked = opened.ask(question.question, opened.find(name))
            for _, _, answer in answer_together(opened.engine, [asked], settings):
                expected[name, question.question] = answer.parsed.answer
    return expected


@contextmanager
def _server(work_dir: Path, log: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    limits = ["--slots", str(SLOTS), "--queue", str(QUEUE), "--max-body-bytes", str(MOST_BODY), "--float32"]
    command = [sys.executable, "-m", "flows.cli.main", "serve", "--work-dir", str(work_dir), "--port", "0", *limits]
    with log.open("wb") as file, subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file) as process:
        try:
            wait_for(lambda: process.poll() is not None or "Started server" in log.read_text(), 300, "a server")
            (url,) = re.findall(r"serving (http://\S+)/v1", log.read_text())
            yield url, process
        finally:
            process.kill()


async def _load(
    url: str, pid: int, expected: dict[tuple[str, str], str], clients: int, seconds: float, max_tokens: int
) -> tuple[Seen, list[float]]:
    """Return the clients' counts, and the server's resident memory over time in MB."""
    seen, memory = Seen(), []
    end = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=clients * 2)
    async with (
        httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as raw,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=120) as chat,
    ):
        tasks = [
            asyncio.create_task(_client(raw, chat, random.Random(number), expected, seen, end, max_tokens))
            for number in range(clients)
        ]
        while not all(task.done() for task in tasks):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            memory.append(pages * os.sysconf("SC_PAGESIZE") / 1e6)
            await asyncio.sleep(0.25)
        await asyncio.gather(*tasks)
    return seen, memory


async def _client(
    raw: httpx.AsyncClient,
    chat: openai.AsyncOpenAI,
    draw: random.Random,
    expected: dict[tuple[str, str], str],
    seen: Seen,
    end: float,
    max_tokens: int,
) -> None:
    """Send requests one after another until the time is over; 10% disconnect, 10% are invalid."""
    pairs = list(expected)
    while time.monotonic() < end:
        kind, pair = draw.random(), draw.choice(pairs)
        body = {"model": pair[0], "messages": [{"role": "user", "content": pair[1]}], "max_tokens": max_tokens}
        try:
            if kind < 0.1:
                await _hang_up(raw, body, draw, seen)
            elif kind < 0.2:
                await _send_garbage(raw, body, draw, seen)
            else:
                text = await _ask(chat, body, stream=kind < 0.6)
                seen.answers += 1
                if text != expected[pair]:
                    seen.wrong.append(f"wrong: {pair}: {text!r} instead of {expected[pair]!r}")
        except openai.RateLimitError as error:
            seen.refused += 1
            await _wait(error.response, draw, seen, end)
        except (openai.APIError, httpx.HTTPError) as error:
            seen.improper[f"{type(error).__name__}: {error}"] += 1


async def _ask(chat: openai.AsyncOpenAI, body: dict[str, Any], *, stream: bool) -> str:
    if not stream:
        return (await chat.chat.completions.create(**body)).choices[0].message.content or ""
    text = ""
    async for chunk in await chat.chat.completions.create(**body, stream=True):
        text += chunk.choices[0].delta.content or ""
    return text


async def _hang_up(raw: httpx.AsyncClient, body: dict[str, Any], draw: random.Random, seen: Seen) -> None:
    """Disconnect at once, while waiting, or after part of the answer."""
    if draw.random() < 0.5:
        with suppress(httpx.ReadTimeout):
            await raw.post(CHAT, json=body, timeout=httpx.Timeout(120, read=draw.choice([0.01, 0.1, 1.0])))
    else:
        async with raw.stream("POST", CHAT, json={**body, "stream": True}) as answer:
            lines = answer.aiter_lines()
            for _ in range(draw.randrange(4)):
                await anext(lines, None)
            await answer.aclose()
    seen.hung_up += 1


async def _send_garbage(raw: httpx.AsyncClient, body: dict[str, Any], draw: random.Random, seen: Seen) -> None:
    what = draw.choice(list(_GARBAGE))
    given, status = _GARBAGE[what]
    sent = {**given, "json": {**body, **given["json"]}} if "json" in given else given
    headers = {"content-type": "application/json", **sent.get("headers", {})}
    answer = await raw.post(CHAT, **{**sent, "headers": headers})
    seen.garbage += 1
    # A full queue answers 429 before the request is checked.
    if answer.status_code not in (status, 429) or not _is_error(answer):
        seen.improper[f"{what}: {answer.status_code} {answer.text[:100]}"] += 1


def _is_error(answer: Any) -> bool:
    try:
        return set(answer.json()["error"]) == {"message", "type", "param", "code"}
    except (json.JSONDecodeError, KeyError, TypeError):
        return False


async def _wait(answer: Any, draw: random.Random, seen: Seen, end: float) -> None:
    """Wait as long as Retry-After says, or until the end."""
    wait = answer.headers.get("retry-after", "")
    if not wait.isdigit() or not _is_error(answer):
        seen.improper[f"429 without Retry-After or body: {wait!r}"] += 1
    await asyncio.sleep(max(0.0, min(float(wait or 1) * draw.uniform(0.1, 1), end - time.monotonic())))


def _leaked(url: str) -> int:
    """Return the number of slots and queue entries that stay in use after the last request."""
    state: dict[str, Any] = {}

    def free() -> bool:
        state.update(httpx.get(f"{url}/health").json())
        return state["busy"] == state["seated"] == state["waiting"] == 0

    try:
        wait_for(free, 30, "free slots")
    except TimeoutError:
        print(f"not free: {state}")
    return int(state["busy"] + state["seated"] + state["waiting"])


if __name__ == "__main__":
    main()
