"""Tokenizer files that are damaged, of a wrong type, or newer than the library: one line that says what to do."""

import json
import os
import re

import pytest

from data.prompting.tokenizer import load_tokenizer
from testing.chat_families import write_family
from user_error import UserError


@pytest.fixture
def folder(tmp_path):
    return write_family(tmp_path, "qwen3")


def change(path, **fields):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in (content | fields).items() if value != "-"}))


def refused(folder):
    """The one line about a folder, when its prompts are checked."""
    with pytest.raises(UserError) as error:
        load_tokenizer(folder).check("chat", 5000)
    line = str(error.value)
    assert "\n" not in line and "Traceback" not in line
    return line


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"eos_token": 5}, r"tokenizer_config.json: eos_token is 5, and must be the text of a token, .*: correct"),
        ({"eos_token": {"text": "</s>"}}, r"eos_token is .*must be the text of a token, an object with its content"),
        ({"eos_token": None}, r"has no eos_token"),
        ({"chat_template": 3}, r"tokenizer_config.json: chat_template is 3, and must be a text, or a list"),
        ({"chat_template": [{"name": "default"}]}, r"chat_template is .*objects with name and template"),
        ({"added_tokens_decoder": []}, r"added_tokens_decoder is \[\], and must be an object"),
        ({"tokenizer_class": 7}, r"tokenizer_class is 7, and must be the name of a class"),
    ],
)
def test_a_field_of_a_wrong_type(folder, fields, said):
    change(folder / "tokenizer_config.json", **fields)
    assert re.search(said, refused(folder))


@pytest.mark.parametrize("value", ["2", 1.5, True, [2, "3"], {"id": 2}, -1])
def test_an_end_token_that_is_no_integer(folder, value):
    change(folder / "generation_config.json", eos_token_id=value)
    line = refused(folder)
    assert str(folder / "generation_config.json") in line and "eos_token_id" in line and "integer" in line


def test_files_that_are_not_json(folder):
    (folder / "tokenizer_config.json").write_text("{broken")
    assert "tokenizer_config.json is not JSON" in refused(folder)


def test_a_tokenizer_newer_than_the_library(folder):
    change(folder / "tokenizer.json", pre_tokenizer={"type": "NewFangled"})
    line = refused(folder)
    assert str(folder / "tokenizer.json") in line and "upgrade the package tokenizers" in line


def test_no_tokenizer_json(folder):
    (folder / "tokenizer.json").write_text("[]")
    assert "tokenizer.json must hold a JSON object" in refused(folder)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('only tools here') }}", "it raises TemplateError: only tools here"),
        ("{{ messages[0].nothing.more }}", "it raises UndefinedError"),
        ("{% for m in messages %}", "it raises TemplateSyntaxError"),
        ("{{ 1 // 0 }}", "it raises ZeroDivisionError"),
        ("{{ ''.__class__.__mro__ }}", "it raises SecurityError"),
        ("{{ strftime_now('%d')[0].x.y }}", "it raises UndefinedError"),
        ("Hello.", "it does not write the user's message once"),
    ],
)
def test_a_template_that_cannot_be_used(folder, template, said):
    (folder / "chat_template.jinja").write_text(template)
    line = refused(folder)
    assert line.startswith(str(folder / "chat_template.jinja")) and said in line and "alpaca" in line
    alpaca = load_tokenizer(folder)  # which needs no template
    alpaca.check("alpaca", 5000)
    assert alpaca.decode(alpaca.encode_targets(["nine"], "alpaca")[0]) == "nine"


def test_named_templates_without_a_default(folder):
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    named = [{"name": "rag", "template": template}]
    change(folder / "tokenizer_config.json", chat_template=named)
    assert "no default" in refused(folder)
    change(folder / "tokenizer_config.json", chat_template=[{"name": "default", "template": template}, *named])
    load_tokenizer(folder).check("chat", 5000)


def test_errors_name_the_files_of_the_person_and_not_our_links(folder, tmp_path_factory):
    links = tmp_path_factory.mktemp("artifact")
    for path in folder.iterdir():
        (links / path.name).symlink_to(path)
    change(folder / "generation_config.json", eos_token_id="2")
    assert refused(links).startswith(str(folder))
    change(folder / "generation_config.json", eos_token_id=2)
    (folder / "chat_template.jinja").write_text("{{ messages[0].nothing.more }}")
    assert refused(links).startswith(str(folder)) and os.fspath(links) not in refused(links)


def test_tokens_beyond_the_embedding(folder, tmp_path_factory):
    tokenizer = load_tokenizer(folder)
    size = len(tokenizer._tokenizer)
    tokenizer.check("chat", size)
    last_used = tokenizer._tokenizer.convert_tokens_to_ids("</think>")
    tokenizer.check("chat", last_used + 1)  # "<tool_call>" is beyond it, which no prompt holds
    with pytest.raises(UserError, match=r"prompts and answers use token .*'</think>'.*vocab_size in config.json is"):
        tokenizer.check("chat", last_used)
    other = load_tokenizer(write_family(tmp_path_factory.mktemp("other"), "mistral v0.1"))
    with pytest.raises(UserError, match=r"a text may become token \d+ .*vocab_size in config.json is 1000: use the"):
        other.check("alpaca", 1000)  # its control tokens are the first of all


def test_code_that_comes_with_a_model_is_neither_run_nor_asked_about(folder, monkeypatch):
    """transformers would ask at the terminal, and run it on a yes."""
    monkeypatch.setattr("builtins.input", lambda question: "y")
    (folder / "mine.py").write_text(
        "from pathlib import Path\nfrom transformers import PreTrainedTokenizerFast\n"
        "Path(__file__).with_name('ran').touch()\nclass Mine(PreTrainedTokenizerFast): pass\n"
    )
    auto = {"AutoTokenizer": [None, "mine.Mine"]}
    change(folder / "tokenizer_config.json", tokenizer_class="Mine", auto_map=auto)
    line = refused(folder)
    assert "the tokenizer needs code that comes with the model, which is never run: use another base model" in line
    assert str(folder / "tokenizer_config.json") in line and not list(folder.parent.rglob("ran"))
    change(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    load_tokenizer(folder)  # a class of the library does without the code
    assert not list(folder.parent.rglob("ran"))


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{% set _ = messages.append(1) %}{{ messages }}",
        "{% include 'tokenizer_config.json' %}",
    ],
)
def test_a_template_reaches_nothing_but_its_values(folder, template):
    """Templates run in jinja's sandbox."""
    (folder / "chat_template.jinja").write_text(template)
    assert "chat_template.jinja: the chat template of" in refused(folder)
