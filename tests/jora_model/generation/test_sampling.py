"""What may be drawn: the support that temperature, top-k, top-p and min-p leave, and who the draws depend on; and what
penalties do to logits. transformers is the judge."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jora_model.generation import sampling
from jora_model.generation.sampling import Counts, Wanted, choose, next_tokens, prompt_keys, with_penalties
from jora_model.spec.settings import GenerationSettings

DRAWS = 2000


def draw(logits, *, temperature=1.0, top_k=None, top_p=None, min_p=None, seed=0):
    """The tokens of many prompts that all have the same logits."""
    rows = jnp.broadcast_to(jnp.asarray(logits, jnp.float32)[None, :], (DRAWS, len(logits)))
    keys = prompt_keys(seed, jnp.arange(DRAWS, dtype=jnp.int32))
    limits = {"top_k": top_k, "top_p": top_p, "min_p": min_p}
    return np.asarray(next_tokens(rows, keys, jnp.int32(0), temperature=temperature, **limits))


def logits_of(*probabilities):
    return np.log(np.array(probabilities))


def test_zero_temperature_and_top_1_take_the_likeliest():
    logits = np.random.default_rng(0).normal(size=50)
    assert set(draw(logits, temperature=0.0)) == {logits.argmax()}
    assert set(draw(logits, top_k=1)) == {logits.argmax()}
    assert set(draw(logits, top_p=1e-6)) == {logits.argmax()}


@pytest.mark.parametrize("probabilities", [(0.1, 0.5, 0.15, 0.25), (0.02, 0.9, 0.08, 0.0)])
def test_plain_draws_follow_the_probabilities(probabilities):
    with np.errstate(divide="ignore"):
        counts = np.bincount(draw(logits_of(*probabilities)), minlength=4) / DRAWS
    np.testing.assert_allclose(counts, probabilities, atol=0.04)


def test_temperature_flattens():
    shares = [np.mean(draw(logits_of(0.7, 0.3), temperature=t) == 0) for t in (0.3, 1.0, 5.0)]
    expected = [0.7 ** (1 / t) / (0.7 ** (1 / t) + 0.3 ** (1 / t)) for t in (0.3, 1.0, 5.0)]
    np.testing.assert_allclose(shares, expected, atol=0.04)


@pytest.mark.parametrize(
    ("settings", "support"),
    [
        ({"top_k": 2}, {1, 3}),
        ({"top_k": 3}, {1, 2, 3}),
        ({"top_k": 99}, {0, 1, 2, 3}),
        # The fewest whose sum reaches p: 0.5, then 0.75, then 0.9.
        ({"top_p": 0.49}, {1}),
        ({"top_p": 0.51}, {1, 3}),
        ({"top_p": 0.76}, {1, 2, 3}),
        ({"top_p": 1.0}, {0, 1, 2, 3}),
        # p of what k leaves: 2/3 and 1/3.
        ({"top_k": 2, "top_p": 0.6}, {1}),
        ({"top_k": 2, "top_p": 0.7}, {1, 3}),
        # At least this share of 0.5.
        ({"min_p": 0.19}, {0, 1, 2, 3}),
        ({"min_p": 0.21}, {1, 2, 3}),
        ({"min_p": 0.4}, {1, 3}),
        ({"min_p": 1.0}, {1}),
        ({"min_p": 0.4, "top_p": 0.49}, {1}),
    ],
)
def test_support(settings, support):
    assert set(draw(logits_of(0.1, 0.5, 0.15, 0.25), **settings)) == support


def test_a_key_for_each_prompt_and_step():
    logits = jnp.zeros((4, 1000), jnp.float32)
    keys = prompt_keys(0, jnp.arange(4, dtype=jnp.int32))

    def tokens(keys, logits, step):
        return np.asarray(next_tokens(logits, keys, jnp.int32(step), temperature=1.0, top_k=None, top_p=None))

    first = tokens(keys, logits, 0)
    assert len(set(first)) > 1
    assert not np.array_equal(first, tokens(keys, logits, 1))
    assert not np.array_equal(first, tokens(prompt_keys(1, jnp.arange(4, dtype=jnp.int32)), logits, 0))
    # A prompt draws the same in another row of another batch.
    other = jnp.asarray([2, 0], jnp.int32)
    np.testing.assert_array_equal(tokens(prompt_keys(0, other), logits[:2], 0), first[[2, 0]])
    assert jax.dtypes.issubdtype(keys.dtype, jax.dtypes.prng_key)


LIMITS = [
    {"top_k": 5},
    {"top_k": 17},
    {"top_p": 0.3},
    {"min_p": 0.07},
    {"top_p": 0.95, "min_p": 0.2},
    {"top_k": 20, "top_p": 0.7, "min_p": 0.05},
    {"top_k": 300},
]


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("temperature", [0.7, 2.0])
def test_the_support_is_that_of_transformers(limits, temperature):
    """Exactly: each token that they leave is drawn, by logits that make all of these equally likely."""
    import torch
    from transformers.generation import logits_process

    logits = np.random.default_rng(3).normal(size=60).astype(np.float32) * 2
    scores = torch.tensor(logits)[None] / temperature
    if k := limits.get("top_k"):
        scores = logits_process.TopKLogitsWarper(k)(None, scores)
    if p := limits.get("top_p"):
        scores = logits_process.TopPLogitsWarper(p)(None, scores)
    if p := limits.get("min_p"):
        scores = logits_process.MinPLogitsWarper(p)(None, scores)
    expected = set(np.flatnonzero(np.isfinite(scores[0].numpy())).tolist())
    with pytest.MonkeyPatch.context() as patch:
        # Each of many rows draws another rank of those left: all of them are seen.
        patch.setattr(jax.random, "categorical", _kept_in_turn)
        found = draw(logits, temperature=temperature, **limits)
    assert set(found.tolist()) == expected


def _kept_in_turn(key, row):
    kept = jnp.isfinite(row)
    turn = jax.random.randint(key, (), 0, kept.sum().astype(jnp.int32))
    return jnp.argmax(jnp.cumsum(kept.astype(jnp.int32)) > turn)


def test_rows_of_other_settings_in_one_call_are_as_alone():
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(6, 80)).astype(np.float32))
    likeliest = jnp.argmax(logits, axis=1)
    several = [
        GenerationSettings(temperature=1.5, top_k=3, seed=5),
        GenerationSettings(temperature=0.8, top_k=9, top_p=0.9),
        GenerationSettings(),
        GenerationSettings(temperature=1.0, min_p=0.1, seed=2**32 - 1),
        GenerationSettings(temperature=1.0),
        GenerationSettings(temperature=9.0, top_k=60, seed=7),
    ]
    together = choose(logits, likeliest, [Wanted(settings, 0, 4) for settings in several])
    for row, settings in enumerate(several):
        one = [Wanted(settings, 0, 4) if place == row else None for place in range(6)]
        assert choose(logits, likeliest, one)[row] == together[row]
    assert together[2] == likeliest[2]


def test_k_of_clients_compiles_few_programs():
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(2, 5000)).astype(np.float32))
    sampling._drawn.clear_cache()
    for k in (1, 2, 7, 16, 17, 40, 64, 65, 100, 4097, 4500):
        choose(logits, jnp.zeros(2, jnp.int32), [Wanted(GenerationSettings(temperature=1.0, top_k=k), 0, 0)] * 2)
    assert sampling._drawn._cache_size() == 4  # 16, 64, 256, and the whole vocabulary


PENALTIES = [
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.5},
    {"frequency_penalty": 0.7},
    {"presence_penalty": -1.1},
    {"repetition_penalty": 1.7, "frequency_penalty": -0.3, "presence_penalty": 1.9},
]


@pytest.mark.parametrize("vocabulary", [50, 700])
@pytest.mark.parametrize("penalties", PENALTIES)
def test_penalties_are_those_of_transformers_and_vllm(penalties, vocabulary):
    import torch
    from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

    random = np.random.default_rng(0)
    logits = random.normal(size=(3, vocabulary)).astype(np.float32) * 3
    prompt, answer = random.integers(0, vocabulary, 400), random.integers(0, vocabulary, 30)
    answer[:9] = answer[0]
    settings = GenerationSettings(**penalties)
    counts = Counts(prompt.astype(np.int32), settings)
    for token in answer.tolist():
        counts.add(token)
    expected = logits.copy()
    repeated = torch.tensor(np.concatenate([prompt, answer]))[None]
    processor = RepetitionPenaltyLogitsProcessor(settings.repetition_penalty)
    expected[1] = processor(repeated, torch.tensor(logits[1:2]))[0].numpy()
    # vLLM: the answer's tokens only, after the repetition penalty.
    times = np.bincount(answer, minlength=vocabulary)
    expected[1] -= np.float32(settings.frequency_penalty) * times + np.float32(settings.presence_penalty) * (times > 0)
    wanted = [Wanted(GenerationSettings(), 0, 0), Wanted(settings, 0, 30, counts=counts), None]
    found, likeliest = with_penalties(jnp.asarray(logits), jnp.asarray(logits.argmax(axis=1)), wanted)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6, atol=1e-6)
    assert np.asarray(likeliest).tolist() == expected.argmax(axis=1).tolist()
    assert not np.array_equal(expected, logits)


def test_without_penalties_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sampling, "_penalized", None)
    logits, likeliest = jnp.zeros((2, 9), jnp.float32), jnp.zeros(2, jnp.int32)
    fresh = GenerationSettings(presence_penalty=1)
    wanted = [Wanted(GenerationSettings(), 0, 0), Wanted(fresh, 0, 0, counts=Counts(np.arange(5), fresh))]
    assert with_penalties(logits, likeliest, wanted) == (logits, likeliest)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": 2**32}, "seed"),  # JAX would take it for 0
        ({"temperature": 1e-9}, "temperature is 0, for greedy decoding, or at least 0.001"),
        ({"temperature": float("inf")}, "temperature"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty"),
        ({"presence_penalty": 2.1}, "presence_penalty"),
        ({"frequency_penalty": -2.1}, "frequency_penalty"),
        ({"min_p": 0.1}, "top_k, top_p and min_p have no effect at temperature 0"),
        ({"min_p": 1.1, "temperature": 1}, "min_p"),
    ],
)
def test_settings_that_cannot_be_computed_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        GenerationSettings(**given)
