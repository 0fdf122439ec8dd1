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

from jora_model.model.linear import LoraParam
from jora_model.model.transformer import Transformer
from jora_model.ops.plain_attention import Attention
from jora_model.packing.tiles import Tiles, tiles_by_window
from jora_model.packing.tries import Rows
from jora_model.runtime.compilation import Programs
from jora_model.runtime.distributed import gather, put
from jora_model.runtime.sharding import BATCH
from jora_model.spec.config import ModelConfig
from jora_model.spec.job import TrainSettings
from jora_model.training.loss import answer_loss
from jora_model.training.optimizer import make_optimizer


class Sums(NamedTuple):
    """Running sums over the microbatches of an update: gradient of the loss sum, loss sum, trainable tokens.

    With data parallelism only, each device has sums of its own, in a leading dim.
    """

    gradient: Any
    loss: Array
    tokens: Array


class TrainState(NamedTuple):
    """The arrays of a checkpoint: adapter and optimizer state."""

    adapter: Any
    optimizer: Any


class Trainer:
    """Runs microbatches and updates of a model whose base weights are frozen.

    Attributes:
        state: adapter and optimizer state, replaced by every update.
        attention: the implementation for all rows; see `Transformer.hidden_states`.
        config: of the model.
        traces: how often the gradient function was traced: once for each shape of rows, or something retraces.
        programs: the compiled programs and their compile times.
    """

    def __init__(self, model: Transformer, settings: TrainSettings, updates: int, attention: Attention = "tiles"):
        self.settings = settings
        self.attention = attention
        self.mesh = model.mesh
        self.config = model.config
        self.optimizer = make_optimizer(settings, updates)
        self.graph, adapter, self.frozen = nnx.split(model, LoraParam, ...)
        # Number of devices if each holds the full model, else 0.
        self._alone = self.mesh.size if self.mesh is not None and self.mesh.size == self.mesh.shape["data"] else 0
        self._graph_of_device = nnx.graphdef(model.without_mesh()) if self._alone else self.graph
        self.state = TrainState(adapter, self._optimizer_state(adapter))
        self.traces = 0
        self.programs = Programs()
        # Results get the arguments' shardings: left to the compiler, the state of the second update has others, and jit
        # silently compiles everything again.
        state = jax.tree.map(lambda x: x.sharding, self.state)
        scalar = self._replicated()
        sums = Sums(state.adapter, scalar, scalar)
        if self._alone:
            sums = jax.tree.map(lambda _: self._rows_sharding(), sums)
        self._sums_shardings = sums
        self._zero = jax.jit(self._zeros, out_shardings=sums)
        self._accumulate = jax.jit(self._add, donate_argnums=2, out_shardings=sums)
        self._apply = jax.jit(self._update, donate_argnums=0, out_shardings=(state, scalar, scalar))
        self._evaluate = jax.jit(self._add_loss, out_shardings=sums.loss)

    @property
    def model(self) -> Transformer:
        """The model with the current adapter."""
        return nnx.merge(self.graph, self.state.adapter, self.frozen)

    def zero(self) -> Sums:
        """Empty sums."""
        return self.programs.run("zero", self._zero, self.state.adapter)

    def accumulate(self, sums: Sums, rows: Rows, update: int, microbatch: int) -> Sums:
        """Add one microbatch, whose dropout follows from `update` and `microbatch`. The old sums are donated."""
        numbers = put(np.array([self.settings.seed, update, microbatch], np.uint32), self._replicated())
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
        """Update the adapter with the mean over all trainable tokens; returns mean loss and gradient norm."""
        self.state, loss, norm = self.programs.run("apply", self._apply, self.state, sums)
        return loss, norm

    def evaluate(self, microbatches: Iterable[Rows]) -> float:
        """Sum of the losses with the current adapter, without dropout; forward only, with one wait for the devices."""
        devices = (self._alone,) if self._alone else ()
        total = put(np.zeros(devices, np.float32), self._sums_shardings.loss)
        for rows in microbatches:
            # The total chains them: a CPU would otherwise run several at once, with memory for each.
            total = self.programs.run(
                f"evaluate {_name(rows)}",
                self._evaluate,
                self.state.adapter,
                self.frozen,
                total,
                self._batch(rows),
            )
        return float(np.sum(gather(total)))

    def lower(self, rows: Rows) -> dict[str, Lowered]:
        """The programs of an update on rows of this shape, lowered but not compiled; the model may be abstract."""
        shapes = jax.tree.map(_shape, self.state)
        zero = self._zero.lower(shapes.adapter)
        sums = jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            zero.out_info,
            self._sums_shardings,
        )
        split = self._rows_sharding()
        batch = {
            name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=split)
            for name, array in arrays_of(rows, self.config).items()
        }
        numbers = jax.ShapeDtypeStruct((3,), np.uint32, sharding=self._replicated())
        frozen = jax.tree.map(_shape, self.frozen)
        return {
            "zero": zero,
            "accumulate": self._accumulate.lower(shapes.adapter, frozen, sums, batch, numbers),
            "apply": self._apply.lower(shapes, sums),
        }

    def _optimizer_state(self, adapter: Any) -> Any:
        """The initial state: moments sharded as their factors, counts replicated; abstract if the adapter is."""
        empty = jax.eval_shape(self.optimizer.init, adapter)
        shardings = optax.tree.map_params(
            self.optimizer,
            lambda _, factor: factor.sharding,
            empty,
            adapter,
            transform_non_params=lambda _: self._replicated(),
        )
        if isinstance(jax.tree.leaves(adapter)[0], jax.ShapeDtypeStruct):
            return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), empty, shardings)
        return jax.jit(self.optimizer.init, out_shardings=shardings)(adapter)

    def _batch(self, rows: Rows) -> dict[str, Array]:
        # jnp.asarray would compile a program for each shape.
        return {name: put(array, self._rows_sharding()) for name, array in arrays_of(rows, self.config).items()}

    def _rows_sharding(self) -> Sharding:
        return self._replicated() if self.mesh is None else NamedSharding(self.mesh, BATCH)

    def _replicated(self) -> Sharding:
        """Replicated on every device; without a mesh, on the device of the weights."""
        if self.mesh is None:
            return jax.tree.leaves(self.frozen)[0].sharding
        return NamedSharding(self.mesh, PartitionSpec())

    def _zeros(self, adapter: Any) -> Sums:
        scalar = jnp.zeros((), jnp.float32)
        zero = Sums(jax.tree.map(jnp.zeros_like, adapter), scalar, scalar)
        if not self._alone:
            return zero
        return jax.tree.map(lambda x: jnp.zeros((self._alone, *x.shape), x.dtype), zero)

    def _add(self, adapter: Any, frozen: Any, sums: Sums, batch: dict[str, Array], numbers: Array) -> Sums:
        self.traces += 1
        return self._add_rows(self._sums_of, sums, adapter, frozen, batch, numbers)

    def _add_loss(self, adapter: Any, frozen: Any, total: Array, batch: dict[str, Array]) -> Array:
        return self._add_rows(self._loss_of, total, adapter, frozen, batch)

    def _add_rows(self, function: Callable[..., Any], sums: Any, *arguments: Any) -> Any:
        """`sums` plus `function(adapter, frozen, batch, ..)`.

        With data parallelism only, each device runs its own rows and keeps its own sums (a leading dim of devices)
        until the update: left to the compiler, devices would synchronize in every layer and wait for the slowest row.
        """
        if not self._alone:
            return jax.tree.map(jnp.add, sums, function(*arguments))

        def local(sums: Any, *arguments: Any) -> Any:
            return jax.tree.map(lambda total, part: total + part[None], sums, function(*arguments))

        replicated = PartitionSpec()
        specs = (BATCH, replicated, replicated, BATCH, *(replicated for _ in arguments[3:]))
        run = jax.shard_map(local, mesh=self.mesh, in_specs=specs, out_specs=BATCH, check_vma=False)
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
            # Also in `evaluate`, where nothing is recomputed: rows are processed in blocks, as in training.
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


def arrays_of(rows: Rows, config: ModelConfig) -> dict[str, np.ndarray]:
    """The arrays of a microbatch that a program takes."""
    windows = config.windows(rows.tokens.shape[1])
    arrays = {**vars(rows), **tiles_by_window(rows.reach, rows.lengths, rows.positions, windows)._asdict()}
    del arrays["lengths"]  # the tiles cover it
    return {**arrays, "row": np.arange(len(rows), dtype=np.int32)}


def _name(rows: Rows) -> str:
    return "{}x{}".format(*rows.tokens.shape)


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
