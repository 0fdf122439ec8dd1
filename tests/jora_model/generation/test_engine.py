"""Answers depend on their request alone: not on who shares the row, the slots, the step or the adapters."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from jora_model.generation import engine as engine_module
from jora_model.generation.decode import Decoder
from jora_model.generation.engine import Engine, Request, load_adapter
from jora_model.model.load import load_model
from jora_model.spec.settings import ALL_LINEAR, GenerationSettings, LoraSettings
from testing.adapters import nonzero_adapter
from testing.tiny_models import VOCAB, hf_folder

SETTINGS = GenerationSettings(max_new_tokens=10)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return hf_folder(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def model(base):
    return load_model(base, compute_dtype=jnp.float32)


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    """Two adapters of other ranks, scales and targets."""
    found = {}
    for seed, (name, lora) in enumerate(
        {
            "all": LoraSettings(rank=3, alpha=7.5, target_modules=ALL_LINEAR),
            "some": LoraSettings(rank=5, alpha=2.0, target_modules=("k_proj", "down_proj")),
        }.items()
    ):
        folder = tmp_path_factory.mktemp("adapters") / name
        found[name] = nonzero_adapter(folder, base, lora, seed=seed, spread=0.3)
    return found


def prompts_of(families, questions, seed=0, context=60):
    """Prompts that share a context each, family by family; uneven questions."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(families):
        shared = random.integers(3, VOCAB, context)
        asked = [random.integers(3, VOCAB, 3 + 2 * number) for number in range(questions)]
        found += [np.concatenate([shared, question]).astype(np.int32) for question in asked]
    return found


def finish(engine, seen=None):
    """Every answer by its number; `finished` of each."""
    answers, ends = {}, {}
    while not engine.idle:
        for number, token, finished in engine.step():
            answers.setdefault(number, []).append(token)
            if finished:
                assert number not in ends
                ends[number] = finished
        if seen is not None:
            seen.append((engine.active, engine.waiting))
    return answers, ends


def answer_all(model, requests, slots=4, **arguments):
    engine = Engine(model, slots=slots, **arguments)
    numbers = [engine.submit(request) for request in requests]
    answers, _ = finish(engine)
    return [answers[number] for number in numbers]


def alone(model, requests, slots=4, **arguments):
    return [answer_all(model, [request], slots=slots, **arguments)[0] for request in requests]


def rows_run(monkeypatch):
    """Lengths of the rows that are run from here on, without padding."""
    lengths = []
    real = Decoder.prefill

    def prefill(self, prompts, which=0, long=False):
        lengths.append((int(np.count_nonzero(prompts.tokens)), len(prompts.ends)))
        return real(self, prompts, which, long)

    monkeypatch.setattr(Decoder, "prefill", prefill)
    return lengths


def test_a_shared_context_is_run_once_and_changes_nothing(model, monkeypatch):
    prompts = prompts_of(families=2, questions=5)
    requests = [Request(prompt, SETTINGS, ()) for prompt in prompts]
    expected = alone(model, requests)
    monkeypatch.setattr(engine_module, "_FILL_TOKENS", 0)  # one family a row
    rows = rows_run(monkeypatch)
    # Interleaved: who belongs together is found, not given.
    order = [0, 5, 1, 6, 2, 7, 3, 8, 4, 9]
    found = answer_all(model, [requests[place] for place in order])
    assert [found[order.index(place)] for place in range(10)] == expected
    questions = sum(3 + 2 * number for number in range(5))
    assert rows == [(60 + questions, 5)] * 2


def test_short_prompts_share_a_row_without_sharing_a_token(model, monkeypatch):
    random = np.random.default_rng(3)
    prompts = [random.integers(3, VOCAB, length).astype(np.int32) for length in (9, 30, 1, 17, 17)]
    prompts.append(prompts[0])  # asked twice
    requests = [Request(prompt, SETTINGS, ()) for prompt in prompts]
    expected = alone(model, requests)
    rows = rows_run(monkeypatch)
    assert answer_all(model, requests, slots=8) == expected
    assert len(rows) == 1


def test_a_slot_is_free_as_soon_as_its_answer_ends(model):
    prompts = prompts_of(families=3, questions=3)
    settings = [GenerationSettings(max_new_tokens=count) for count in (1, 9, 2, 4, 12, 3, 1, 5, 2)]
    requests = [Request(prompt, one, ()) for prompt, one in zip(prompts, settings, strict=True)]
    expected = alone(model, requests)
    engine = Engine(model, slots=2)
    for request in requests:
        engine.submit(request)
    seen = []
    answers, ends = finish(engine, seen)
    assert [answers[number] for number in range(len(requests))] == expected
    assert [len(answer) for answer in expected] == [one.max_new_tokens for one in settings]
    assert set(ends.values()) == {"length"}
    # No slot stands empty while somebody waits.
    assert all(waiting == 0 or active >= 1 for active, waiting in seen)
    # Tokens that were drawn in slots, at two a step at most.
    assert len(seen) <= sum(one.max_new_tokens - 1 for one in settings) / 2 + 12
    assert engine.waiting == engine.active == 0
    assert engine.step() == []


def test_requests_may_come_while_others_grow(model):
    requests = [Request(prompt, SETTINGS, ()) for prompt in prompts_of(families=2, questions=3)]
    expected = alone(model, requests)
    engine = Engine(model, slots=3)
    answers: dict[int, list[int]] = {}
    left = list(requests)
    numbers = []
    while left or not engine.idle:
        if left:
            numbers.append(engine.submit(left.pop(0)))
        for number, token, _ in engine.step():
            answers.setdefault(number, []).append(token)
    assert [answers[number] for number in numbers] == expected


def test_an_end_token_is_given_and_ends(model):
    request = Request(prompts_of(1, 1)[0], SETTINGS, ())
    whole = answer_all(model, [request])[0]
    end = whole[4]
    engine = Engine(model, slots=2)
    number = engine.submit(replace(request, end_ids=(end, 10_000)))
    answers, ends = finish(engine)
    assert answers[number] == whole[: whole.index(end) + 1]
    assert ends == {number: "stop"}


def test_cancelled_requests_leave_and_the_others_do_not_notice(model):
    requests = [Request(prompt, SETTINGS, ()) for prompt in prompts_of(families=2, questions=4)]
    expected = alone(model, requests)
    engine = Engine(model, slots=2)
    numbers = [engine.submit(request) for request in requests]
    engine.cancel(numbers[5])  # waits
    got: dict[int, list[int]] = {}
    for number, token, _ in engine.step():
        got.setdefault(number, []).append(token)
    seated = next(iter(got))
    engine.cancel(seated)
    engine.cancel(seated)
    engine.cancel(12345)
    assert engine.active == 1
    answers, _ = finish(engine)
    for number, tokens in answers.items():
        got.setdefault(number, []).extend(tokens)
    assert seated not in answers
    assert numbers[5] not in got
    for number, answer in zip(numbers, expected, strict=True):
        if number not in (seated, numbers[5]):
            assert got[number] == answer


def test_an_answer_outgrows_the_ring_while_others_come_and_go(model):
    prompts = prompts_of(families=1, questions=4)
    lengths = (150, 5, 40, 33)  # the ring begins with 32 columns
    requests = [
        Request(prompt, GenerationSettings(max_new_tokens=length), ())
        for prompt, length in zip(prompts, lengths, strict=True)
    ]
    assert answer_all(model, requests, slots=2) == alone(model, requests)


def test_the_ring_shrinks_after_a_long_answer(model):
    """A server's memory and the cost of a step follow the answers there are, and the others' answers do not change."""
    prompts = prompts_of(families=1, questions=3)
    lengths = (150, 60, 140)
    requests = [
        Request(prompt, GenerationSettings(max_new_tokens=length), ())
        for prompt, length in zip(prompts, lengths, strict=True)
    ]
    expected = alone(model, requests)
    engine = Engine(model, slots=2)
    answers: dict[int, list[int]] = {engine.submit(requests[0]): []}
    rings = []

    def run_until(done) -> None:
        while not engine.idle and not done():
            for number, token, _ in engine.step():
                answers.setdefault(number, []).append(token)
            rings.append(engine._decoder._ring[0].keys.shape[-1])

    run_until(lambda: len(answers[0]) > 135)
    engine.submit(requests[1])
    run_until(lambda: len(answers.get(1, [])) > 20)
    engine.submit(requests[2])
    run_until(lambda: False)
    assert [answers[number] for number in range(3)] == expected
    assert rings[0] == 32 and max(rings) == 512 and 128 in rings[rings.index(512) :]


def test_adapters_side_by_side_answer_as_each_alone(base, model, adapters):
    prompts = prompts_of(families=1, questions=3)
    loaded = {name: load_adapter(folder, model.config) for name, folder in adapters.items()}
    names = [None, "all", "some"]
    requests = [Request(prompt, SETTINGS, (), adapter=name) for prompt in prompts for name in names]
    found = answer_all(model, requests, adapters=loaded)
    for name in names:
        one = load_model(base, adapter=adapters.get(name), compute_dtype=jnp.float32)
        expected = answer_all(one, [Request(prompt, SETTINGS, ()) for prompt in prompts])
        assert found[names.index(name) :: 3] == expected, name
    assert found[0] != found[1] != found[2] != found[0]
    # A model that brings an adapter of its own is what None asks.
    own = load_model(base, adapter=adapters["some"], compute_dtype=jnp.float32)
    mixed = answer_all(own, [requests[place] for place in (0, 3, 6, 1, 4, 7)], adapters={"all": loaded["all"]})
    assert mixed == found[2::3] + found[1::3]


def test_draws_depend_on_seed_and_number_only(model):
    prompts = prompts_of(families=2, questions=2)
    kinds = [
        {"temperature": 0.9, "top_k": 20, "top_p": 0.9},
        {"temperature": 1.5, "top_k": 20, "top_p": 0.95, "seed": 3},
        {},
        {"temperature": 1.3},
    ]
    requests = [
        Request(prompt, GenerationSettings(max_new_tokens=8, **kind), (), draw=number)
        for number, (prompt, kind) in enumerate(zip(prompts, kinds, strict=True))
    ]
    expected = alone(model, requests)
    assert answer_all(model, requests) == expected
    assert answer_all(model, requests[::-1], slots=2) == expected[::-1]
    for request, answer in zip(requests, expected, strict=True):
        moved = answer_all(model, [replace(request, draw=request.draw + 1)])[0]
        assert (moved == answer) == (request.settings.temperature == 0)


def test_rows_hold_no_more_than_a_row_may(model, monkeypatch):
    monkeypatch.setattr(engine_module, "ROW_TOKENS", 100)
    requests = [Request(prompt, SETTINGS, ()) for prompt in prompts_of(families=1, questions=8)]
    rows = rows_run(monkeypatch)
    found = answer_all(model, requests, slots=4)
    assert len(rows) > 1
    assert all(length <= 100 for length, _ in rows)
    assert found == alone(model, requests)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": np.zeros(0, np.int32)}, "no token"),
        ({"tokens": np.ones(71, np.int32)}, "71 tokens, with max_new_tokens=10 more than the 80 positions allowed"),
        ({"tokens": np.array([3, 104], np.int32)}, "has token 104, and the model's vocabulary only 0 to 103"),
        ({"tokens": np.array([-1, 3], np.int32)}, "has token -1"),
        ({"tokens": np.array([3, 2**32 + 3], np.int64)}, "has token 4294967299"),
        ({"adapter": "tuned"}, "no adapter 'tuned'; there are: all"),
    ],
)
def test_refuses(model, adapters, change, message):
    engine = Engine(model, adapters={"all": load_adapter(adapters["all"], model.config)}, max_length=80)
    with pytest.raises(ValueError, match=message):
        engine.submit(replace(Request(np.ones(3, np.int32), SETTINGS, ()), **change))
    assert engine.idle
