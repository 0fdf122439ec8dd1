"""The compiled functions of training: add a microbatch's gradient, apply an update, evaluate a microbatch."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array

from jora_model.compilation import Programs
from jora_model.job import TrainSettings
from jora_model.loss import answer_loss
from jora_model.model import Llama, LoraParam
from jora_model.optimizer import make_optimizer
from jora_model.sharding import BATCH
from jora_model.tiles import Tiles, visible_tiles
from jora_model.tries import Rows


class Sums(NamedTuple):
    """Running sums over the microbatches of an update: gradient of the loss sum, loss sum, learnt tokens."""

    gradient: Any
    loss: Array
    tokens: Array


class TrainState(NamedTuple):
    """What a checkpoint holds: adapter and optimizer state."""

    adapter: Any
    optimizer: Any


class Trainer:
    """Holds the model's frozen part and runs microbatches and updates.

    Attributes:
        state: adapter and optimizer, replaced by every update.
        traces: how often the gradient function was traced; one for a run, or something retraces.
        programs: what was compiled, and how long it took.
    """

    def __init__(self, model: Llama, settings: TrainSettings, updates: int):
        self.settings = settings
        self.mesh = model.mesh
        self.optimizer = make_optimizer(settings, updates)
        self.graph, adapter, self.frozen = nnx.split(model, LoraParam, ...)
        self.state = TrainState(adapter, self._spread(self.optimizer.init(adapter)))
        self.traces = 0
        self.programs = Programs()
        # Results live where the arguments do: left to the compiler, the second update finds its state elsewhere, and
        # jit compiles everything again without a word.
        state = jax.tree.map(lambda x: x.sharding, self.state)
        scalar = self._spread(np.zeros((), np.float32)).sharding
        sums = Sums(state.adapter, scalar, scalar)
        self._zero = jax.jit(self._zeros, out_shardings=sums)
        self._accumulate = jax.jit(self._add, donate_argnums=2, out_shardings=sums)
        self._apply = jax.jit(self._update, donate_argnums=0, out_shardings=(state, scalar, scalar))
        self._evaluate = jax.jit(self._add_loss, out_shardings=scalar)

    @property
    def model(self) -> Llama:
        """The model with the adapter as it is now."""
        return nnx.merge(self.graph, self.state.adapter, self.frozen)

    def zero(self) -> Sums:
        """Empty sums."""
        return self.programs.run("zero", self._zero, self.state.adapter)

    def accumulate(self, sums: Sums, rows: Rows, update: int, microbatch: int) -> Sums:
        """Add one microbatch; `update` and `microbatch` decide its dropout. The old sums are gone."""
        numbers = self._spread(np.array([self.settings.seed, update, microbatch], np.uint32))
        return self.programs.run(
            f"accumulate {_shape(rows)}",
            self._accumulate,
            self.state.adapter,
            self.frozen,
            sums,
            self._batch(rows),
            numbers,
        )

    def apply(self, sums: Sums) -> tuple[Array, Array]:
        """Update the adapter with the mean over all learnt tokens; returns mean loss and gradient norm."""
        self.state, loss, norm = self.programs.run("apply", self._apply, self.state, sums)
        return loss, norm

    def evaluate(self, microbatches: Iterable[Rows]) -> float:
        """Loss sum with the adapter as it is, without dropout; forward only, and one wait for the devices."""
        total = self._spread(np.zeros((), np.float32))
        for rows in microbatches:
            # Each waits for the one before, through the total: a CPU would run several at once, with memory for each.
            total = self.programs.run(
                f"evaluate {_shape(rows)}",
                self._evaluate,
                self.state.adapter,
                self.frozen,
                total,
                self._batch(rows),
            )
        return float(total)

    def _batch(self, rows: Rows) -> dict[str, Array]:
        arrays = {**vars(rows), **visible_tiles(rows.reach)._asdict()}
        return {name: self._place(array) for name, array in arrays.items()}

    def _place(self, array: Any) -> Array:
        if self.mesh is None:
            return jax.device_put(array)  # jnp.asarray would compile a program for each shape
        return jax.device_put(array, NamedSharding(self.mesh, BATCH))

    def _spread(self, tree: Any) -> Any:
        """Whatever has no place on the mesh yet, on every device of it."""
        if self.mesh is None:
            return jax.device_put(tree)
        whole = NamedSharding(self.mesh, PartitionSpec())

        def place(x: Any) -> Array:
            if isinstance(x, jax.Array) and isinstance(x.sharding, NamedSharding):
                return x
            return jax.device_put(x, whole)

        return jax.tree.map(place, tree)

    def _zeros(self, adapter: Any) -> Sums:
        nothing = jnp.zeros((), jnp.float32)
        return Sums(jax.tree.map(jnp.zeros_like, adapter), nothing, nothing)

    def _add(self, adapter: Any, frozen: Any, sums: Sums, batch: dict[str, Array], numbers: Array) -> Sums:
        self.traces += 1
        key = jax.random.key(0)
        for number in numbers:
            key = jax.random.fold_in(key, number)

        def loss_sum(adapter: Any) -> tuple[Array, Array]:
            return self._loss(adapter, frozen, batch, dropout_key=key, remat=self.settings.remat)

        (loss, tokens), gradient = jax.value_and_grad(loss_sum, has_aux=True)(adapter)
        gradient = jax.tree.map(jnp.add, sums.gradient, gradient)
        return Sums(gradient, sums.loss + loss, sums.tokens + tokens)

    def _add_loss(self, adapter: Any, frozen: Any, total: Array, batch: dict[str, Array]) -> Array:
        return total + self._loss(adapter, frozen, batch)[0]

    def _loss(self, adapter: Any, frozen: Any, batch: dict[str, Array], **how: Any) -> tuple[Array, Array]:
        model = nnx.merge(self.graph, adapter, frozen)
        tiles = Tiles(batch["spans"], batch["ends"])
        hidden = model.hidden_states(batch["tokens"], batch["positions"], batch["reach"], tiles=tiles, **how)
        return answer_loss(model, hidden, batch["predict_at"], batch["targets"], batch["weights"])

    def _update(self, state: TrainState, sums: Sums) -> tuple[TrainState, Array, Array]:
        gradient = jax.tree.map(lambda g: g / sums.tokens, sums.gradient)
        norm = optax.global_norm(gradient)
        # Optax mixes dtypes (beta ** int32 count), which our tests otherwise forbid.
        with jax.numpy_dtype_promotion("standard"):
            change, optimizer = self.optimizer.update(gradient, state.optimizer, state.adapter)
        adapter = optax.apply_updates(state.adapter, change)
        return TrainState(adapter, optimizer), sums.loss / sums.tokens, norm


def _shape(rows: Rows) -> str:
    return "{}x{}".format(*rows.tokens.shape)
