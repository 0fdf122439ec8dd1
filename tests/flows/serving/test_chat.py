"""System messages, earlier turns, and what a reply looks like, through real HTTP."""

import json
from typing import Any

import httpx
import openai
import pytest

from data.prompting.prompts import MARKERS, raft_output
from flows.serving import chat as chat_module
from jora_model.spec.settings import GenerationSettings
from tasks.answering.answering import answer_together
from testing.chat_servers import QUESTIONS, body, client, serving, writing

CHAT = "/v1/chat/completions"
SYSTEM = "Answer like a pirate of few words."


def ask(url: str, **more: Any) -> dict[str, Any]:
    answer = httpx.post(url + CHAT, json=body(**more), timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def turn(role: str, content: object) -> dict[str, object]:
    return {"role": role, "content": content}


FOLLOW_UP = [turn("user", "Who broke a collarbone?"), turn("assistant", "Ines."), turn("user", "Where did she?")]


@pytest.mark.parametrize("model", ["base", "latest"])
def test_a_system_message_stands_before_the_task(url, opened, model):
    answering, config = opened
    asked = answering.ask(QUESTIONS[0], answering.find(model), SYSTEM)
    ((_, _, answer), *_) = list(answer_together(answering.engine, [asked], config.generation))[-1:]
    question = turn("user", [{"type": "text", "text": QUESTIONS[0]}])
    messages = [turn("system", SYSTEM.partition(" of")[0]), turn("developer", "of few words."), question]
    given = ask(url, model=model, messages=[turn("system", SYSTEM), question])
    assert given["choices"][0]["message"]["content"] == answer.parsed.answer
    assert given["usage"]["prompt_tokens"] == len(asked.tokens) > ask(url, model=model)["usage"]["prompt_tokens"]
    text = answering.decode(asked.tokens)
    assert text.index(SYSTEM) < text.index("[1]") < text.index(QUESTIONS[0]), "system, documents, question"
    plain = answering.decode(answering.ask(QUESTIONS[0], answering.find(model)).tokens)
    assert text.replace(f"{SYSTEM}\n\n", "") == plain, "before the task, and nothing else has changed"
    both = answering.ask(QUESTIONS[0], answering.find(model), "Answer like a pirate\n\nof few words.")
    assert ask(url, model=model, messages=messages)["usage"]["prompt_tokens"] == len(both.tokens)


def test_earlier_turns_rewrite_the_question(url, said, monkeypatch):
    """What the base model writes is checked, and what is asked instead is what the answer is to."""
    seen: list[tuple[object, ...]] = []

    def rewritten(question: str, turns: list[tuple[str, str]], text: str) -> str:
        seen.append((question, turns, text))
        return QUESTIONS[1]

    monkeypatch.setattr(chat_module, "rewritten", rewritten)
    for stream in (False, True):
        if stream:
            chunks = list(client(url).chat.completions.create(**body(stream=True, messages=FOLLOW_UP)))
            content = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            question = chunks[0].model_extra["question"]
        else:
            given = ask(url, messages=FOLLOW_UP)
            content, question = given["choices"][0]["message"]["content"], given["question"]
        assert (question, content) == (QUESTIONS[1], said["latest", QUESTIONS[1]])
    assert len(seen) == 2 and seen[0] == seen[1]
    question, turns, text = seen[0]
    assert question == "Where did she?" and turns == [("user", QUESTIONS[0]), ("assistant", "Ines.")]
    assert isinstance(text, str) and "\n" not in text
    assert ask(url)["question"] == QUESTIONS[0] and len(seen) == 2, "a single question is asked as it is"


def test_what_cannot_be_rewritten_is_asked_as_it_stands(url, said):
    """The small model writes nonsense, which is dropped; and turns that are too long are not shown."""
    long = [turn("user", "word " * 500), turn("assistant", ""), turn("user", QUESTIONS[0])]
    for messages in ([*FOLLOW_UP[:2], turn("user", QUESTIONS[0])], long):
        given = ask(url, messages=messages)
        assert given["question"] == QUESTIONS[0]
        assert given["choices"][0]["message"]["content"] == said["latest", QUESTIONS[0]]


def test_earlier_turns_can_be_refused_or_ignored(opened, monkeypatch):
    monkeypatch.setattr(chat_module, "rewritten", None)
    with serving(*opened, earlier_turns="refuse") as url:
        refused = httpx.post(url + CHAT, json=body(messages=FOLLOW_UP))
        assert refused.status_code == 400 and refused.json()["error"]["code"] == "earlier_turns"
        assert "2 messages before the last one" in refused.json()["error"]["message"]
        assert ask(url, messages=[turn("system", SYSTEM), FOLLOW_UP[-1]])["question"] == "Where did she?"
    with serving(*opened, earlier_turns="ignore") as url:
        assert ask(url, messages=FOLLOW_UP)["question"] == "Where did she?"


def test_the_last_message_is_the_question(url):
    for messages in (FOLLOW_UP[:2], [turn("user", "Who?"), turn("assistant", "I."), turn("user", None)]):
        refused = httpx.post(url + CHAT, json=body(messages=messages))
        assert refused.status_code == 400 and "the last message must be of role user" in refused.text
    after = [*FOLLOW_UP[-1:], turn("system", SYSTEM)]
    assert ask(url, messages=after)["question"] == "Where did she?", "some clients put instructions last"


QUOTE = "It opened in 1931."
#: What a tuned model writes -> its reply as "answer" (content, reasoning_content) and as "text" (content).
WRITTEN = {
    raft_output("1931", [QUOTE]): ("1931", f'"{QUOTE}"', f'"{QUOTE}"\n\n1931'),
    raft_output("9", [QUOTE, "Two."], "Both say so."): (
        "9",
        f'Both say so.\n"{QUOTE}"\n"Two."',
        f'Both say so.\n"{QUOTE}"\n"Two."\n\n9',
    ),
    "##Answer: plain": ("plain", "", "plain"),
    "no marker at all": ("no marker at all", "", "no marker at all"),
    "It is ##begin_quote##here##end_quote##": ("", 'It is\n"here"', 'It is\n"here"'),
    "##Answer: 9 ##end_quote## and": ("9", "", "9"),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_a_reply_shows_no_markers(opened, monkeypatch, written):
    answering, _ = opened
    content, reasoning, text = WRITTEN[written]
    with serving(*opened) as url, serving(*opened, reply_format="text") as texts:
        writing(monkeypatch, answering._tokenizer.encode(written))
        for server, asked, expected in (
            (url, None, (content, reasoning)),
            (url, "text", (text, None)),
            (texts, None, (text, None)),
            (texts, "answer", (content, reasoning)),
        ):
            given = ask(server, reply_format=asked)
            message = given["choices"][0]["message"]
            assert (message["content"], message.get("reasoning_content")) == expected
            assert {quote["text"] for quote in given["quotes"]} <= {QUOTE, "Two.", "here"} and given["sources"]
            streamed = _streamed(server, reply_format=asked)
            assert streamed == (expected[0], expected[1] or "")
            assert not any(marker in json.dumps(message) + str(streamed) for marker in MARKERS)


def _streamed(url: str, **more: Any) -> tuple[str, str]:
    deltas = []
    with httpx.stream("POST", url + CHAT, json=body(stream=True, **more), timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                deltas += [choice["delta"] for choice in json.loads(line.removeprefix("data: "))["choices"]]
    return tuple("".join(delta.get(name, "") for delta in deltas) for name in ("content", "reasoning_content"))


def test_a_stop_string_ends_a_tuned_models_answer(opened, monkeypatch):
    """Whose text begins without a marker: it is held back, but not beyond the stop string."""
    answering, _ = opened
    tokens = answering._tokenizer.encode("It was in March, they say, and ended in June.")
    with serving(*opened) as url:
        writing(monkeypatch, tokens)
        given = ask(url, stop=[", they", "June"])
        (choice,) = given["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("It was in March", "stop")
        assert given["usage"]["completion_tokens"] < len(tokens) - 4
        assert _streamed(url, stop=", they") == ("It was in March", "")


def test_a_stop_string_ends_what_the_tuned_model_really_writes(url, said):
    question = next(question for question in QUESTIONS if len(said["latest", question]) > 8)
    whole = said["latest", question]
    stop = whole[4:7]
    given = ask(url, question=question, stop=stop)
    (choice,) = given["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (whole.partition(stop)[0].rstrip(), "stop")
    assert given["usage"]["completion_tokens"] < ask(url, question=question)["usage"]["completion_tokens"]


def test_settings_of_the_run_reach_the_answer(opened, monkeypatch):
    """Those that no request has as well: a run with free quotes is served with free quotes."""
    answering, config = opened
    generation = GenerationSettings(quotes="free", max_new_tokens=7, repetition_penalty=1.5, temperature=1, top_k=3)
    requests = writing(monkeypatch, answering._tokenizer.encode("##Answer: yes"))
    with serving(answering, config.model_copy(update={"generation": generation})) as url:
        ask(url)
        ask(url, top_k=0, repetition_penalty=1.0, temperature=0.5)
    assert requests[0].settings == generation and requests[0].guide is None
    changes = {"top_k": None, "repetition_penalty": 1.0, "temperature": 0.5}
    assert requests[1].settings == generation.model_copy(update=changes)


def test_a_client_that_sends_back_our_replies(url):
    """Fields of the reply come back in the conversation."""
    given = client(url).chat.completions.create(**body())
    messages = [
        turn("user", QUESTIONS[0]),
        given.choices[0].message.model_dump(),
        turn("user", QUESTIONS[1]),
    ]
    assert client(url).chat.completions.create(model="latest", messages=messages).choices  # type: ignore[arg-type]
    with pytest.raises(openai.BadRequestError, match="this server calls no tools"):
        called = {"role": "assistant", "tool_calls": [{"id": "1"}]}
        client(url).chat.completions.create(model="latest", messages=[called, messages[0]])  # type: ignore[list-item]
