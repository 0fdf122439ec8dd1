"""Updates: exactly so many examples, each once an epoch, families whole where they can be."""

import numpy as np
import pytest

from jora_model.packing.sampler import Sampler
from jora_model.packing.sequences import Sequence


def made(sizes: list[int]) -> list[Sequence]:
    """Families of so many examples, each family with a context of its own."""
    found = []
    for family, size in enumerate(sizes):
        context = np.random.default_rng(family).integers(0, 50, 30)
        for number in range(size):
            tokens = np.concatenate([context, [60 + number, 1, 2]]).astype(np.int32)
            found.append(Sequence(f"{family}-{number}", tokens, np.arange(33) >= 31))
    return found


def epoch(sampler: Sampler, number: int) -> list[list[int]]:
    first = number * sampler.updates_per_epoch
    return [sampler.update(first + inside) for inside in range(sampler.updates_per_epoch)]


@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_each_example_once_an_epoch_and_exact_sizes(size):
    sequences = made([5, 1, 3, 8, 2, 2, 6])
    sampler = Sampler(sequences, size, seed=0)
    for number in range(3):
        updates = epoch(sampler, number)
        assert sorted(place for update in updates for place in update) == list(range(27))
        assert [len(update) for update in updates[:-1]] == [size] * (len(updates) - 1)
        assert 0 < len(updates[-1]) <= size


def test_order_follows_from_seed_and_epoch_alone():
    sequences = made([3] * 12)
    one, two = Sampler(sequences, 6, seed=1), Sampler(sequences, 6, seed=1)
    two.update(40)
    assert epoch(one, 2) == epoch(two, 2)
    assert epoch(one, 0) == epoch(two, 0)
    assert epoch(one, 0) != epoch(one, 1)
    assert epoch(one, 0) != epoch(Sampler(sequences, 6, seed=2), 0)


def cut(updates: list[list[int]], families: list[list[int]]) -> int:
    """How many families stand in more than one update."""
    home = {place: number for number, update in enumerate(updates) for place in update}
    return sum(len({home[place] for place in family}) > 1 for family in families)


def test_families_are_whole_where_a_choice_of_them_fills_the_update():
    sampler = Sampler(made([5, 3] * 20), 16, seed=0)
    assert sorted(map(len, sampler.families)) == [3] * 20 + [5] * 20
    for number in range(3):
        # Only the last updates of an epoch can lack a choice.
        assert cut(epoch(sampler, number), sampler.families) <= 2


def test_one_cut_an_update_where_it_must_be():
    sampler = Sampler(made([5] * 32), 16, seed=0)
    assert cut(epoch(sampler, 0), sampler.families) <= 9


def test_family_larger_than_an_update_stays_together():
    sampler = Sampler(made([10, 1, 1, 1, 1, 1, 1]), 4, seed=0)
    for number in range(3):
        updates = epoch(sampler, number)
        assert sum(set(update) <= set(range(10)) for update in updates) >= 2
        assert sum(not set(update).isdisjoint(range(10)) for update in updates) == 3


def test_prefixes_nested_as_deep_as_there_are_examples():
    """Each prompt begins with all of the one before it: 1,500 families within one another."""
    mask = np.array([False, True])
    count = 1500
    tokens = np.arange(1, 3 * count + 1, dtype=np.int32) % 97
    sequences = [
        Sequence(
            f"{n:04}", np.append(tokens[: 3 * n], [98, 99]).astype(np.int32), np.append(np.zeros(3 * n, bool), mask)
        )
        for n in range(1, count + 1)
    ]
    sampler = Sampler(sequences, 4, seed=0)
    depth, family = 0, sampler.families
    while not isinstance(family[0], int):
        depth, family = depth + 1, max(family, key=lambda member: not isinstance(member[0], int))
    assert depth > 1000
    updates = epoch(sampler, 0)
    assert sorted(place for update in updates for place in update) == list(range(count))


def test_a_system_prompt_leaves_the_order_random():
    """All examples share most of their tokens and nothing else: their updates are drawn from all of them."""
    system = list(range(60))
    tokens = [np.array([*system, 100 + n // 10, 200 + n, 3, 2, 1], np.int32) for n in range(100)]
    sampler = Sampler([Sequence(f"{n}", t, np.arange(65) >= 64) for n, t in enumerate(tokens)], 10, seed=0)
    for update in epoch(sampler, 0):
        assert len({place // 10 for place in update}) > 3
