"""The model in Flax NNX: layers stacked and scanned, base weights frozen, adapters beside them.

    model = load_model(folder, lora=LoraSettings())           # load.py
    hidden = model.hidden_states(tokens, positions, reach)    # [B, T, D]
    logits = model.head(hidden[:, -1])                        # [B, V], float32

The tree of variables (L layers, R rank):

    embed [V, D], final_norm [D], lm_head [V, D] unless tied                  Frozen
    layers.norms.norm_before_attention [L, D] ...                             Frozen
    layers.linears.q_proj.kernel [L, out, in], .bias [L, out] ...             Frozen
    layers.linears.q_proj.lora_a [L, R, in], .lora_b [L, R, out] ...          LoraParam, float32
    layers.linears.q_proj.lora_m [L, out] ..., the lengths of DoRA's rows     LoraParam, float32

Which norms, linears and biases a layer has stands in the table (`parameters.parameters_of`), what it computes in
layer.py.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from jora_model.model.layer import after_attention, before_attention, embedded, layer, normalize, scaled_logits
from jora_model.model.linear import Frozen, Linear, LoraParam
from jora_model.ops.attention import Scores, Window, rotary
from jora_model.ops.blocked_attention import SAVED, attend_blocked, block_rope, used_blocks
from jora_model.ops.cpu import as_float, contract, saved_as_bits, take_rows
from jora_model.ops.dora import stacked_lengths
from jora_model.ops.dropout import draws_of
from jora_model.ops.linear import PRODUCT
from jora_model.ops.plain_attention import Attention, attend_plain, reach_bias
from jora_model.ops.position_blocks import over_blocks, positions_of_block
from jora_model.packing.tiles import Tiles, block_size
from jora_model.runtime.sharding import BATCH, named, rules_for, tp_size
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import LINEAR_BY_NAME, bias_name, groups_of, layer_norms_of, linears_of, widths_of
from jora_model.spec.rope import Rope
from jora_model.spec.settings import LoraSettings, Remat

_NO_WINDOW = 2**30


class Layers(nnx.Module):
    """The layers' variables. Outside the scan they have a leading dim of layers, inside they do not."""

    def __init__(
        self,
        config: ModelConfig,
        base: Mapping[str, Array],
        adapter: Mapping[str, tuple[Array, ...]],
        lora: LoraSettings | None,
        mesh: Mesh | None,
    ):
        self.config = config
        self.mesh = mesh
        self.norms = nnx.Dict({norm.name: Frozen(base[norm.name]) for norm in layer_norms_of(config)})
        self.linears = nnx.Dict(
            {
                name: Linear(base[name], base.get(bias_name(name)), adapter.get(name), lora)
                for name in (parameter.name for parameter in linears_of(config))
            }
        )

    def row_lengths(self) -> dict[str, Float[Array, "L O"]]:
        """DoRA's `|W + scale * B A|` of each row, by target; empty without DoRA."""
        return {
            name: stacked_lengths(target.kernel[...], target.lora_a[...], target.lora_b[...], target.scale)
            for name, target in self.linears.items()
            if target.use_dora
        }

    def run(
        self, x: Float[Array, "B T D"], attend: Callable[..., Array], tiles: Tiles | None, keys: Any, lengths: Any
    ) -> Array:
        """States after the layer."""
        return layer(self.config, _Part(self, keys, lengths), x, attend)

    def run_in_blocks(
        self, x: Float[Array, "B T D"], attend: Callable[..., Array], tiles: Tiles | None, keys: Any, lengths: Any
    ) -> Array:
        """The same in blocks of positions, except for the attention (position_blocks.py)."""
        T = x.shape[1]
        size = positions_of_block(T)
        count = jnp.int32(T // size)
        if tiles is not None:
            used = jnp.max(used_blocks(tiles.ends)) * block_size(T)
            count = jnp.minimum(count, (used + (size - 1)) // size)
        graph, adapter, frozen = nnx.split(self, LoraParam, ...)
        fixed = (frozen, keys, lengths)
        q, k, v = over_blocks(partial(_before, graph), size, adapter, fixed, (x,), count)
        attended = attend(q, k, v)
        return over_blocks(partial(_after, graph), size, adapter, fixed, (x, attended), count)


def _before(graph: Any, adapter: Any, fixed: Any, inputs: Any, block: Array) -> Any:
    frozen, keys, lengths = fixed
    layers = nnx.merge(graph, adapter, frozen)
    return before_attention(layers.config, _Part(layers, keys, lengths, block), *inputs)


def _after(graph: Any, adapter: Any, fixed: Any, inputs: Any, block: Array) -> Any:
    frozen, keys, lengths = fixed
    layers = nnx.merge(graph, adapter, frozen)
    return after_attention(layers.config, _Part(layers, keys, lengths, block), *inputs)


class _Part:
    """One layer, as layer.py reads it: with the dropout's draws, DoRA's lengths, and the sharding of its results."""

    def __init__(self, layers: Layers, keys: Array | None, lengths: Mapping[str, Array], block: Array | None = None):
        self._layers, self._lengths = layers, lengths
        self._groups = groups_of(layers.config)
        names = tuple(name for group in self._groups.values() for name in group)
        self._draws = draws_of(keys, names, block)

    def norm(self, name: str, x: Array) -> Array:
        return normalize(self._layers.config, x, self._layers.norms[name][...])

    def project(self, group: str, x: Array) -> tuple[Array, ...]:
        names = self._groups[group]
        linears, draws, lengths = self._layers.linears, self._draws, self._lengths
        outputs = tuple(self._pin(name, linears[name](x, draws[name], lengths.get(name))) for name in names)
        if len(names) < len(widths_of(self._layers.config, group)):  # one weight for all of them
            (fused,), widths = outputs, widths_of(self._layers.config, group)
            return tuple(jnp.split(fused, np.cumsum(widths)[:-1].tolist(), axis=-1))
        return outputs

    def _pin(self, name: str, x: Array) -> Array:
        """Constrain an output's sharding: heads over `tp`, the states by row; no-op without a mesh."""
        dims = LINEAR_BY_NAME[name].dims[0]
        if dims in ("mlp", "gate_up"):  # the compiler knows from the kernel
            return x
        rules = rules_for(self._layers.config, tp_size(self._layers.mesh))
        split = None if dims == "embed" else rules[dims]
        sharding = named(self._layers.mesh, PartitionSpec(*BATCH, None, split))
        return x if sharding is None else jax.lax.with_sharding_constraint(x, sharding)


class Transformer(nnx.Module):
    """A causal language model; `load.load_model` builds it from a folder."""

    def __init__(
        self,
        config: ModelConfig,
        base: Mapping[str, Array],
        adapter: Mapping[str, tuple[Array, ...]] | None = None,
        lora: LoraSettings | None = None,
        mesh: Mesh | None = None,
        compute_dtype: Any = jnp.bfloat16,
    ):
        """
        Args:
            base: arrays by the names of `parameters.py`, shapes of `shape_of`; bf16 as uint16 bits, or float32.
            adapter: linear -> (A `[L, R, in]`, B transposed `[L, R, out]`) and with DoRA m `[L, out]`, float32.
            compute_dtype: dtype of the activations and of the products' operands.
        """
        self.config = config
        self.mesh = mesh
        self.compute_dtype = jnp.dtype(compute_dtype)
        # The platform of the weights' devices, which may not be JAX's own: a plan may be for a chip that is not here.
        self.platform = next(iter(base["embed"].sharding.device_set)).platform
        self.embed = Frozen(base["embed"])
        self.final_norm = Frozen(base["final_norm"])
        if not config.tie_embeddings:
            self.lm_head = Frozen(base["lm_head"])
        self.layers = Layers(config, base, adapter or {}, lora, mesh)

    def without_mesh(self) -> "Transformer":
        """The same variables without sharding, for a device that holds all of them."""
        graph, state = nnx.split(self)
        alone = nnx.merge(graph, state)
        alone.mesh = alone.layers.mesh = None
        return alone

    def embed_tokens(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """The first layer's input: rows of the embedding in the compute dtype, scaled."""
        return embedded(self.config, take_rows(self.embed[...], tokens).astype(self.compute_dtype))

    def hidden_states(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        reach: Int[Array, "B T"],
        *,
        tiles: Tiles | None = None,
        dropout_keys: Array | None = None,
        remat: Remat = "none",
        attention: Attention = "tiles",
    ) -> Float[Array, "B T D"]:
        """States after the final norm, in the compute dtype.

        Args:
            reach: see `attention.visible`.
            tiles: `tiles.tiles_by_window` of the rows, so that attention skips hidden tiles.
            dropout_keys: one per row; they turn the adapters' dropout on (training only).
            remat: what the backward pass recomputes. "full" saves each layer's input and its attention, "dots" the
                results of its products too. On a CPU without a mesh, "full" computes the parts before and after the
                attention in blocks of positions.
            attention: "cudnn" and "xla" only if `reach` is plain (`plain_attention.is_plain`). The backward pass
                recomputes all but "tiles", unless `remat` is "none".
        """
        x = self.embed_tokens(tokens)
        attend_in = self._attention(positions, reach, tiles, attention)
        graph, stacked = nnx.split(self.layers)
        L = self.config.num_layers
        in_blocks = remat == "full" and self.platform == "cpu" and self.mesh is None
        keys = None if dropout_keys is None else jax.vmap(partial(jax.random.split, num=L), out_axes=1)(dropout_keys)
        kinds = np.asarray(self.config.layers, np.int32) if len(self.config.kinds) > 1 else None

        def body(x: Array, scanned: Any) -> tuple[Array, None]:
            state, key, kind, lengths = scanned
            x = saved_as_bits(x, SAVED)
            layers = nnx.merge(graph, state)
            run = layers.run_in_blocks if in_blocks else layers.run
            return run(x, partial(attend_in, kind), tiles, key, lengths), None

        if remat != "none":
            names = (SAVED, PRODUCT) if remat == "dots" else (SAVED,)
            body = jax.checkpoint(body, policy=jax.checkpoint_policies.save_only_these_names(*names))
        x, _ = jax.lax.scan(body, x, (stacked, keys, kinds, self.layers.row_lengths()))
        return normalize(self.config, x, self.final_norm[...])

    def _attention(
        self, positions: Array, reach: Array, tiles: Tiles | None, attention: Attention
    ) -> Callable[..., Array]:
        """The attention `(kind, q, k, v)` of layers; kind is an index of `ModelConfig.kinds`, or None if there is one.

        Which kind a layer has is data, not structure: one scan goes over all layers, whatever their pattern.
        """
        config, B = self.config, len(positions)
        scores = scores_of(config)
        ropes = [rope_of(rope, positions, config.head_dim) for rope in config.ropes]
        sizes = config.windows(positions.shape[1])
        windowed = any(size is not None for size in sizes)

        def window_of(kind: int) -> Window:
            return Window(positions, jnp.full(B, sizes[kind] or _NO_WINDOW, jnp.int32))

        if attention == "tiles":
            group = config.num_heads // config.num_kv_heads
            of_ropes: list[Any] = [block_rope(rope, group) for rope in ropes]
            of_kinds: list[Any] = [window_of(kind) if windowed else None for kind in range(len(sizes))]
        else:
            of_ropes = list(ropes)
            biased = attention.endswith("bias")
            of_kinds = [
                reach_bias(reach, self.compute_dtype, window_of(kind) if windowed else None) if biased else None
                for kind in range(len(sizes))
            ]
        rope_stack, kind_stack = _stacked(of_ropes), _stacked(of_kinds)
        rope_of_kind = np.array([kind.rope for kind in config.kinds], np.int32)

        def attend(kind: Array | None, q: Array, k: Array, v: Array) -> Array:
            rope = _chosen(rope_stack, len(of_ropes), None if kind is None else jnp.asarray(rope_of_kind)[kind])
            rest = _chosen(kind_stack, len(of_kinds), kind)
            if attention == "tiles":
                own = tiles
                if tiles is not None and tiles.ends.ndim == 3:
                    own = Tiles(
                        *(jax.lax.dynamic_index_in_dim(x, 0 if kind is None else kind, 1, False) for x in tiles)
                    )
                return attend_blocked(q, k, v, rope, reach, own, self.mesh, scores, rest)
            return attend_plain(q, k, v, rope, attention, rest, self.mesh, scores)

        return attend

    def head(self, hidden: Float[Array, "*b D"]) -> Float[Array, "*b V"]:
        """Logits in float32."""
        return scaled_logits(self.config, contract(hidden, self.head_kernel.astype(hidden.dtype), -1, 1))

    @property
    def head_kernel(self) -> Float[Array, "V D"]:
        """The head's weights; the embedding's if they are tied."""
        return as_float(self._head[...])

    def head_rows(self, tokens: Int[Array, "*b"]) -> Float[Array, "*b D"]:
        """The head's weights of these tokens."""
        return take_rows(self._head[...], tokens)

    @property
    def _head(self) -> Frozen:
        return self.embed if self.config.tie_embeddings else self.lm_head


def scores_of(config: ModelConfig) -> Scores:
    """How the model's scores follow from queries and keys."""
    return Scores(config.query_scale, config.score_cap, config.ropes[0].width)


def rope_of(rope: Rope, positions: Int[Array, "B T"], head_dim: int, long: Array | None = None) -> tuple[Array, Array]:
    """Cosine and sine of rows, for `attention.rotate`.

    Of `longrope`, a row with a position beyond the original length has the long factors for all its positions, as
    transformers' batches have (`longrope_frequency_update`).

    Args:
        long: bool [B], which rows are such; by default by their positions.
    """
    frequencies: Any = rope.frequencies()
    if rope.kind == "longrope":
        long = jnp.max(positions, axis=1) >= rope.original_positions if long is None else long
        frequencies = jnp.where(long[:, None], rope.frequencies(long=True)[None], frequencies[None])
    return rotary(positions, frequencies, head_dim, rope.attention_factor)


def _stacked(options: list[Any]) -> Any:
    """Trees of equal shapes as one, ahead of the loop that chooses from it."""
    return options[0] if len(options) == 1 else jax.tree.map(lambda *leaves: jnp.stack(leaves), *options)


def _chosen(stacked: Any, count: int, index: Array | None) -> Any:
    if count == 1:
        return stacked
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False), stacked)
