"""Every field that clients of other servers send is honoured, refused in one line, or ignored on purpose."""

import json
from typing import Any

import httpx
import pytest

from flows.serving.chat_request import ChatRequest
from flows.serving.completion_request import CompletionRequest
from flows.serving.request_fields import Refusal, read_request
from jora_model.spec.settings import GenerationSettings
from testing.chat_servers import body, serving, writing
from testing.command_line import ROOT

CHAT = "/v1/chat/completions"
DEFAULTS = GenerationSettings(max_new_tokens=50, temperature=0.7, top_k=9, frequency_penalty=0.1, quotes="free", seed=3)


def read(**given: Any) -> ChatRequest:
    return read_request(ChatRequest, json.dumps(body(**given)).encode())


def decoded(**given: Any) -> dict[str, object]:
    """What a request changes of the run's settings."""
    settings = read(**given).generation(DEFAULTS, 200)
    assert type(settings) is GenerationSettings
    return {name: value for name, value in settings if value != getattr(DEFAULTS, name)}


HONOURED = {
    "temperature": (1.2, {"temperature": 1.2}),
    "top_p": (0.3, {"top_p": 0.3}),
    "top_k": (40, {"top_k": 40}),
    "min_p": (0.05, {"min_p": 0.05}),
    "repetition_penalty": (1.1, {"repetition_penalty": 1.1}),
    "presence_penalty": (-2, {"presence_penalty": -2.0}),
    "frequency_penalty": (2, {"frequency_penalty": 2.0}),
    "seed": (2**32 - 1, {"seed": 2**32 - 1}),
    "max_tokens": (7, {"max_new_tokens": 7}),
    "max_completion_tokens": (8, {"max_new_tokens": 8}),
}


@pytest.mark.parametrize("name", HONOURED)
def test_fields_that_are_honoured(name):
    value, changes = HONOURED[name]
    assert decoded(**{name: value}) == changes
    assert decoded(**{name: None}) == decoded() == {}


def test_what_other_servers_mean_by_none():
    assert decoded(top_k=0) == decoded(top_k=-1) == {"top_k": None}
    assert decoded(top_p=1, min_p=0, repetition_penalty=1.0) == {}
    assert decoded(temperature=0, top_p=0.5, min_p=0.1) == {"temperature": 0.0, "top_k": None}
    assert decoded(temperature=1e-5) == decoded(temperature=0)
    assert decoded(max_tokens=7, max_completion_tokens=8) == {"max_new_tokens": 8}


def test_seeds():
    """-1 is another seed each time, as in vLLM and llama.cpp; large ones are different ones."""
    drawn = {read(seed=-1).generation(DEFAULTS, 200).seed for _ in range(20)}
    assert len(drawn) > 15 and all(0 <= seed < 2**32 for seed in drawn)
    large = [read(seed=seed).generation(DEFAULTS, 200).seed for seed in (2**32, 2**33, 2**63 - 1, 2**63 - 1)]
    assert len(set(large)) == 3 and large[2] == large[3] and 0 not in large


IGNORED = {
    "user": "me",
    "metadata": {"a": "b"},
    "store": True,
    "service_tier": "auto",
    "parallel_tool_calls": True,
    "safety_identifier": "x",
    "prompt_cache_key": "x",
    "cache_prompt": True,
    "keep_alive": "5m",
    "reasoning_effort": "low",
    "verbosity": "low",
    "n": 1,
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
    "tools": [],
    "tool_choice": "auto",
    "response_format": {"type": "text"},
    "modalities": ["text"],
    "stop": [],
}


def test_fields_that_change_nothing():
    assert decoded(**IGNORED) == {} and read(**IGNORED).stops == ()
    assert decoded(**dict.fromkeys(IGNORED)) == {}


REFUSED = {
    "n": (2, "n: one answer is given to a request; send several requests; leave it out, or give null or 1 (given: 2)"),
    "best_of": (3, "best_of: one answer is given"),
    "logprobs": (True, "logprobs: log probabilities are not given; leave it out, or give null or false"),
    "top_logprobs": (5, "top_logprobs: log probabilities are not given"),
    "logit_bias": ({"5": 1}, "logit_bias: tokens cannot be made more or less likely by name"),
    "tools": ([{"type": "function"}], "tools: this server calls no tools"),
    "functions": ([{}], "functions: this server calls no tools"),
    "tool_choice": ("required", "tool_choice: this server calls no tools"),
    "response_format": ({"type": "json_object"}, "response_format: answers are text; no grammar holds them to a form"),
    "modalities": (["text", "audio"], "modalities: answers are text"),
    "min_tokens": (5, "min_tokens: an answer ends where the model ends it"),
    "ignore_eos": (True, "ignore_eos: an answer ends where the model ends it"),
    "stream_options": ({"include_usage": True}, "stream_options: they need stream=true"),
    "temperature": (2.1, "temperature: Input should be less than or equal to 2"),
    "top_p": (0, "top_p: Input should be greater than 0"),
    "top_k": (-2, "top_k: Input should be greater than or equal to -1 (given: -2)"),
    "min_p": (1.1, "min_p: Input should be less than or equal to 1"),
    "repetition_penalty": (0, "repetition_penalty: Input should be greater than or equal to 0.01"),
    "presence_penalty": (2.5, "presence_penalty: Input should be less than or equal to 2"),
    "frequency_penalty": ("1", "frequency_penalty: Input should be a valid number (given: '1')"),
    "seed": (-2, "seed: Input should be greater than or equal to -1"),
    "max_tokens": (0, "max_tokens: Input should be greater than or equal to 1"),
    "max_completion_tokens": (201, "max_completion_tokens is 201; this server allows at most 200"),
    "repeat_penalty": (1.1, "unknown or unsupported field: repeat_penalty; write repetition_penalty"),
    "num_predict": (5, "unknown or unsupported field: num_predict; write max_tokens"),
    "reply_format": ("raw", "reply_format: Input should be 'answer' or 'text'"),
    "stop": (["a"] * 17, "stop: give a text or a list of at most 16, each of 1 to 256 characters"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_fields_that_are_refused(name):
    value, message = REFUSED[name]
    with pytest.raises(Refusal) as refused:
        decoded(**{name: value})
    error = refused.value
    assert error.status == 400 and error.message.startswith(message) and "\n" not in error.message
    assert error.param in (name, None) and (error.param or name == "stream_options")


MESSAGES = {
    "messages.0.role: this server calls no tools": [{"role": "tool", "content": "5"}],
    "messages.0.role: Input should be 'system', 'developer', 'user' or": [{"role": "king", "content": "5"}],
    "messages.0.content: this server reads text only": [{"role": "user", "content": [{"type": "image_url"}]}],
    "messages.0.content: this server reads text": [{"role": "user", "content": [{"type": "text", "text": 5}]}],
    "messages.0.content: Input should be a valid string": [{"role": "user", "content": 5}],
    "messages.0.tool_calls: this server calls no tools": [{"role": "assistant", "tool_calls": [{}]}],
    "messages: Input should be a valid array": "hello",
    "messages: List should have at least 1 item": [],
}


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_that_are_refused(message):
    with pytest.raises(Refusal) as refused:
        read(messages=MESSAGES[message])
    assert refused.value.message.startswith(message) and refused.value.param == "messages"


def test_numbers_of_other_types_are_refused():
    for name in ("temperature", "top_p", "min_p", "top_k", "seed", "max_tokens", "presence_penalty"):
        for value in ("1", True, [1], {}):
            with pytest.raises(Refusal, match=f"{name}: Input should be a valid (number|integer)"):
                decoded(**{name: value})
    for text in ("NaN", "Infinity", "1e999"):
        content = json.dumps(body()).replace("{", '{"presence_penalty": ' + text + ", ", 1)
        with pytest.raises(Refusal) as refused:
            read_request(ChatRequest, content.encode())
        assert refused.value.status == 400


def test_every_field_is_in_the_documentation():
    text = (ROOT / "docs" / "serving.md").read_text()
    names = {*ChatRequest.model_fields, *CompletionRequest.model_fields} - {"messages", "model"}
    assert not [name for name in names if f"`{name}`" not in text and f"`{name}." not in text]


def test_sampling_over_http(url, opened, monkeypatch):
    """The fields reach the arithmetic."""

    def ask(**more: Any) -> str:
        answer = httpx.post(url + CHAT, json=body(model="base", max_tokens=12, **more), timeout=60)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["choices"][0]["message"]["content"])

    greedy = ask()
    hot = {"temperature": 2.0, "seed": 5}
    assert ask(**hot) != greedy == ask(**hot, top_k=1) == ask(**hot, min_p=1) == ask(**hot, top_p=1e-6)
    assert ask(repetition_penalty=1.0, presence_penalty=0, frequency_penalty=0, top_k=-1) == greedy
    assert ask(repetition_penalty=2.0) != greedy
    assert len({ask(temperature=2.0, seed=-1) for _ in range(4)}) > 1
    with serving(*opened) as other:
        requests = writing(monkeypatch, opened[0]._tokenizer.encode("##Answer: yes"))
        httpx.post(other + CHAT, json=body(**{name: value for name, (value, _) in HONOURED.items() if name != "stop"}))
    settings = requests[0].settings
    assert (settings.presence_penalty, settings.frequency_penalty, settings.min_p) == (-2, 2, 0.05)
