"""Packing loses nothing, and packed rows give the loss and gradients of the examples one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jora_model.model.linear import LoraParam
from jora_model.model.load import load_model
from jora_model.packing.sequences import Sequence
from jora_model.packing.tries import families, pack
from jora_model.spec.settings import ALL_LINEAR, LoraSettings
from jora_model.training.loss import answer_loss
from testing.sequences import random_sequences
from testing.tiny_models import hf_folder


def unpack(rows) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Every root-to-leaf path of the rows: (tokens seen, then learnt tokens by place), read by `reach` alone."""
    found = []
    for tokens, positions, reach, at, targets, weights, _ in zip(*vars(rows).values(), strict=True):
        learnt = list(zip(at[weights > 0].tolist(), targets[weights > 0].tolist(), strict=True))
        assert (weights[: len(learnt)] == 1).all()
        for place, target in learnt:
            ancestors = [j for j in range(place + 1) if j <= place < reach[j]]
            assert positions[ancestors].tolist() == list(range(len(ancestors)))
            found.append((tuple(tokens[ancestors].tolist()), target))
    return sorted(found)


def expected(sequences: list[Sequence]) -> list:
    pairs = []
    for sequence in sequences:
        tokens = sequence.tokens.tolist()
        pairs += [(tuple(tokens[: t + 1]), tokens[t + 1]) for t in range(len(tokens) - 1) if sequence.loss_mask[t + 1]]
    return sorted(pairs)


@pytest.mark.parametrize("row_length", [32, 45, 64, 300])
@pytest.mark.parametrize("seed", range(4))
def test_every_prediction_sees_exactly_its_own_prefix(row_length, seed):
    sequences = random_sequences(seed, count=20)
    assert unpack(pack(sequences, row_length)) == expected(sequences)


def test_prefixes_are_stored_once():
    sequences = random_sequences(0, count=20)
    rows = pack(sequences, 300)
    total = sum(len(sequence.tokens) for sequence in sequences)
    distinct = {tuple(s.tokens[: n + 1].tolist()) for s in sequences for n in range(s.first_prediction)}
    own = sum(len(s.tokens) - s.first_prediction for s in sequences)
    assert len(rows) == 1
    assert rows.used == len(distinct) + own < total


def test_worked_example():
    """The example of forest.py's docstring, with answers of two tokens."""
    mask = np.array([False, False, False, True, True])
    one, two = (Sequence(n, np.array(t, np.int32), mask) for n, t in (("1", [5, 6, 7, 8, 9]), ("2", [5, 6, 7, 3, 4])))
    rows = pack([one, two], 10)
    # The third token predicts a learnt one: it stands twice.
    assert rows.tokens[0].tolist() == [5, 6, 7, 8, 9, 7, 3, 4, 0, 0]
    assert rows.positions[0].tolist() == [0, 1, 2, 3, 4, 2, 3, 4, 0, 0]
    assert rows.reach[0].tolist() == [8, 8, 5, 5, 5, 8, 8, 8, 9, 10]
    assert rows.predict_at[0][:4].tolist() == [2, 3, 5, 6]
    assert rows.targets[0][:4].tolist() == [8, 9, 3, 4]


def test_too_long_an_example_is_named():
    sequences = random_sequences(0)
    longest = max(sequences, key=lambda sequence: len(sequence.tokens))
    with pytest.raises(ValueError, match=rf"{longest.id} has {len(longest.tokens)} tokens.*row_length is 12"):
        pack([longest], 12)


def test_families_are_the_contexts():
    sequences = random_sequences(0, count=20)
    found = families(sequences, 20)
    assert sorted(place for family in found for place in family) == list(range(20))
    assert len(found) == 3


def test_loss_and_gradients_equal_one_by_one(tmp_path):
    model = load_model(
        hf_folder(tmp_path), lora=LoraSettings(rank=3, target_modules=ALL_LINEAR), compute_dtype=jnp.float32
    )
    graph, adapter, frozen = nnx.split(model, LoraParam, ...)
    # B away from zero, or A would have no gradient.
    adapter = jax.tree.map(lambda x: x + 0.01 * jnp.sin(jnp.arange(x.size, dtype=x.dtype).reshape(x.shape)), adapter)

    @jax.jit
    def run(adapter, batch):
        def loss(adapter):
            model = nnx.merge(graph, adapter, frozen)
            hidden = model.hidden_states(batch["tokens"], batch["positions"], batch["reach"])
            return answer_loss(model, hidden, batch["predict_at"], batch["targets"], batch["weights"])

        (total, count), gradient = jax.value_and_grad(loss, has_aux=True)(adapter)
        return total, count, gradient

    def sums(rows):
        return run(adapter, {name: jnp.asarray(array) for name, array in vars(rows).items()})

    sequences = random_sequences(2)
    total, count, gradient = sums(pack(sequences, 160))
    single = [sums(pack([sequence], 40)) for sequence in sequences]
    assert float(count) == sum(float(s[1]) for s in single) == sum(int(s.loss_mask.sum()) for s in sequences)
    np.testing.assert_allclose(total, sum(s[0] for s in single), rtol=1e-5)
    summed = jax.tree.map(lambda *leaves: sum(leaves), *(s[2] for s in single))
    for ours, theirs in zip(jax.tree.leaves(gradient), jax.tree.leaves(summed), strict=True):
        scale = float(jnp.abs(theirs).max())
        assert scale > 0
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * scale)
