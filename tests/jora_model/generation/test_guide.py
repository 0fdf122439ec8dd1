"""Answers held to a grammar: each token is the likeliest of those allowed, whoever is answered beside."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jora_model.generation.engine import Engine, Request
from jora_model.generation.generate import generate, generate_answers
from jora_model.generation.guide import Grammars
from jora_model.generation.prompt_files import read_grammars, read_tokens, write_tokens
from jora_model.generation.sampling import Wanted, choose
from jora_model.model.load import load_model
from jora_model.spec.job import GenerateJob
from jora_model.spec.settings import GenerationSettings
from testing.small_tokenizers import smollm2
from testing.tiny_models import hf_folder

COLOURS = 'start: "The wheel is " ("red" | "green" | "blue") "."'
END = 2
SETTINGS = GenerationSettings(max_new_tokens=24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of random weights with more logits than SmolLM2's tokenizer has tokens."""
    folder = hf_folder(tmp_path_factory.mktemp("models") / "wide", vocab_size=49160, hidden_size=32)
    smollm2()._tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder, compute_dtype=jnp.float32)


@pytest.fixture(scope="module")
def grammars(folder, model):
    return Grammars(folder, model.config.vocab_size, (END,))


def prompts_of(count):
    return [smollm2().encode(f"What colour is wheel number {number}?") for number in range(count)]


def answers_of(engine, requests):
    numbers = [engine.submit(request) for request in requests]
    found = {number: [] for number in numbers}
    while not engine.idle:
        for number, token, _ in engine.step():
            found[number].append(token)
    return [found[number] for number in numbers]


@pytest.mark.parametrize("drawn", [{}, {"temperature": 2.0}, {"temperature": 2.0, "top_k": 5, "top_p": 0.9}])
def test_an_answer_stays_within_its_grammar_whatever_is_drawn(model, grammars, drawn):
    settings = GenerationSettings(max_new_tokens=24, **drawn)
    prompts = [np.array(prompt, np.int32) for prompt in prompts_of(6)]
    answers = generate(model, prompts, settings, [END], guide=lambda index: grammars.guide(COLOURS))
    texts = {smollm2().decode(answer.tolist()) for answer in answers}
    assert texts <= {f"The wheel is {colour}." for colour in ("red", "green", "blue")}
    assert all(answer[-1] == END for answer in answers), "the end is allowed where the grammar ends, and only there"


def test_neither_changes_the_other_beside_it(model, grammars):
    prompts = [np.array(prompt, np.int32) for prompt in prompts_of(5)]

    def request(place):
        guide = grammars.guide(COLOURS) if place % 2 else None
        return Request(prompts[place], SETTINGS, (END,), guide=guide)

    alone = [answers_of(Engine(model, slots=4), [request(place)])[0] for place in range(5)]
    assert answers_of(Engine(model, slots=4), [request(place) for place in range(5)]) == alone


def test_the_likeliest_of_those_allowed(grammars):
    random = np.random.default_rng(0)
    logits = random.normal(size=(4, 49160)).astype(np.float32)
    guide = grammars.guide(COLOURS)
    allowed = np.unpackbits(guide.allowed, bitorder="little")[:49160].astype(bool)
    assert 0 < allowed.sum() < 10  # T, Th, The ...
    wanted = [Wanted(SETTINGS, 0, 0), Wanted(SETTINGS, 0, 0, guide.allowed), None, Wanted(SETTINGS, 0, 0)]
    chosen = choose(jnp.asarray(logits), jnp.asarray(logits.argmax(axis=1)), wanted)
    held = int(np.flatnonzero(allowed)[logits[1, allowed].argmax()])
    assert [chosen[0], chosen[1], chosen[3]] == [logits[0].argmax(), held, logits[3].argmax()]


def test_a_way_is_its_own(grammars):
    one, other = grammars.guide(COLOURS), grammars.guide(COLOURS)
    before = other.allowed.tolist()
    for token in smollm2().encode("The wheel is"):
        one.take(token, token)
    assert other.allowed.tolist() == before != one.allowed.tolist()


def test_an_answer_that_can_be_held_no_more_goes_on_free_and_says_so(grammars, caplog):
    guide = grammars.guide(COLOURS)
    (zebra, *_) = smollm2().encode("Zebra")
    guide.take(zebra, zebra)
    assert guide.allowed is None and guide.overruled is None
    guide.take(zebra, zebra)
    (line,) = caplog.messages
    assert line.startswith("an answer continues without its grammar: ")


def test_what_is_overruled_is_counted(grammars):
    guide = grammars.guide(COLOURS)
    (zebra, *_) = smollm2().encode("Zebra")
    for token in smollm2().encode("The wheel is red"):
        guide.take(token, token)
    assert guide.overruled == 0
    (dot,) = smollm2().encode(".")
    guide.take(dot, zebra)
    assert guide.overruled == 1


def test_what_cannot_be_used_is_said_in_one_line_and_holds_nothing(tmp_path, grammars, caplog):
    assert grammars.guide("start: nothing") is None
    assert grammars.guide("start: nothing") is None, "said once"
    assert Grammars(tmp_path, 100, (2,)).guide(COLOURS) is None
    (tmp_path / "tokenizer.json").write_text('{"model": 1}')
    assert Grammars(tmp_path, 100, (2,)).guide(COLOURS) is None
    beginnings = [
        "a grammar cannot be used, its answers are unconstrained: ",
        *["answers are unconstrained: "] * 2,
    ]
    assert len(caplog.messages) == 3
    for line, beginning in zip(caplog.messages, beginnings, strict=True):
        assert line.startswith(beginning) and "\n" not in line


def test_files_of_grammars_refuse_damage(tmp_path):
    path = tmp_path / "grammars.json"
    with pytest.raises(ValueError, match="missing or damaged"):
        read_grammars(path, 1)
    path.write_text(json.dumps({"grammars": ["a"], "of": [0, None]}))
    assert read_grammars(path, 2) == ["a", None]
    with pytest.raises(ValueError, match="2 grammars do not fit 3 prompts"):
        read_grammars(path, 3)
    path.write_text(json.dumps({"grammars": ["a"], "of": [1]}))
    with pytest.raises(ValueError, match="missing or damaged"):
        read_grammars(path, 1)


def test_a_job_holds_each_answer_to_the_grammar_of_its_prompt(folder, tmp_path):
    prompts = [np.array(prompt, np.int32) for prompt in prompts_of(3)]
    write_tokens(tmp_path, "prompts", ["a", "b", "c"], prompts)
    (tmp_path / "grammars.json").write_text(json.dumps({"grammars": [COLOURS], "of": [0, None, 0]}))
    job = GenerateJob(
        base=str(folder),
        prompts=str(tmp_path),
        grammars=str(tmp_path / "grammars.json"),
        output=str(tmp_path / "answers"),
        end_ids=(END,),
        compute_dtype="float32",
        generation=SETTINGS,
    )
    generate_answers(job)
    _, answers = read_tokens(tmp_path / "answers", "answers")
    assert [smollm2().decode(answers[place].tolist())[:13] for place in (0, 2)] == ["The wheel is "] * 2
    counts = json.loads((tmp_path / "answers" / "answers.json").read_text())["overruled"]
    assert counts[1] is None and counts[0] > 5 and counts[2] > 5, "random weights want something else"
