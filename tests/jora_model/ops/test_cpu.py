"""Powers of two in bf16 are as near as bf16 allows, also within a compiled function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jora_model.ops.cpu import exp2


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
