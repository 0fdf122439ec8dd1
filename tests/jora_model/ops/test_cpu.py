"""What only CPUs need has the results of JAX's own functions; powers of two in bf16 are as exact as bf16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jora_model.ops.cpu import argmax_last, as_bits, as_float, exp2, stored, swapped_halves, swapped_halves_last


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 2.0**-8 * 1.02), ("float32", 1e-6)])
def test_relative_error(dtype, tolerance):
    # Near zero in float32, whose own exponents round off more the larger they are.
    x = np.linspace(-124 if dtype == "bfloat16" else -8, 1, 100_001).astype(np.float32)
    found = jax.jit(exp2, static_argnums=1)(jnp.asarray(x), dtype)
    assert found.dtype == dtype
    error = np.asarray(found, np.float64) / 2.0 ** x.astype(np.float64) - 1
    assert np.abs(error).max() < tolerance
    assert abs(error.mean()) < 1e-4


def test_what_is_hidden_weighs_nothing():
    hidden = exp2(jnp.asarray([-1e30, -126.0, -200.0], jnp.float32), "bfloat16")
    assert (np.asarray(hidden, np.float64) <= 2.0**-125).all()
    assert float(exp2(jnp.zeros(1, jnp.float32), "bfloat16")[0]) == 1.0


@pytest.mark.parametrize("vocabulary", [97, 104, 512, 1021])
def test_argmax_is_the_first_of_the_largest(vocabulary):
    x = np.random.default_rng(0).integers(0, vocabulary // 4, (9, vocabulary)).astype(np.float32)  # with ties
    np.testing.assert_array_equal(argmax_last(jnp.asarray(x)), x.argmax(axis=1))


def test_bits_are_bf16():
    x = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    bits = stored(x, jnp.uint16)
    assert bits.dtype == np.uint16
    np.testing.assert_array_equal(as_float(jnp.asarray(bits)), jnp.asarray(x, jnp.bfloat16))
    np.testing.assert_array_equal(as_bits(as_float(jnp.asarray(bits))), bits)


def test_halves_are_swapped_exactly():
    x = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    expected = np.concatenate([-x[:, 4:], x[:, :4]], axis=1)
    np.testing.assert_array_equal(swapped_halves_last(jnp.asarray(x)), expected)
    np.testing.assert_array_equal(swapped_halves(jnp.asarray(x.T)), expected.T)
