"""The loss on held-out examples during training: the best adapter by it, and when to stop."""

import math
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jora_model.packing.sequences import Sequence
from jora_model.packing.tries import pack_evenly
from jora_model.spec.job import TrainSettings
from jora_model.training.step import Trainer
from user_error import UserError


@dataclass(frozen=True)
class Best:
    """The lowest validation loss so far: after which update, and how many losses since were no lower."""

    update: int = 0
    loss: float = math.inf
    since: int = 0


class Validation:
    """Measures the loss on held-out examples and remembers the best.

    Attributes:
        best: a part of a checkpoint, with `adapter`: else a run that goes on would forget what it has seen.
        adapter: a copy of the adapter that had the lowest loss; before the first loss, of the first adapter.
        tokens: learnt tokens of the held-out examples.
    """

    def __init__(self, sequences: Seq[Sequence], settings: TrainSettings, adapter: Any):
        rows = pack_evenly(sequences, settings.row_length, settings.rows_per_microbatch)
        size = settings.rows_per_microbatch
        self._microbatches = [rows.slice(start, size) for start in range(0, len(rows), size)]
        self._settings = settings
        self.count = len(sequences)
        self.tokens = int(rows.weights.sum())
        self.best = Best()
        self.adapter = _copy(adapter)

    def due(self, update: int, updates: int) -> bool:
        """Whether a loss is to be measured after `update` (from 1) of `updates`: every so many, and at the end."""
        return update % self._settings.validate_every == 0 or update == updates

    def measure(self, trainer: Trainer, update: int) -> float:
        """Mean loss over all learnt tokens, whatever the packing; remembers the adapter if it is the best so far.

        Raises:
            UserError: the loss is not finite.
        """
        loss = trainer.evaluate(self._microbatches) / self.tokens
        if not math.isfinite(loss):
            raise UserError(f"validation loss {loss} after update {update} is not finite; lower training.learning_rate")
        if loss < self.best.loss:
            self.best, self.adapter = Best(update, loss), _copy(trainer.state.adapter)
        else:
            self.best = Best(self.best.update, self.best.loss, self.best.since + 1)
        return loss

    @property
    def stops(self) -> bool:
        """Whether the loss has not fallen for as long as `patience` allows."""
        return self._settings.patience is not None and self.best.since >= self._settings.patience

    def facts(self) -> dict[str, Any]:
        """For training.json."""
        return {"examples": self.count, "answer_tokens": self.tokens, "best": asdict(self.best)}


def _copy(adapter: Any) -> Any:
    """The trainer gives the memory of its adapter to the next update's."""
    return jax.tree.map(jnp.copy, adapter)
