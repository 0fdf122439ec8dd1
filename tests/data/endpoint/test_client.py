"""A teacher behind a server that misbehaves in every usual way, over a real connection."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import data.endpoint.failures
from data.endpoint.client import Endpoint, Interrupted
from data.endpoint.kept_answers import AnswerBook, call_key
from data.teacher.plan import TeacherCall, plan_calls
from data.teacher.settings import KindShares, TeacherSettings
from testing.raft_corpus import make_chunk
from testing.teacher_server import Reply, Script, TeacherServer, completion, good_answer, serve
from testing.waiting import wait_for

KEY = "sk-loopback-0123456789abcdef"
FACTS = KindShares(fact=1, why=0, how_to=0, compare=0, unanswerable=0)
CHUNKS = [make_chunk(f"c{n}", f"The mill number {n} opened in the year 19{n:02}.", "mills") for n in range(6)]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.endpoint.failures, "FIRST_PAUSE_SECONDS", 0.02)


def settings_for(server: TeacherServer, **fields: Any) -> TeacherSettings:
    given = {"kind": "endpoint", "base_url": server.base_url, "model": "m", "kinds": FACTS, "questions_per_chunk": 1}
    return TeacherSettings(**given | {"timeout_seconds": 5.0, "concurrency": 2} | fields)


def keyed(settings: TeacherSettings) -> dict[str, TeacherCall]:
    return {call_key(call, settings): call for call in plan_calls(CHUNKS, settings)}


def ask(settings: TeacherSettings, folder: Path, key: str | None = KEY) -> dict[str, str]:
    """Answers by call."""
    book = AnswerBook(folder)
    calls = keyed(settings)
    with book.held():
        asyncio.run(Endpoint(settings, book, key).ask(calls))
    answers = {name: book.get(name) for name in calls}
    return {name: answer.text for name, answer in answers.items() if answer}


def ledger(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


def at_first(*replies: Reply) -> Script:
    """These replies to the first requests, then good answers."""

    def script(number: int, body: dict[str, Any], headers: Mapping[str, str]) -> Reply | None:
        return replies[number] if number < len(replies) else None

    return script


def always(reply: Reply) -> Script:
    return lambda number, body, headers: reply


def error(status: int, message: str, **more: Any) -> Reply:
    return Reply(status, json.dumps({"error": {"message": message, **more}}).encode())


def test_every_call_is_answered_once_and_kept(tmp_path: Path) -> None:
    with serve() as server:
        settings = settings_for(server)
        answers = ask(settings, tmp_path)
        assert len(answers) == len(CHUNKS) == len(server.bodies)
        assert answers == {name: good_answer(call.prompt.message) for name, call in keyed(settings).items()}
        assert ask(settings, tmp_path) == answers
        assert len(server.bodies) == len(CHUNKS), "asked again"
    entries = ledger(tmp_path)
    assert [entry["outcome"] for entry in entries] == ["answered"] * len(CHUNKS)
    assert sum(entry["tokens_in"] + entry["tokens_out"] for entry in entries) == 150 * len(CHUNKS)


def test_the_same_call_twice_is_asked_once(tmp_path: Path) -> None:
    with serve() as server:
        settings = settings_for(server)
        twice = [make_chunk(name, "The mill opened in 1931.", "mills") for name in ("a", "b")]
        calls = {call_key(call, settings): call for call in plan_calls(twice, settings)}
        book = AnswerBook(tmp_path)
        with book.held():
            asyncio.run(Endpoint(settings, book, None).ask(calls))
        assert len(server.bodies) == 1


TROUBLE = {
    "HTTP 429": error(429, "slow down"),
    "HTTP 500": Reply(500, b"oops"),
    "HTTP 503": error(503, "overloaded"),
    "no connection": Reply(resets=True),
    "no connection (cut)": Reply(body=completion("x")[:40], missing=40),
    "no answer in 1 s": Reply(hangs=20),
    "an answer that is not JSON": Reply(body=completion("x")[:40]),
    "an answer that is not a chat completion": Reply(body=b'{"error": "later"}'),
    "an answer that is not a chat completion (list)": Reply(body=b"[]"),
    "an answer that is not a chat completion (page)": Reply(body=b"<html>", headers={"Content-Type": "text/html"}),
    "an answer that is not a chat completion (empty)": Reply(body=b'{"choices": []}'),
}


@pytest.mark.parametrize("how", TROUBLE)
def test_trouble_is_tried_again(how: str, tmp_path: Path) -> None:
    with serve(at_first(TROUBLE[how], TROUBLE[how])) as server:
        answers = ask(settings_for(server, timeout_seconds=1 if how == "no answer in 1 s" else 20), tmp_path)
        assert len(answers) == len(CHUNKS)
        assert len(server.bodies) == len(CHUNKS) + 2
    failed = [entry["outcome"] for entry in ledger(tmp_path) if entry["outcome"] != "answered"]
    assert len(failed) == 2
    assert all(outcome.startswith(how.split(" (")[0]) for outcome in failed)


@pytest.mark.parametrize("text", ["", '{"questions": [{"quest', "no JSON at all"])
def test_an_answer_that_is_of_no_use_is_paid_and_kept(text: str, tmp_path: Path) -> None:
    with serve(always(Reply(body=completion(text, tokens=None)))) as server:
        settings = settings_for(server)
        assert set(ask(settings, tmp_path).values()) == {text}
        assert len(server.bodies) == len(CHUNKS)
        kept = AnswerBook(tmp_path).get(next(iter(keyed(settings))))
        assert kept is not None and kept.estimated and kept.tokens_in > 100


def test_the_server_says_when_to_come_back(tmp_path: Path) -> None:
    with serve(at_first(Reply(429, b"{}", {"Retry-After": "1"}))) as server:
        start = time.monotonic()
        assert len(ask(settings_for(server), tmp_path)) == len(CHUNKS)
        assert time.monotonic() - start > 1.0  # and not the 0.02 s of the first pause


def test_a_date_to_come_back_is_read_and_a_day_is_not_waited_for(tmp_path: Path) -> None:
    late = Reply(429, b"{}", {"Retry-After": "Wed, 01 Jan 2098 00:00:00 GMT"})
    with serve(always(late)) as server, pytest.raises(ValueError, match="asks to wait"):
        ask(settings_for(server), tmp_path)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (error(400, "this model has 2048 positions"), "refuses the call .HTTP 400.; its message: this model has 2048"),
        (error(401, f"wrong key {KEY}"), "refuses the key in OPENAI_API_KEY"),
        (error(403, f"wrong key {KEY}"), "refuses the key in OPENAI_API_KEY"),
        (error(404, "no such model"), "no model 'm' .HTTP 404.*no such model"),
        (error(429, "no money", code="insufficient_quota"), "has no credit left"),
    ],
)
def test_what_a_person_must_correct_is_not_tried_again(reply: Reply, words: str, tmp_path: Path) -> None:
    with serve(always(reply)) as server:
        with pytest.raises(ValueError, match=words) as caught:
            ask(settings_for(server, concurrency=1), tmp_path)
        assert len(server.bodies) == 1
    assert "\n" not in str(caught.value) and KEY not in str(caught.value)


def test_a_server_that_wants_a_key(tmp_path: Path) -> None:
    with serve(always(error(401, "key"))) as server, pytest.raises(ValueError, match="OPENAI_API_KEY holds none"):
        ask(settings_for(server), tmp_path, key=None)


def test_attempts_come_to_an_end_and_what_is_kept_is_kept(tmp_path: Path) -> None:
    def script(number: int, body: dict[str, Any], headers: Mapping[str, str]) -> Reply | None:
        return Reply(500, b"oops") if "mill number 3" in body["messages"][0]["content"] else None

    with serve(script) as server:
        settings = settings_for(server, max_retries=2, concurrency=1)
        with pytest.raises(ValueError, match=r"in 3 attempts \(last: HTTP 500\); 3 of 6 calls are"):
            ask(settings, tmp_path)
        asked = len(server.bodies)
        server.script = at_first()
        assert len(ask(settings, tmp_path)) == len(CHUNKS)
        assert len(server.bodies) == asked + 3


@pytest.mark.parametrize(
    ("field", "words", "instead"),
    [
        ("response_format", "response_format is not supported", None),
        ("response_format", "json_schema is an unknown type", None),
        ("max_tokens", "Unsupported parameter: use max_completion_tokens", "max_completion_tokens"),
    ],
)
def test_a_field_that_the_server_does_not_take_is_left_out(
    field: str, words: str, instead: str | None, tmp_path: Path
) -> None:
    def script(number: int, body: dict[str, Any], headers: Mapping[str, str]) -> Reply | None:
        return error(400, words) if field in body else None

    with serve(script) as server:
        assert len(ask(settings_for(server, concurrency=3), tmp_path)) == len(CHUNKS)
        assert len(server.bodies) <= len(CHUNKS) + 3
        assert instead is None or server.bodies[-1][instead] == 1024


def test_the_number_of_calls_at_once(tmp_path: Path) -> None:
    with serve(seconds=0.3) as server:
        ask(settings_for(server, concurrency=3), tmp_path)
        assert server.most_busy == 3


def test_a_budget_stops_before_it_is_gone_and_a_higher_one_goes_on(tmp_path: Path) -> None:
    with serve() as server:
        settings = settings_for(server, max_tokens=50, budget_tokens=1_200, concurrency=4)
        with pytest.raises(ValueError, match=r"budget is spent: \d+ tokens for [1-5] of 6 calls; \d calls remain"):
            ask(settings, tmp_path)
        asked = len(server.bodies)
        assert 0 < asked < len(CHUNKS)
        with pytest.raises(ValueError, match="budget is spent"):
            ask(settings, tmp_path)
        assert len(server.bodies) == asked
        assert len(ask(settings.model_copy(update={"budget_tokens": 100_000}), tmp_path)) == len(CHUNKS)
        assert len(server.bodies) == len(CHUNKS)


def test_a_budget_of_money(tmp_path: Path) -> None:
    with serve() as server:
        settings = settings_for(server, max_tokens=50, price_in=10, price_out=100, budget_cost=0.02)
        with pytest.raises(ValueError, match=r"tokens \(cost 0.0\d+\) for"):
            ask(settings, tmp_path)
    spent = sum(entry["cost"] for entry in ledger(tmp_path))
    assert 0 < spent <= 0.02


# What the server took and did not answer will be paid; what it turned away will not.
TAKEN = [how for how in TROUBLE if not how.startswith(("HTTP 429", "HTTP 503"))]


@pytest.mark.parametrize("how", TROUBLE)
def test_an_attempt_that_the_server_took_counts(how: str, tmp_path: Path) -> None:
    with serve(at_first(TROUBLE[how])) as server:
        settings = settings_for(server, timeout_seconds=1 if how == "no answer in 1 s" else 20, price_in=1.0)
        ask(settings, tmp_path)
    failed = [entry for entry in ledger(tmp_path) if entry["outcome"] != "answered"]
    assert len(failed) == 1
    prompt = len(keyed(settings)[failed[0]["call"]].prompt.message.encode()) // 4
    assert prompt > 200
    assert failed[0]["tokens_in"] == (prompt if how in TAKEN else 0) and failed[0]["estimated"]
    assert failed[0]["cost"] == failed[0]["tokens_in"] / 1e6
    lost = AnswerBook(tmp_path).lost(keyed(settings).keys())
    assert (lost.prompts, lost.answers) == (failed[0]["tokens_in"], 0)


def test_a_server_that_cannot_be_reached_costs_nothing(tmp_path: Path) -> None:
    with serve() as server:
        settings = settings_for(server, max_retries=0, concurrency=1)
    with pytest.raises(ValueError, match="no connection"):
        ask(settings, tmp_path)
    assert [entry["tokens_in"] for entry in ledger(tmp_path)] == [0]


def test_attempts_that_time_out_use_up_the_budget_and_stay_counted(tmp_path: Path) -> None:
    with serve(always(Reply(hangs=20))) as server:
        settings = settings_for(
            server, timeout_seconds=0.3, max_retries=99, max_tokens=50, budget_tokens=1_500, concurrency=1
        )
        words = r"budget is spent: ([\d,]+) tokens for 0 of 6 calls \(an estimated \1 of them for failed attempts"
        with pytest.raises(ValueError, match=words):
            ask(settings, tmp_path)
        asked = len(server.bodies)
        assert 1 < asked < 6
        assert sum(entry["tokens_in"] for entry in ledger(tmp_path)) + 50 <= 1_500
        server.script = at_first()
        with pytest.raises(ValueError, match=words):  # a run of its own finds it spent
            ask(settings, tmp_path)
        assert len(server.bodies) == asked
        assert len(ask(settings.model_copy(update={"budget_tokens": 100_000}), tmp_path)) == len(CHUNKS)


def test_calls_cut_off_with_the_process_that_asked_are_found(tmp_path: Path) -> None:
    with serve(seconds=30) as server:
        settings = settings_for(server, concurrency=2)
        pid = os.fork()
        if not pid:
            try:
                ask(settings, tmp_path)
            finally:
                os._exit(1)
        wait_for(lambda: len(server.bodies) == 2, 30)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        server.seconds = 0
        assert len(ask(settings, tmp_path)) == len(CHUNKS)
    cut = [entry for entry in ledger(tmp_path) if entry["outcome"] == "cut off with its process"]
    assert len(cut) == 2 and all(entry["tokens_in"] > 200 for entry in cut)
    assert not list((tmp_path / "sent").iterdir())


def test_told_to_stop_it_keeps_the_calls_on_their_way(tmp_path: Path) -> None:
    with serve(seconds=0.5) as server:
        settings = settings_for(server, concurrency=2)
        book = AnswerBook(tmp_path)

        async def ask_and_stop() -> None:
            endpoint = Endpoint(settings, book, KEY)
            asking = asyncio.create_task(endpoint.ask(keyed(settings)))
            while len(server.bodies) < 2:
                await asyncio.sleep(0.01)
            endpoint.stop()
            await asking

        with book.held(), pytest.raises(Interrupted):
            asyncio.run(ask_and_stop())
        assert len(server.bodies) == 2
        assert len(ledger(tmp_path)) == 2
        server.seconds = 0
        assert len(ask(settings, tmp_path)) == len(CHUNKS)
        assert max(server.asked.values()) == 1


def test_a_key_that_the_server_repeats_is_kept_nowhere(tmp_path: Path) -> None:
    def script(number: int, body: dict[str, Any], headers: Mapping[str, str]) -> Reply | None:
        said = headers["authorization"]
        assert KEY in said
        return error(500, said) if number == 0 else Reply(body=completion(f"You said {said}"))

    with serve(script) as server:
        answers = ask(settings_for(server), tmp_path)
    assert set(answers.values()) == {"You said Bearer [key]"}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not any(KEY in path.read_text() for path in files)


def test_answers_belong_to_what_was_asked() -> None:
    with serve() as server:
        first = settings_for(server)
        call = plan_calls(CHUNKS, first)[0]
        same = {"concurrency": 7, "timeout_seconds": 9, "budget_tokens": 5, "api_key_env": "OTHER", "price_in": 3}
        assert call_key(call, first.model_copy(update=same)) == call_key(call, first)
        for other in ({"model": "n"}, {"temperature": 0}, {"seed": 1}, {"max_tokens": 5}, {"structured_output": False}):
            assert call_key(call, first.model_copy(update=other)) != call_key(call, first)


def test_a_damaged_answer_is_asked_for_again(tmp_path: Path) -> None:
    with serve() as server:
        settings = settings_for(server)
        answers = ask(settings, tmp_path)
        path = next((tmp_path / "answers").rglob("*.json"))
        path.write_bytes(path.read_bytes()[:20])
        (tmp_path / "ledger.jsonl").write_text('{"cut off')
        assert ask(settings, tmp_path) == answers
        assert len(server.bodies) == len(CHUNKS) + 1
    assert len((tmp_path / "ledger.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("key", ["sk-first-half\nsk-second-half", "sk-with space", "sk-ключ"])
def test_what_can_be_no_key_is_refused_without_being_told(tmp_path: Path, key: str) -> None:
    settings = TeacherSettings(kind="endpoint", base_url="http://127.0.0.1:9/v1", model="m")
    with pytest.raises(ValueError, match="OPENAI_API_KEY holds no valid key") as caught:
        Endpoint(settings, AnswerBook(tmp_path), key)
    assert "sk-" not in str(caught.value)


def test_half_a_surrogate_is_kept_as_a_question_mark(tmp_path: Path) -> None:
    broken = completion('{"questions": [{"question": "When?\\ud800"}]} \ud800')
    with serve(at_first(Reply(broken))) as server:
        answers = ask(settings_for(server), tmp_path)
    assert any("?" in text for text in answers.values())
    assert all(text.encode() for text in answers.values())
