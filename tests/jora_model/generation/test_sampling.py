"""What may be drawn: the support that temperature, top-k and top-p leave, and who the draws depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jora_model.generation.sampling import next_tokens, prompt_keys

DRAWS = 2000


def draw(logits, *, temperature=1.0, top_k=None, top_p=None, seed=0):
    """The tokens of many prompts that all have the same logits."""
    rows = jnp.broadcast_to(jnp.asarray(logits, jnp.float32)[None, :], (DRAWS, len(logits)))
    keys = prompt_keys(seed, jnp.arange(DRAWS, dtype=jnp.int32))
    return np.asarray(next_tokens(rows, keys, jnp.int32(0), temperature=temperature, top_k=top_k, top_p=top_p))


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
