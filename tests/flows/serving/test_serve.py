"""`jora serve` as its clients see it: OpenAI's own client against a real server on a small run."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from typing import Any

import httpx
import openai
import pytest

from jora_model.generation.engine import Engine
from jora_model.spec.settings import GenerationSettings
from tasks.records.models import Registry
from testing.chat_servers import body, client, hang_up, health, serving
from testing.command_line import JORA, ROOT, jora
from testing.waiting import wait_for

CHAT = "/v1/chat/completions"
LONG = {"max_tokens": 700}


def test_answers_are_those_of_ask(url, said, work):
    name = Registry(work).all()[0].name
    for (model, question), answer in said.items():
        given = client(url).chat.completions.create(**body(question, model=model))
        assert given.choices[0].message.content == answer
        assert given.model == ("base" if model == "base" else name)
        assert given.usage.total_tokens == given.usage.prompt_tokens + given.usage.completion_tokens
        assert 0 < given.usage.completion_tokens <= 24 and given.choices[0].finish_reason in ("stop", "length")
        sources = given.model_extra["sources"]
        assert len(sources) == 2 and sources[0]["text"] and sources[0]["document"].endswith((".md", ".txt"))
        assert isinstance(given.model_extra["quotes"], list)


def test_a_stream_says_the_same(url, said):
    for (model, question), answer in said.items():
        options = {"include_usage": True}
        stream = client(url).chat.completions.create(**body(question, model=model, stream=True, stream_options=options))
        chunks = list(stream)
        whole = client(url).chat.completions.create(**body(question, model=model))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
        assert text == answer == whole.choices[0].message.content
        assert chunks[0].model_extra["sources"] == whole.model_extra["sources"]
        assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
        assert chunks[-2].model_extra["quotes"] == whole.model_extra["quotes"]
        assert chunks[-1].usage == whole.usage and not chunks[-1].choices


def test_models(url, work):
    name = Registry(work).all()[0].name
    listed = {model.id: model.model_extra["root"] for model in client(url).models.list()}
    assert listed == {"latest": name, "champion": name, "base": "base", name: name}
    assert client(url).models.retrieve("champion").id == "champion"
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'"):
        client(url).models.retrieve("gpt")


def test_tokens_draws_and_stop_strings(url):
    def answer(**more: Any) -> tuple[str, str]:
        choice = client(url).chat.completions.create(**body(model="base", **more)).choices[0]
        return choice.message.content or "", choice.finish_reason

    short, why = answer(max_tokens=3)
    whole, _ = answer()
    assert why == "length" and whole.startswith(short) and len(short) < len(whole)
    drawn = [answer(temperature=1.5, top_p=0.9, seed=seed)[0] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert answer(temperature=0, top_p=0.5) == answer(temperature=0.0)
    middle = whole[len(whole) // 2 :][:3]
    assert answer(stop=[middle, "never"]) == (whole.partition(middle)[0], "stop")


BAD = {
    "no JSON": (b"{", 400, "invalid_json"),
    "half a character": (b'{"model": "\\ud800"}', 400, "invalid_json"),
    "a list": (b"[]", 400, "invalid_value"),
    "deep": (b"[" * 5000, 400, "invalid_json"),
    "nothing": ({}, 400, "invalid_value"),
    "no messages": ({"messages": []}, 400, "invalid_value"),
    "no question": ({"messages": [{"role": "system", "content": "x"}]}, 400, "invalid_value"),
    "blank": ({"messages": [{"role": "user", "content": " \n"}]}, 400, "invalid_value"),
    "a picture": ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "invalid_value"),
    "a role": ({"messages": [{"role": "king", "content": "x"}]}, 400, "invalid_value"),
    "two": ({"n": 2}, 400, "invalid_value"),
    "hot": ({"temperature": 3}, 400, "invalid_value"),
    "text for a number": ({"max_tokens": "5"}, 400, "invalid_value"),
    "tools": ({"tools": [{}]}, 400, "invalid_value"),
    "unknown": ({"beam_width": 3}, 400, "unknown_parameter"),
    "many tokens": ({"max_tokens": 901}, 400, None),
    "a long question": ({"messages": [{"role": "user", "content": "why " * 1100}]}, 400, "context_length_exceeded"),
    "too many positions": (
        {"messages": [{"role": "user", "content": "why " * 700}], **LONG},
        400,
        "context_length_exceeded",
    ),
    "no such model": ({"model": "gpt"}, 404, "model_not_found"),
    "large": ({"user": "x" * 10_001}, 413, "body_too_large"),
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", BAD)
def test_refusals(url, what, stream):
    given, status, code = BAD[what]
    content = given if isinstance(given, bytes) else json.dumps(body(stream=stream) | given if given else {}).encode()
    answer = httpx.post(url + CHAT, content=content, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["message"] and error["type"] and set(error) == {"message", "type", "param", "code"}
    assert health(url)["busy"] == 0


def test_other_refusals(url):
    def error(method: str, path: str, **more: Any) -> tuple[int, str]:
        answer = httpx.request(method, url + path, **more)
        return answer.status_code, answer.json()["error"]["message"]

    assert error("POST", CHAT, content="{}", headers={"content-type": "text/plain"})[0] == 415
    assert error("GET", CHAT) == (405, f"GET {CHAT}: Method Not Allowed")
    assert error("GET", "/v2")[0] == 404
    assert error("POST", CHAT, json=body(), headers={"host": "evil.example"})[0] == 403
    huge = httpx.post(
        url + CHAT, content=(b"x" * 65536 for _ in range(64)), headers={"content-type": "application/json"}
    )
    assert huge.status_code == 413, "without a length given"


def test_a_key(opened):
    with serving(*opened, key="secret") as url:
        for key in ("wrong", "sécret"):
            headers = {"authorization": f"Bearer {key}".encode(), "host": "elsewhere.example"}
            answer = httpx.post(url + CHAT, json=body(), headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        with pytest.raises(openai.AuthenticationError):
            client(url).models.list()
        assert client(url, "secret").chat.completions.create(**body(max_tokens=1)).choices
        assert "secret" not in str(httpx.get(f"{url}/health").json())


def test_too_many_at_once_and_a_client_that_hangs_up(opened):
    with serving(*opened, slots=1, queue=0) as url:
        stream = client(url).chat.completions.create(**body(stream=True, model="base", **LONG))
        next(iter(stream))
        with pytest.raises(openai.RateLimitError) as refused:
            client(url).chat.completions.create(**body())
        assert int(refused.value.response.headers["retry-after"]) >= 1
        stream.close()
        wait_for(lambda: health(url)["busy"] == health(url)["seated"] == 0, 10)
        hang_up(url, body(model="base", **LONG), 0.3)
        wait_for(lambda: health(url)["busy"] == health(url)["seated"] == 0, 10)
        assert client(url).chat.completions.create(**body()).choices


def test_time_is_limited(opened):
    with serving(*opened, request_seconds=0.5) as url:
        with pytest.raises(openai.InternalServerError) as late:
            client(url).chat.completions.create(**body(model="base", **LONG))
        assert late.value.status_code == 504 and late.value.code == "timeout"
        with pytest.raises(openai.APIError, match=r"no answer in 0.5 s"):
            list(client(url).chat.completions.create(**body(model="base", stream=True, **LONG)))
        wait_for(lambda: health(url)["busy"] == health(url)["seated"] == health(url)["waiting"] == 0, 10)


def test_many_clients_get_their_own_answers(url, said):
    wrong: list[object] = []

    def ask(number: int) -> None:
        (model, question), answer = list(said.items())[number % len(said)]
        given = client(url).chat.completions.create(**body(question, model=model)).choices[0].message.content
        if given != answer:
            wrong.append((model, question, given, answer))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_broken_generator_is_no_silence(opened, monkeypatch):
    def broken(engine: Engine) -> None:
        raise MemoryError("no more")

    with serving(*opened) as url:
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "step", broken)
            for _ in range(2):
                with pytest.raises(openai.InternalServerError) as failed:
                    client(url).chat.completions.create(**body())
                assert failed.value.status_code == 503
        assert httpx.get(f"{url}/health").status_code == 503


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "others can reach 0.0.0.0: set a key in JORA_API_KEY, or listen at 127.0.0.1"),
        (["--host", "192.0.2.1", "--port", "1"], "others can reach 192.0.2.1"),
        (["--request-seconds", "0"], "--request-seconds: Input should be greater than 0 (given: 0.0)"),
    ],
)
def test_what_a_person_did_wrong(monkeypatch, capsys, work, arguments, message):
    monkeypatch.delenv("JORA_API_KEY", raising=False)
    code, line = jora(monkeypatch, capsys, "serve", "--work-dir", work, *arguments)
    assert code == 2 and message in line


def test_a_port_that_is_taken(monkeypatch, capsys, work, url):
    code, line = jora(monkeypatch, capsys, "serve", "--work-dir", work, "--port", url.rpartition(":")[2])
    assert code == 2 and "choose another --port" in line


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_in_order(work, tmp_path, number):
    log = tmp_path / "log"
    command = [*JORA, "serve", "--work-dir", str(work), "--port", "0", "--model", "base", "--slots", "2"]
    with log.open("wb") as file, subprocess.Popen(command, cwd=ROOT, stderr=file, env=os.environ) as process:
        try:
            wait_for(lambda: process.poll() is not None or b"Started server" in log.read_bytes(), 60)
            (url,) = re.findall(r"serving (http://\S+)/v1", log.read_text())
            stream = client(url).chat.completions.create(**body(stream=True, model="base", max_tokens=200))
            next(iter(stream))
            process.send_signal(number)
            reasons = [chunk.choices[0].finish_reason for chunk in stream]
            assert reasons[-1] in ("length", "stop"), "what was begun is finished"
            assert process.wait(30) == 0
            assert "Traceback" not in log.read_text()
        finally:
            process.kill()


def test_who_is_not_done_in_time_hears_of_it(opened):
    answering, config = opened
    heard: list[Exception] = []
    with serving(answering, config, grace_seconds=0.2) as url:

        def ask() -> None:
            try:
                list(client(url).chat.completions.create(**body(stream=True, model="base", **LONG)))
            except openai.APIError as error:
                heard.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        wait_for(lambda: health(url)["seated"] == 1)
        began = time.monotonic()
    thread.join()
    assert time.monotonic() - began < 10
    assert "the server is shutting down" in str(heard[0])
    assert isinstance(answering.engine, Engine) and answering.engine.idle
    assert isinstance(config.generation, GenerationSettings)
