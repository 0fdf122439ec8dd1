"""Draws the examples of each update: a fixed number, families together, in an order that depends on the seed only."""

from collections import deque
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Seq

import numpy as np

from jora_model.packing.sequences import Sequence
from jora_model.packing.tries import Family, families

# Units searched for a subset that fills an update exactly.
_WINDOW = 64


class Sampler:
    """Updates by number, so that the position in the data is one integer.

    Attributes:
        families: indices of examples that share most of their prefix (`tries.families`).
        updates_per_epoch: every update has `examples_per_update` examples; the last of an epoch may have fewer.
    """

    def __init__(self, sequences: Seq[Sequence], examples_per_update: int, seed: int):
        self.families = families(sequences, examples_per_update)
        self.count = len(sequences)
        self.examples_per_update = examples_per_update
        self.seed = seed
        self.updates_per_epoch = -(-self.count // examples_per_update)
        self._epoch = -1
        self._updates: list[list[int]] = []

    def update(self, number: int) -> list[int]:
        """Indices of the examples of update `number` (from 0, over all epochs)."""
        epoch, inside = divmod(number, self.updates_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._updates = epoch, self._shuffle(epoch)
        return self._updates[inside]

    def _shuffle(self, epoch: int) -> list[list[int]]:
        units = self._units(self.families, np.random.default_rng([self.seed, epoch]))
        return [unit.tolist() for unit in units]

    def _units(self, family: Family, random: np.random.Generator) -> list[np.ndarray]:
        """A family in random order, in units of at most an update's size."""
        # Members that are left and units so far, of each family that the current one is in; not by recursion, since
        # families may be nested as deep as there are examples.
        around: list[tuple[Iterator[Family], list[np.ndarray]]] = [(iter([family]), [])]
        while True:
            members, units = around[-1]
            member = next(members, None)
            if member is None:
                around.pop()
                if not around:
                    return units
                shuffled = [units[index] for index in random.permutation(len(units))]
                around[-1][1].extend(fill_updates(shuffled, self.examples_per_update))
            elif isinstance(member[0], int):
                units.append(random.permutation(np.array(member, np.int64)))
            else:
                around.append((iter(member), []))


def fill_updates(units: Iterable[np.ndarray], size: int) -> list[np.ndarray]:
    """Join units, in order, into updates of exactly `size` examples; the last one takes what is left.

    A unit that does not fit waits for the next update. One is split only when no subset of the next ones fills the
    update exactly.
    """
    coming = deque(units)
    updates = []
    while coming:
        parts = [coming.popleft()]
        room = size - len(parts[0])
        # An update may need as many units as it has examples.
        window = [coming.popleft() for _ in range(min(max(_WINDOW, size), len(coming)))] if room else []
        # Bit r of sums[n]: some subset of window[n:] has r examples in total.
        sums = [1]
        for unit in reversed(window):
            sums.append(sums[-1] | sums[-1] << len(unit))
        sums.reverse()
        exact = sums[0] >> room & 1
        waiting = []
        for unit, later in zip(window, sums[1:], strict=True):
            rest = room - len(unit)
            if rest >= 0 and (not exact or later >> rest & 1):
                parts.append(unit)
                room = rest
            else:
                waiting.append(unit)
        if room and waiting:
            parts.append(waiting[0][:room])
            waiting[0] = waiting[0][room:]
        coming.extendleft(reversed(waiting))
        updates.append(np.concatenate(parts))
    return updates
