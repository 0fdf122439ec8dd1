"""The stages of a teacher: asked in a process of its own, killed, refused, and read into questions."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import data.endpoint.failures
from data.endpoint.kept_answers import PlainCall
from data.files.jsonl import read_jsonl
from data.prompting.tokenizer import load_tokenizer
from data.questions.questions import RawQuestion, Rejected
from data.teacher.plan import plan_calls
from data.teacher.settings import TeacherSettings
from jora_model.formats.base import resolve_base
from jora_model.formats.gguf_import import import_gguf
from jora_model.generation.prompt_files import write_tokens
from tasks.stages.endpoint_job import EndpointJob, run_calls
from tasks.stages.evaluation import generate_answers
from tasks.stages.teacher import ask_prompts, ask_server, local_generation, write_questions
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from testing.jobs_here import run_jobs_here, share_programs
from testing.small_runs import tiny_base
from testing.teacher_runs import chunks_artifact, sample_chunks, served_by_transformers, teacher_at
from testing.teacher_server import Reply, TeacherServer, completion, good_answer, serve
from testing.waiting import wait_for

ROOT = Path(__file__).parents[3]
KEY = "sk-loopback-0123456789abcdef"


def everything_written(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)


def test_questions_of_a_server(tmp_path: Path) -> None:
    stores = [Store(tmp_path / name) for name in ("one", "two")]
    with serve() as server:
        teacher = teacher_at(server)
        chunks = chunks_artifact(stores[0], 6)
        answers = ask_server.fn(stores[0], chunks, teacher)
        calls = len(server.bodies)
        assert answers.count("calls") == calls > 6
        assert ask_server.fn(stores[0], chunks, teacher) == answers
        assert len(server.bodies) == calls, "asked again"
        # Elsewhere, in another order of arrival: the same bytes.
        assert ask_server.fn(stores[1], chunks_artifact(stores[1], 6), teacher).digest == answers.digest
    written = write_questions.fn(stores[0], chunks, answers, None, teacher)
    questions = read_jsonl(stores[0].path(written) / "raw_questions.jsonl", RawQuestion)
    assert len(questions) == 6 * 3 == written.count("questions")
    assert written.count("rejected") == 0
    ledger = json.loads((stores[0].path(answers) / "ledger.json").read_text())
    assert (ledger["tokens_in"], ledger["tokens_out"]) == (100 * calls, 50 * calls)


def test_what_cannot_be_used_is_in_a_file(tmp_path: Path) -> None:
    def script(number: int, body: dict[str, Any], headers: Mapping[str, str]) -> Reply | None:
        text = good_answer(body["messages"][0]["content"])
        return [Reply(body=completion("")), Reply(body=completion(text[: len(text) // 2])), None][number % 3]

    store = Store(tmp_path / "work")
    with serve(script) as server:
        teacher = teacher_at(server, concurrency=1)
        chunks = chunks_artifact(store, 6)
        written = write_questions.fn(store, chunks, ask_server.fn(store, chunks, teacher), None, teacher)
    rejected = read_jsonl(store.path(written) / "teacher_rejected.jsonl", Rejected)
    assert {"empty answer", "fewer questions than asked for"} == {item.reason for item in rejected}
    assert written.count("rejected") == len(rejected)


def test_a_refusal_is_one_line_and_the_key_is_nowhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that repeats the Authorization header in its errors and in its answers; the job is a real process."""
    monkeypatch.setenv("SOME_KEY", KEY)
    refused = False

    def script(number: int, body: dict[str, Any], headers: Mapping[str, str]) -> Reply | None:
        said = headers["authorization"]
        assert KEY in said
        if refused:
            return Reply(400, json.dumps({"error": {"message": f"{said} is no good"}}).encode())
        if number == 0:
            return Reply(500, said.encode())
        answer = json.loads(good_answer(body["messages"][0]["content"]))
        answer["questions"][0]["reason"] = f"As {said} shows."
        return Reply(body=completion(json.dumps(answer)))

    store = Store(tmp_path / "work")
    chunks = chunks_artifact(store, 3)
    with serve(script) as server:
        teacher = teacher_at(server, api_key_env="SOME_KEY")
        written = write_questions.fn(store, chunks, ask_server.fn(store, chunks, teacher), None, teacher)
        refused = True
        with pytest.raises(ValueError, match=r"refuses the call \(HTTP 400\); its message: Bearer \[key\]") as caught:
            ask_server.fn(store, chunks, teacher_at(server, api_key_env="SOME_KEY", seed=9))
    assert "\n" not in str(caught.value)
    said = capfd.readouterr()
    assert "HTTP 500" in caplog.text
    assert KEY not in str(caught.value) + caplog.text + said.err + said.out + everything_written(store.work_dir)
    questions = read_jsonl(store.path(written) / "raw_questions.jsonl", RawQuestion)
    assert any("Bearer [key]" in (question.reason or "") for question in questions)


def test_a_key_from_a_secret_block(prefect_server: str, tmp_path: Path) -> None:
    from prefect.blocks.system import Secret

    Secret(value=KEY).save("teacher-key")
    seen = set()

    def script(number: int, body: dict[str, Any], headers: Mapping[str, str]) -> Reply | None:
        seen.add(headers["authorization"])
        return None

    store = Store(tmp_path / "work")
    with serve(script) as server:
        chunks = chunks_artifact(store, 1)
        ask_server.fn(store, chunks, teacher_at(server, api_key_secret="teacher-key"))
        with pytest.raises(ValueError, match=r"no Prefect Secret block has the name in teacher\.api_key_secret"):
            ask_server.fn(store, chunks, teacher_at(server, api_key_secret="no-such-key"))
    assert seen == {f"Bearer {KEY}"}
    assert KEY not in everything_written(store.work_dir)


def test_a_killed_run_loses_no_call(tmp_path: Path) -> None:
    """SIGKILL in the middle: the calls on their way come to their end without it, and nothing is asked twice."""
    store = Store(tmp_path / "work")
    chunks = chunks_artifact(store, 8)
    with serve(seconds=0.3) as server:
        teacher = teacher_at(server, concurrency=3)
        run = f"""
from tasks.store.artifacts import Artifact
from tasks.store.store import Store
from tasks.stages.teacher import ask_server
from data.teacher.settings import TeacherSettings
ask_server.fn(Store({str(store.work_dir)!r}), Artifact.model_validate_json({chunks.model_dump_json()!r}),
              TeacherSettings.model_validate_json({teacher.model_dump_json()!r}))
"""
        with subprocess.Popen(
            [sys.executable, "-c", run], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        ) as process:
            wait_for(lambda: len(server.bodies) >= 5, 30)
            process.send_signal(signal.SIGKILL)
        begun = len(server.bodies)
        answers = ask_server.fn(store, chunks, teacher)
        assert begun < answers.count("calls") == len(server.bodies)
        assert max(server.asked.values()) == 1


def test_how_it_is_asked_is_no_part_of_the_cache_key(tmp_path: Path) -> None:
    store = Store(tmp_path / "work")
    chunks = chunks_artifact(store, 1)
    teacher = teacher_at("http://127.0.0.1:1/v1")
    key = ask_server.key(store, chunks, teacher)
    other = {"concurrency": 1, "timeout_seconds": 3.0, "max_retries": 0, "budget_tokens": 9, "api_key_env": "OTHER"}
    assert ask_server.key(store, chunks, teacher.model_copy(update=other)) == key
    for asked in ({"model": "n"}, {"seed": 1}, {"questions_per_chunk": 1}, {"base_url": "http://127.0.0.1:2/v1"}):
        assert ask_server.key(store, chunks, teacher.model_copy(update=asked)) != key


# Every setting of a teacher is live. These change what is asked:
ASKED: dict[str, Any] = {
    "model": "n",
    "questions_per_chunk": 1,
    "kinds": {"fact": 0, "why": 1},
    "max_questions": 2,
    "temperature": None,
    "seed": 1,
    "max_tokens": 7,
    "structured_output": False,
}


def here(server: TeacherServer, tmp_path: Path, name: str, key_variable: str = "NO_SUCH_KEY", **fields: Any) -> Path:
    """Ask in this process; the folder of the answers."""
    folder, teacher = tmp_path / name, teacher_at(server, **fields)
    calls = tuple(PlainCall(call.prompt, call.response_format) for call in plan_calls(sample_chunks(4), teacher))
    run_calls(EndpointJob(calls=calls, answers=str(folder), key_variable=key_variable, settings=teacher))
    return folder


@pytest.mark.parametrize("name", ASKED)
def test_every_setting_of_the_teacher_is_live(name: str, tmp_path: Path) -> None:
    with serve() as server:
        here(server, tmp_path, "first")
        first = [json.dumps(body) for body in server.bodies]
        server.bodies.clear()
        here(server, tmp_path, "second", **{name: ASKED[name]})
        assert sorted(first) != sorted(json.dumps(body) for body in server.bodies)


def test_every_setting_of_the_asking_is_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """base_url, concurrency, timeout_seconds, max_retries, price_in, price_out, budget_tokens, budget_cost."""
    monkeypatch.setattr(data.endpoint.failures, "FIRST_PAUSE_SECONDS", 0.01)
    with serve(seconds=0.3) as server, serve() as other:
        here(server, tmp_path, "three", concurrency=3)
        assert server.most_busy == 3
        here(other, tmp_path, "other")
        assert len(other.bodies) == len(server.bodies)
        for name, factor in (("price_in", 100), ("price_out", 50)):
            folder = here(other, tmp_path, name, **{name: 1.0})
            costs = [json.loads(line)["cost"] for line in (folder / "ledger.jsonl").read_text().splitlines()]
            assert costs == [factor / 1e6] * len(costs)
        for name, fields in (("budget_tokens", {}), ("budget_cost", {"price_out": 1.0})):
            with pytest.raises(ValueError, match="budget is spent"):
                here(other, tmp_path, name, **{name: 1e-9 if name == "budget_cost" else 1}, **fields)
        other.script = lambda number, body, headers: Reply(500, b"oops")
        for retries in (0, 2):
            with pytest.raises(ValueError, match=f"in {retries + 1} attempts"):
                here(other, tmp_path, f"retries{retries}", max_retries=retries)
        other.script = lambda number, body, headers: Reply(hangs=0.5)
        with pytest.raises(ValueError, match=r"no answer in 0.1 s"):
            here(other, tmp_path, "slow", max_retries=0, timeout_seconds=0.1)


def test_the_prompts_of_a_local_teacher_are_answered_by_jora_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_jobs_here(monkeypatch)
    store = Store(tmp_path / "work")
    share_programs(store)
    base = base_artifact(store, tiny_base(tmp_path / "base"))
    chunks = chunks_artifact(store, 1)
    teacher = TeacherSettings(kind="local", max_tokens=4, concurrency=2)
    prompts = ask_prompts.fn(store, chunks, base, teacher, "chat")
    answers = generate_answers.fn(store, base, None, prompts, local_generation(teacher))
    assert answers.count("answers") == len(plan_calls(sample_chunks(1), teacher))
    with pytest.raises(ValueError, match=r"no usable question in \d answers? \(no question in the answer"):
        write_questions.fn(store, chunks, answers, base, teacher)  # the model is random


def test_answers_of_a_local_teacher_are_read_like_those_of_a_server(tmp_path: Path) -> None:
    store = Store(tmp_path / "work")
    folder = tiny_base(tmp_path / "base")
    base, chunks = base_artifact(store, folder), chunks_artifact(store, 3)
    teacher = TeacherSettings(kind="local")
    tokenizer = load_tokenizer(folder)
    texts = [good_answer(call.prompt.message) for call in plan_calls(sample_chunks(3), teacher)]
    with store.build("answers") as build:
        ids = [str(place) for place in range(len(texts))]
        write_tokens(build.folder, "answers", ids, [np.array(tokenizer.encode(text), np.int32) for text in texts])
    written = write_questions.fn(store, chunks, build.artifact, base, teacher)
    assert (written.count("questions"), written.count("rejected")) == (9, 0)


def base_artifact(store: Store, folder: Path) -> Artifact:
    with store.build("base-model") as build:
        for path in folder.iterdir():
            build.link(path.name, path)
    return build.artifact


@pytest.mark.slow
def test_smollm2_behind_a_real_server(tmp_path: Path) -> None:
    """`transformers serve` over the OpenAI protocol. The model is too small for good questions; the way counts."""
    model = tmp_path / "smollm2"
    model.mkdir()
    import_gguf(resolve_base("embedded"), model)
    store = Store(tmp_path / "work")
    chunks = chunks_artifact(store, 1)
    with served_by_transformers(model, tmp_path / "serve.log") as url:
        teacher = teacher_at(url, model=str(model), max_tokens=8, max_questions=1, concurrency=1, temperature=0)
        answers = ask_server.fn(store, chunks, teacher)
    ledger = json.loads((store.path(answers) / "ledger.json").read_text())
    assert ledger["calls"] == answers.count("calls") >= 1
    assert ledger["calls_with_estimated_tokens"] == 0
    assert ledger["tokens_in"] > 200 and 0 < ledger["tokens_out"] <= 8 * ledger["calls"]
    # The server is gone, and what it said is here.
    assert ask_server.fn(store, chunks, teacher) == answers
    with pytest.raises(ValueError, match="no usable question"):
        write_questions.fn(store, chunks, answers, None, teacher)
