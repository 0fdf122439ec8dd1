"""The compiled functions of training: add a microbatch's gradient, apply an update, evaluate a microbatch."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec, Sharding
from jax.stages import Lowered
from jaxtyping import Array

from jora_model.model.transformer import Llama, LoraParam
from jora_model.ops.plain_attention import Attention
from jora_model.packing.tiles import Tiles, visible_tiles
from jora_model.packing.tries import Rows
from jora_model.runtime.compilation import Programs
from jora_model.runtime.distributed import put, whole
from jora_model.runtime.sharding import BATCH
from jora_model.spec.job import TrainSettings
from jora_model.training.loss import answer_loss
from jora_model.training.optimizer import make_optimizer


class Sums(NamedTuple):
    """Running sums over the microbatches of an update: gradient of the loss sum, loss sum, learnt tokens. Devices that
    each hold the whole model have sums of their own, in a leading dim."""

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
        attention: of all rows; see `Llama.hidden_states`.
        traces: how often the gradient function was traced; one for a run, or something retraces.
        programs: what was compiled, and how long it took.
    """

    def __init__(self, model: Llama, settings: TrainSettings, updates: int, attention: Attention = "tiles"):
        self.settings = settings
        self.attention = attention
        self.mesh = model.mesh
        self.optimizer = make_optimizer(settings, updates)
        self.graph, adapter, self.frozen = nnx.split(model, LoraParam, ...)
        # Devices that each hold the whole model.
        self._alone = self.mesh.size if self.mesh is not None and self.mesh.size == self.mesh.shape["data"] else 0
        self._graph_of_device = nnx.graphdef(model.without_mesh()) if self._alone else self.graph
        self.state = TrainState(adapter, self._optimizer_state(adapter))
        self.traces = 0
        self.programs = Programs()
        # Results live where the arguments do: left to the compiler, the second update finds its state elsewhere, and
        # jit compiles everything again without a word.
        state = jax.tree.map(lambda x: x.sharding, self.state)
        scalar = self._whole()
        sums = Sums(state.adapter, scalar, scalar)
        if self._alone:
            sums = jax.tree.map(lambda _: self._rows_sharding(), sums)
        self._sums_places = sums
        self._zero = jax.jit(self._zeros, out_shardings=sums)
        self._accumulate = jax.jit(self._add, donate_argnums=2, out_shardings=sums)
        self._apply = jax.jit(self._update, donate_argnums=0, out_shardings=(state, scalar, scalar))
        self._evaluate = jax.jit(self._add_loss, out_shardings=sums.loss)

    @property
    def model(self) -> Llama:
        """The model with the adapter as it is now."""
        return nnx.merge(self.graph, self.state.adapter, self.frozen)

    def zero(self) -> Sums:
        """Empty sums."""
        return self.programs.run("zero", self._zero, self.state.adapter)

    def accumulate(self, sums: Sums, rows: Rows, update: int, microbatch: int) -> Sums:
        """Add one microbatch; `update` and `microbatch` decide its dropout. The old sums are gone."""
        numbers = put(np.array([self.settings.seed, update, microbatch], np.uint32), self._whole())
        return self.programs.run(
            f"accumulate {_name(rows)}",
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
        devices = (self._alone,) if self._alone else ()
        total = put(np.zeros(devices, np.float32), self._sums_places.loss)
        for rows in microbatches:
            # Each waits for the one before, through the total: a CPU would run several at once, with memory for each.
            total = self.programs.run(
                f"evaluate {_name(rows)}",
                self._evaluate,
                self.state.adapter,
                self.frozen,
                total,
                self._batch(rows),
            )
        return float(np.sum(whole(total)))

    def lower(self, rows: Rows) -> dict[str, Lowered]:
        """The programs of an update on rows of this shape, not yet compiled; of an abstract model as of a real one."""
        shapes = jax.tree.map(_shape, self.state)
        zero = self._zero.lower(shapes.adapter)
        sums = jax.tree.map(
            lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
            zero.out_info,
            self._sums_places,
        )
        split = self._rows_sharding()
        batch = {
            name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=split)
            for name, array in arrays_of(rows).items()
        }
        numbers = jax.ShapeDtypeStruct((3,), np.uint32, sharding=self._whole())
        frozen = jax.tree.map(_shape, self.frozen)
        return {
            "zero": zero,
            "accumulate": self._accumulate.lower(shapes.adapter, frozen, sums, batch, numbers),
            "apply": self._apply.lower(shapes, sums),
        }

    def _optimizer_state(self, adapter: Any) -> Any:
        """Moments lie where their factors do, and the rest (counts) on every device; abstract like the adapter."""
        empty = jax.eval_shape(self.optimizer.init, adapter)
        places = optax.tree.map_params(
            self.optimizer,
            lambda _, factor: factor.sharding,
            empty,
            adapter,
            transform_non_params=lambda _: self._whole(),
        )
        if isinstance(jax.tree.leaves(adapter)[0], jax.ShapeDtypeStruct):
            return jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), empty, places)
        return jax.jit(self.optimizer.init, out_shardings=places)(adapter)

    def _batch(self, rows: Rows) -> dict[str, Array]:
        # Not jnp.asarray, which would compile a program for each shape.
        return {name: put(array, self._rows_sharding()) for name, array in arrays_of(rows).items()}

    def _rows_sharding(self) -> Sharding:
        return self._whole() if self.mesh is None else NamedSharding(self.mesh, BATCH)

    def _whole(self) -> Sharding:
        """On every device; without a mesh, on the one that holds the weights."""
        if self.mesh is None:
            return jax.tree.leaves(self.frozen)[0].sharding
        return NamedSharding(self.mesh, PartitionSpec())

    def _zeros(self, adapter: Any) -> Sums:
        nothing = jnp.zeros((), jnp.float32)
        zero = Sums(jax.tree.map(jnp.zeros_like, adapter), nothing, nothing)
        if not self._alone:
            return zero
        return jax.tree.map(lambda x: jnp.zeros((self._alone, *x.shape), x.dtype), zero)

    def _add(self, adapter: Any, frozen: Any, sums: Sums, batch: dict[str, Array], numbers: Array) -> Sums:
        self.traces += 1
        return self._add_rows(self._sums_of, sums, adapter, frozen, batch, numbers)

    def _add_loss(self, adapter: Any, frozen: Any, total: Array, batch: dict[str, Array]) -> Array:
        return self._add_rows(self._loss_of, total, adapter, frozen, batch)

    def _add_rows(self, function: Callable[..., Any], sums: Any, *arguments: Any) -> Any:
        """`sums` and `function(adapter, frozen, batch, ..)`, added.

        Where each device holds the whole model, it runs its own rows alone and keeps sums of its own (a leading dim of
        devices) until the update: left to the compiler, devices would meet in every layer and wait for the slower row.
        """
        if not self._alone:
            return jax.tree.map(jnp.add, sums, function(*arguments))

        def local(sums: Any, *arguments: Any) -> Any:
            return jax.tree.map(lambda whole, part: whole + part[None], sums, function(*arguments))

        whole = PartitionSpec()
        places = (BATCH, whole, whole, BATCH, *(whole for _ in arguments[3:]))
        run = jax.shard_map(local, mesh=self.mesh, in_specs=places, out_specs=BATCH, check_vma=False)
        return run(sums, *arguments)

    def _sums_of(self, adapter: Any, frozen: Any, batch: dict[str, Array], numbers: Array) -> Sums:
        key = jax.random.key(0)
        for number in numbers:
            key = jax.random.fold_in(key, number)
        keys = jax.vmap(partial(jax.random.fold_in, key))(batch["row"])

        def loss_sum(adapter: Any) -> tuple[Array, Array]:
            return self._loss(adapter, frozen, batch, dropout_keys=keys)

        (loss, tokens), gradient = jax.value_and_grad(loss_sum, has_aux=True)(adapter)
        return Sums(gradient, loss, tokens)

    def _loss_of(self, adapter: Any, frozen: Any, batch: dict[str, Array]) -> Array:
        return self._loss(adapter, frozen, batch)[0]

    def _loss(
        self, adapter: Any, frozen: Any, batch: dict[str, Array], dropout_keys: Array | None = None
    ) -> tuple[Array, Array]:
        model = nnx.merge(self._graph_of_device, adapter, frozen)
        tiles = Tiles(batch["spans"], batch["ends"])
        hidden = model.hidden_states(
            batch["tokens"],
            batch["positions"],
            batch["reach"],
            tiles=tiles,
            dropout_keys=dropout_keys,
            # Without a gradient nothing is computed again; but a row goes through in blocks, as in training.
            remat=self.settings.remat,
            attention=self.attention,
        )
        return answer_loss(model, hidden, batch["predict_at"], batch["targets"], batch["weights"])

    def _update(self, state: TrainState, sums: Sums) -> tuple[TrainState, Array, Array]:
        if self._alone:
            sums = jax.tree.map(lambda x: jnp.sum(x, axis=0), sums)
        gradient = jax.tree.map(lambda g: g / sums.tokens, sums.gradient)
        norm = optax.global_norm(gradient)
        # Optax mixes dtypes (beta ** int32 count), which our tests otherwise forbid.
        with jax.numpy_dtype_promotion("standard"):
            change, optimizer = self.optimizer.update(gradient, state.optimizer, state.adapter)
        adapter = optax.apply_updates(state.adapter, change)
        return TrainState(adapter, optimizer), sums.loss / sums.tokens, norm


def arrays_of(rows: Rows) -> dict[str, np.ndarray]:
    """What a program gets of a microbatch."""
    arrays = {**vars(rows), **visible_tiles(rows.reach, rows.lengths)._asdict()}
    del arrays["lengths"]  # the tiles say it
    return {**arrays, "row": np.arange(len(rows), dtype=np.int32)}


def _name(rows: Rows) -> str:
    return "{}x{}".format(*rows.tokens.shape)


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
