"""Prompts, ends and texts of every family, with templates that behave as their authors publish them.

transformers renders the same templates; its clock is set to the date of the settings.
"""

import datetime

import numpy as np
import pytest
from transformers.utils import chat_template_utils

from data.prompting.prompts import MARKERS, Prompt, PromptFormat, raft_output
from data.raft.alpaca import AlpacaRecord
from data.raft.sequences import encode_prompts, encode_records
from testing.chat_families import FAMILIES, family_tokenizer

EVERY = pytest.mark.parametrize("name", FAMILIES)
HELLO = Prompt("Hello.", "")
LONG = Prompt("Answer the question.", "[1] The mill\nIt turns  nine times;\n\n  café 水車.\n\nQuestion: How fast?")
OUTPUT = raft_output("nine times", ["It turns nine times."], "The mill says so:")


@pytest.fixture
def clock(monkeypatch):
    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 7, 26)

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)


def rendered(name, prompt, output=None, **options):
    """The tokens of a chat as transformers gives them."""
    messages = [{"role": "user", "content": prompt.message}]
    if output is not None:
        messages.append({"role": "assistant", "content": output})
    options = {**FAMILIES[name].options, **options}
    return family_tokenizer(name)._tokenizer.apply_chat_template(
        messages, add_generation_prompt=output is None, return_dict=False, **options
    )


@EVERY
@pytest.mark.usefixtures("clock")
def test_prompts_are_those_of_transformers(name):
    tokenizer = family_tokenizer(name)
    assert tokenizer.written(HELLO, "", "chat")[0] == FAMILIES[name].prompt
    for prompt in (HELLO, LONG):
        assert tokenizer.encode_prompts([prompt], "chat") == [rendered(name, prompt)]


@EVERY
@pytest.mark.usefixtures("clock")
def test_what_is_trained_begins_with_the_prompt_and_is_the_chat_up_to_its_end(name):
    tokenizer = family_tokenizer(name)
    record = AlpacaRecord("r", LONG.instruction, LONG.input, OUTPUT, "q", "g", ("c",), ("c",), True)
    (sequence,) = encode_records([record], tokenizer, "chat")
    (prompt,) = encode_prompts(["r"], [LONG], tokenizer, "chat")
    tokens = sequence.tokens.tolist()
    assert tokens[: len(prompt.tokens)] == prompt.tokens.tolist()
    assert np.flatnonzero(sequence.loss_mask).tolist() == list(range(len(prompt.tokens), len(tokens)))
    whole = rendered(name, LONG, OUTPUT)
    assert tokens == whole[: len(tokens)]
    assert tokenizer.decode(tokens[len(prompt.tokens) :]).strip() == OUTPUT


@EVERY
def test_the_trained_end_is_the_first_of_those_that_end_generation(name):
    tokenizer, family = family_tokenizer(name), FAMILIES[name]
    words = tokenizer._tokenizer.convert_ids_to_tokens
    assert words(tokenizer.end_id("chat")) == family.end
    assert words(tokenizer.end_ids("chat")[0]) == family.end
    assert set(words(list(tokenizer.end_ids("chat")))) == {family.end, family.eos, *family.ends}
    assert tokenizer.encode_targets([OUTPUT], "chat")[0][-1] == tokenizer.end_id("chat")
    assert words(tokenizer.end_id("alpaca")) == family.eos


def tags(name):
    """What the template writes around messages, tokens or not."""
    plain = {"llama2": ["[INST]", "[/INST]", "<<SYS>>"], "mistral v0.1": ["[INST]", "[/INST]"]}
    return plain.get(name, []) + (["<|user|>", "<|assistant|>", "<|system|>"] if name == "olmo2" else [])


@EVERY
@pytest.mark.parametrize("style", ["chat", "alpaca"])
def test_no_text_becomes_a_word_of_the_format(name, style):
    tokenizer, family = family_tokenizer(name), FAMILIES[name]
    backend = tokenizer._tokenizer
    added = {number: token.content for number, token in backend.added_tokens_decoder.items() if token.content.strip()}
    control, words = set(added), list(added.values())
    words += [*tags(name), *MARKERS, "### Response:"]
    usual = [token for token in tokenizer.encode_prompts([HELLO], style)[0] if token in control]
    for word in words:
        text = f"Fees are low.{word}Next {word}\n{word}"
        alone = backend.encode(f"x {word}", add_special_tokens=False)
        for tokens in (
            tokenizer.encode_prompts([Prompt("Hello.", text)], style)[0],
            tokenizer.encode_prompts([Prompt(text, "")], style)[0],
            tokenizer.encode(text),
        ):
            assert [t for t in tokens if t in control] == ([] if tokens == tokenizer.encode(text) else usual), word
        assert tokenizer.decode(tokenizer.encode(text)) == text
        # In a small vocabulary "<<SYS>>" has no token of two characters: then there is only one way to write it.
        spelled = tokenizer.encode(f"x {word}")
        assert spelled != alone or max(len(piece.strip()) for piece in tokenizer.pieces(alone)) == 1, word
        target = tokenizer.encode_targets([text], style)[0]
        lead = [token for token in tokenizer.encode_targets(["x"], style)[0] if token in control]
        assert [token for token in target if token in control] == lead
        assert tokenizer.decode(target).strip().endswith(text)
    assert family.eos in words


def test_white_space_that_is_a_token_stays_one():
    tokenizer = family_tokenizer("gemma")
    assert tokenizer._tokenizer.convert_tokens_to_ids("\n\n") in tokenizer.encode("One.\n\nTwo.")


@pytest.mark.parametrize("name", ["smollm3", "llama3", "granite"])
def test_the_date_is_that_of_the_format_on_every_day(name):
    tokenizer = family_tokenizer(name)
    usual = tokenizer.encode_prompts([HELLO], "chat")
    assert usual == tokenizer.encode_prompts([HELLO], PromptFormat())
    other = tokenizer.written(HELLO, "", PromptFormat("chat", "2025-01-31"))[0]
    assert "2025" in other and "31" in other and "2024" not in other
    assert tokenizer.writes_date("chat") and not tokenizer.writes_date("alpaca")


def test_what_a_template_is_told_beside_messages_is_said():
    assert family_tokenizer("qwen3").template_options("chat") == ("enable_thinking=False",)
    assert family_tokenizer("llama3").template_options("chat") == ("date_string='26 Jul 2024'",)
    assert family_tokenizer("gemma").template_options("chat") == ()
    assert not family_tokenizer("gemma").writes_date("chat")
