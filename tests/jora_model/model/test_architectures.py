"""Every architecture computes what transformers computes, with each flag of its family both ways."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jora_model.model.load import load_model
from jora_model.spec.architecture import ARCHITECTURES
from testing.families import CASES, VARIANTS, VOCAB, family_model


def tokens(length: int, rows: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, VOCAB, (rows, length), dtype=np.int32)


def theirs(model, batch: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor(batch, dtype=torch.long)).logits.float().numpy()


def ours(folder, batch: np.ndarray, dtype) -> np.ndarray:
    model = load_model(folder, compute_dtype=dtype)
    positions = jnp.broadcast_to(jnp.arange(batch.shape[1], dtype=jnp.int32), batch.shape)
    reach = jnp.full(batch.shape, batch.shape[1], jnp.int32)
    return np.asarray(model.head(model.hidden_states(jnp.asarray(batch), positions, reach)))


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def test_every_architecture_has_a_case():
    assert set(VARIANTS) == set(ARCHITECTURES)


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_logits_equal_transformers(tmp_path, name, variant):
    """In rows beyond the window, beyond 512 tokens, and of a few tokens."""
    model = family_model(name, variant)
    model.save_pretrained(tmp_path)
    for length in (600, 21):
        batch = tokens(length)
        expected = theirs(model, batch)
        result = ours(tmp_path, batch, jnp.float32)
        assert np.abs(result - expected).max() < 1e-4 * rms(expected), length
