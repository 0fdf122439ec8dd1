"""Which examples make an update: a fixed number of them, families together, in an order that the seed alone decides."""

from collections.abc import Sequence as Seq

import numpy as np

from jora_model.sequences import Sequence
from jora_model.tries import families


class Sampler:
    """Updates by number, so that the position in the data is one integer.

    Attributes:
        updates_per_epoch: the last update of an epoch may hold fewer examples.
    """

    def __init__(self, sequences: Seq[Sequence], examples_per_update: int, seed: int):
        self.families = families(sequences)
        self.count = len(sequences)
        self.examples_per_update = examples_per_update
        self.seed = seed
        self.updates_per_epoch = -(-self.count // examples_per_update)
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def update(self, number: int) -> list[int]:
        """Places of the examples of update `number` (from 0, over all epochs)."""
        epoch, inside = divmod(number, self.updates_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._shuffle(epoch)
        start = inside * self.examples_per_update
        return self._order[start : start + self.examples_per_update].tolist()

    def _shuffle(self, epoch: int) -> np.ndarray:
        """Families in random order, each family's examples next to each other in random order."""
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.families))
        return np.concatenate([random.permutation(self.families[place]) for place in order])
