"""Validation loss during training, which selects the best adapter and the early stop."""

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
    """The lowest validation loss so far, the update after which it was measured, and the number of losses since."""

    update: int = 0
    loss: float = math.inf
    since: int = 0


class Validation:
    """Measures the loss on held-out examples and keeps the best adapter.

    Attributes:
        best: stored in checkpoints together with `adapter`, so that a resumed run keeps both.
        adapter: copy of the adapter with the lowest loss; before the first loss, of the initial adapter.
        tokens: number of trainable tokens of the held-out examples.
    """

    def __init__(self, sequences: Seq[Sequence], settings: TrainSettings, adapter: Any, long_from: int | None = None):
        """
        Args:
            long_from: see `tries.pack`.
        """
        rows = pack_evenly(sequences, settings.row_length, settings.rows_per_microbatch, long_from)
        size = settings.rows_per_microbatch
        self._microbatches = [rows.slice(start, size) for start in range(0, len(rows), size)]
        self._settings = settings
        self.count = len(sequences)
        self.tokens = int(rows.weights.sum())
        self.best = Best()
        self.adapter = _copy(adapter)

    def due(self, update: int, updates: int) -> bool:
        """Whether to measure after `update` (from 1) of `updates`: every `validate_every`, and after the last."""
        return update % self._settings.validate_every == 0 or update == updates

    def measure(self, trainer: Trainer, update: int) -> float:
        """Mean loss over all trainable tokens, whatever the packing; keeps the adapter if it is the best so far.

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
        """Whether the last `patience` losses were no new lowest."""
        return self._settings.patience is not None and self.best.since >= self._settings.patience

    def facts(self) -> dict[str, Any]:
        """What training.json reports."""
        return {"examples": self.count, "answer_tokens": self.tokens, "best": asdict(self.best)}


def _copy(adapter: Any) -> Any:
    """A copy: the trainer donates the memory of its adapter to the next update."""
    return jax.tree.map(jnp.copy, adapter)
