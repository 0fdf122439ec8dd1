"""The chunked loss and its gradient equal the plain ones, and nothing of [answers, vocabulary] is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jora_model.model.load import load_model
from jora_model.training.loss import answer_loss
from testing.tiny_models import hf_folder


def made(counts: list[int], length: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """So many predictions in each row, at random places, with weights that are not all one."""
    random = np.random.default_rng(seed)
    predict_at, targets = (np.zeros((len(counts), length), np.int32) for _ in "ab")
    weights = np.zeros((len(counts), length), np.float32)
    for row, count in enumerate(counts):
        predict_at[row, :count] = np.sort(random.choice(length, count, replace=False))
        targets[row, :count] = random.integers(0, 100, count)
        weights[row, :count] = random.choice([0.5, 1.0], count)
    return predict_at, targets, weights


@pytest.mark.parametrize("counts", [[300, 1], [128, 129], [0, 7], [0, 0]])
def test_equals_the_plain_loss(tmp_path, counts):
    model = load_model(hf_folder(tmp_path), compute_dtype=jnp.float32)
    predict_at, targets, weights = made(counts, 300)
    hidden = jnp.asarray(np.random.default_rng(1).normal(size=(2, 300, 48)), jnp.float32)

    def plain(hidden):
        chosen = jnp.take_along_axis(jax.nn.log_softmax(model.head(hidden)), predict_at[:, :, None], axis=1)
        return -jnp.sum(jnp.take_along_axis(chosen, targets[:, :, None], axis=2)[:, :, 0] * weights)

    def ours(hidden):
        return answer_loss(model, hidden, predict_at, targets, weights)[0]

    loss, gradient = jax.value_and_grad(ours)(hidden)
    expected, expected_gradient = jax.value_and_grad(plain)(hidden)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(ours(hidden), expected, rtol=1e-5)
    scale = float(jnp.abs(expected_gradient).max())
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-5 * scale)
    assert float(answer_loss(model, hidden, predict_at, targets, weights)[1]) == weights.sum()


def test_memory_follows_the_chunk(tmp_path):
    """With many answers the program needs far less than their logits."""
    model = load_model(hf_folder(tmp_path, vocab_size=5000), compute_dtype=jnp.float32)
    predict_at, targets, weights = made([2000], 2048)

    def loss(hidden):
        return answer_loss(model, hidden, predict_at, targets, weights)[0]

    shape = jax.ShapeDtypeStruct((1, 2048, 48), jnp.float32)
    program = jax.jit(jax.grad(loss)).lower(shape).compile()
    assert program.memory_analysis().temp_size_in_bytes < 2000 * 5000 * 4 / 3
