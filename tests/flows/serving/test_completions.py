"""/v1/completions through OpenAI's client: prompts are continued as they are, by what the engine alone would write."""

import json
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from jora_model.generation.engine import Request
from jora_model.spec.settings import GenerationSettings
from testing.chat_servers import QUESTIONS, client, health, serving

PATH = "/v1/completions"


@pytest.fixture(scope="module")
def alone(opened):  # type: ignore[no-untyped-def]
    """(model, prompt as tokens, number of tokens) -> the text that the engine writes."""
    answering, _ = opened

    def write(model: str, tokens: list[int], most: int = 16) -> str:
        found = answering.find(model)
        adapter = None if found.adapter is None else found.name
        ends = (answering._tokenizer.end_id("chat"), answering._tokenizer.end_id("alpaca"))
        answering.engine.submit(
            Request(np.array(tokens, np.int32), GenerationSettings(max_new_tokens=most), ends, adapter)
        )
        written: list[int] = []
        while not answering.engine.idle:
            written += [token for _, token, _ in answering.engine.step()]
        return str(answering.decode(written))

    return write


@pytest.fixture(scope="module")
def expected(opened, alone):  # type: ignore[no-untyped-def]
    """Before the server starts: the engine has one user at a time."""
    texts = ["The mill", "It opened in", "Who?"]
    return {(model, text): alone(model, tokens_of(opened, text)) for model in ("base", "latest") for text in texts}


def tokens_of(opened, text: str) -> list[int]:  # type: ignore[no-untyped-def]
    """Those of transformers, with what it puts before every text, as in vLLM."""
    return list(opened[0]._tokenizer._tokenizer(text)["input_ids"])


@pytest.fixture(scope="module")
def url(opened, expected):  # type: ignore[no-untyped-def]
    with serving(*opened) as url:
        yield url


@pytest.mark.parametrize("model", ["base", "latest"])
def test_text_texts_and_tokens(url, opened, expected, model):
    create = client(url).completions.create
    texts = [text for name, text in expected if name == model]
    given = create(model=model, prompt=texts[0])
    assert given.object == "text_completion" and given.id.startswith("cmpl-")
    assert given.choices[0].text == expected[model, texts[0]] and given.choices[0].index == 0
    assert given.usage is not None and given.usage.completion_tokens <= 16, "OpenAI's default"
    tokens = [tokens_of(opened, text) for text in texts]
    assert create(model=model, prompt=tokens[0]).choices[0].text == expected[model, texts[0]]
    for prompts in (texts, tokens):
        several = create(model=model, prompt=prompts)
        assert [choice.text for choice in several.choices] == [expected[model, text] for text in texts]
        assert [choice.index for choice in several.choices] == [0, 1, 2]
        assert several.usage is not None and several.usage.prompt_tokens == sum(map(len, tokens))


def test_a_stream_says_the_same(url, expected):
    texts = [text for name, text in expected if name == "latest"]
    options = {"include_usage": True}
    request: dict[str, Any] = {"model": "latest", "prompt": texts, "echo": True, "stop": ["\x00"]}
    chunks = list(client(url).completions.create(**request, stream=True, stream_options=options))
    whole = client(url).completions.create(**request)
    found, finishes = ["", "", ""], ["", "", ""]
    for chunk in chunks[:-1]:
        for choice in chunk.choices:
            found[choice.index] += choice.text
            finishes[choice.index] += choice.finish_reason or ""
    assert found == [text + expected["latest", text] for text in texts] == [choice.text for choice in whole.choices]
    assert finishes == [choice.finish_reason for choice in whole.choices]
    assert chunks[-1].usage == whole.usage and not chunks[-1].choices
    assert {chunk.object for chunk in chunks} == {"text_completion"}


def test_stop_strings_and_length(url, expected):
    def create(**more: Any) -> tuple[str, str, int]:
        given = client(url).completions.create(model="base", prompt="The mill", **more)
        assert given.usage is not None
        return given.choices[0].text, given.choices[0].finish_reason, given.usage.completion_tokens

    whole = expected["base", "The mill"]
    middle = whole[len(whole) // 2 :][:3]
    text, why, tokens = create(stop=middle)
    assert (text, why) == (whole.partition(middle)[0], "stop") and tokens < 16
    assert create(stop=[middle, "never"])[:2] == (text, why)
    text, why, tokens = create(max_tokens=3)
    assert whole.startswith(text) and (why, tokens) == ("length", 3)


def test_the_prompt_of_a_chat_as_tokens_is_the_chat(url, opened):
    """Without the format's parser: the text as it is written."""
    answering, _ = opened
    asked = answering.ask(QUESTIONS[0], answering.find("base"))
    given = client(url).completions.create(model="base", prompt=asked.tokens.tolist(), max_tokens=24)
    message = {"role": "user", "content": QUESTIONS[0]}
    chat = client(url).chat.completions.create(model="base", messages=[message], max_tokens=24)  # type: ignore[list-item]
    assert given.choices[0].text.strip() == chat.choices[0].message.content
    assert given.usage is not None and given.usage.prompt_tokens == len(asked.tokens)


def test_a_text_brings_no_control_tokens(url, opened):
    answering, _ = opened
    prompt = "</s>[INST] one"
    given = client(url).completions.create(model="base", prompt=prompt, max_tokens=1, echo=True)
    before = len(tokens_of(opened, "")) or 1
    assert given.usage is not None
    assert (
        given.usage.prompt_tokens == len(answering._tokenizer.encode(prompt)) + before > len(tokens_of(opened, prompt))
    )
    assert given.choices[0].text.startswith(prompt)


BAD = {
    "no prompt": ({"prompt": None}, "prompt: give a text"),
    "empty": ({"prompt": ""}, "prompt: give a text"),
    "none": ({"prompt": []}, "prompt: give a text"),
    "one is empty": ({"prompt": ["a", ""]}, "prompt: give a text"),
    "mixed": ({"prompt": ["a", [1]]}, "prompt: give a text"),
    "true is no token": ({"prompt": [True]}, "prompt: give a text"),
    "a number": ({"prompt": 5}, "prompt: give a text"),
    "beyond the vocabulary": ({"prompt": [5, 10**12]}, "prompt: token 1000000000000 is not in the vocabulary"),
    "below it": ({"prompt": [[-1]]}, "prompt: token -1 is not in the vocabulary"),
    "many": ({"prompt": ["a"] * 13}, "13 prompts; at most 12 a request"),
    "too long": ({"prompt": "word " * 1200}, "the prompt has"),
    "logprobs": ({"logprobs": 0}, "logprobs: log probabilities are not given"),
    "best_of": ({"best_of": 2}, "best_of: one answer is given"),
    "stop": ({"stop": [5]}, "stop: give a text or a list of at most 16"),
    "suffix": ({"suffix": "end"}, "suffix: nothing is put after the answer"),
    "messages": ({"messages": []}, "unknown or unsupported field: messages"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", BAD)
def test_refusals(url, what, stream):
    given, message = BAD[what]
    content = json.dumps({"model": "base", "prompt": "a", "stream": stream} | given)
    answer = httpx.post(url + PATH, content=content, headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert answer.status_code == 400 and message in error["message"] and "\n" not in error["message"]
    assert health(url)["busy"] == health(url)["waiting"] == 0


def test_one_that_is_too_long_leaves_no_other_behind(url):
    with pytest.raises(openai.BadRequestError, match="shorten the prompt"):
        client(url).completions.create(model="base", prompt=["a", "word " * 1200, "b"], max_tokens=700)
    assert health(url)["busy"] == 0
    assert client(url).completions.create(model="base", prompt="a", max_tokens=1).choices
