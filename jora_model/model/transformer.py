"""The Llama family in Flax NNX: layers stacked and scanned, base weights frozen, adapters beside them.

    model = load_model(folder, lora=LoraSettings())           # load.py
    hidden = model.hidden_states(tokens, positions, reach)    # [B, T, D]
    logits = model.head(hidden[:, -1])                        # [B, V], float32

The tree of variables (L layers, R rank):

    embed [V, D], final_norm [D], lm_head [V, D] unless tied                  Frozen
    layers.input_norm.. [L, D], layers.q_proj.kernel [L, out, in] ...         Frozen
    layers.q_proj.lora_a [L, R, in], layers.q_proj.lora_b [L, R, out] ...     LoraParam, float32
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

from jora_model.ops.attention import rope_frequencies, rotary
from jora_model.ops.blocked_attention import SAVED, attend_blocked, block_rope, used_blocks
from jora_model.ops.cpu import as_float, contract, dot_last, saved_as_bits, take_rows
from jora_model.ops.dropout import Draws, draws_of
from jora_model.ops.linear import PRODUCT, linear
from jora_model.ops.plain_attention import Attention, attend_plain, reach_bias
from jora_model.ops.position_blocks import over_blocks, positions_of_block
from jora_model.packing.tiles import Tiles, block_size
from jora_model.runtime.sharding import BATCH, named, rules_for, tp_size
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import LINEARS
from jora_model.spec.settings import LoraSettings, Remat

NAMES = tuple(parameter.name for parameter in LINEARS)


class Frozen(nnx.Variable):
    """A base weight: never differentiated, never updated."""


class LoraParam(nnx.Variable):
    """A trainable factor of an adapter, float32. B is stored transposed, so that its gradient is a fast product."""


class Linear(nnx.Module):
    """A frozen kernel and, if it is a target, its adapter: `x W^T + scale * (x A^T) B^T`; never `W + BA`."""

    def __init__(self, kernel: Array, factors: tuple[Array, Array] | None, lora: LoraSettings | None):
        self.kernel = Frozen(kernel)
        self.adapted = factors is not None
        self.scale = lora.scale if lora else 0.0
        self.dropout = lora.dropout if lora else 0.0
        if factors is not None:
            self.lora_a = LoraParam(factors[0])
            self.lora_b = LoraParam(factors[1])

    def __call__(self, x: Float[Array, "B T I"], draws: Draws | None = None) -> Float[Array, "B T O"]:
        if not self.adapted:
            return linear(x, self.kernel[...])
        keep = draws.keep(x, self.dropout) if self.dropout and draws else None
        factors = (self.lora_a[...], self.lora_b[...])
        return linear(x, self.kernel[...], factors, self.scale, keep)


class Layer(nnx.Module):
    """One transformer layer. Outside the scan its variables have a leading dim of layers, inside they do not."""

    def __init__(
        self,
        config: ModelConfig,
        base: Mapping[str, Array],
        adapter: Mapping[str, tuple[Array, Array]],
        lora: LoraSettings | None,
        mesh: Mesh | None,
    ):
        self.config = config
        self.mesh = mesh
        self.input_norm = Frozen(base["input_norm"])
        self.post_norm = Frozen(base["post_norm"])
        for parameter in LINEARS:
            linear = Linear(base[parameter.name], adapter.get(parameter.name), lora)
            setattr(self, parameter.name, linear)

    def qkv(self, x: Float[Array, "B T D"], draws: Any) -> tuple[Array, Array, Array]:
        """Queries `[B, T, N, H]`, keys and values `[B, T, K, H]`, not rotated."""
        h = rms_norm(x, self.input_norm[...], self.config.rms_norm_eps)
        rules = rules_for(self.config, tp_size(self.mesh))

        def heads(linear: Linear, name: str, dim: str) -> Array:
            out = linear(h, draws[name]).reshape(*x.shape[:2], -1, self.config.head_dim)
            return self._pin(out, PartitionSpec(*BATCH, None, rules[dim], None))

        return (
            heads(self.q_proj, "q_proj", "heads"),
            heads(self.k_proj, "k_proj", "kv_heads"),
            heads(self.v_proj, "v_proj", "kv_heads"),
        )

    def finish(self, x: Float[Array, "B T D"], attended: Float[Array, "B T N H"], draws: Any) -> Array:
        """Output projection, feed-forward and both residuals."""
        by_row = PartitionSpec(("data", "fsdp"), None, None)
        x = x + self._pin(self.o_proj(attended.reshape(*x.shape[:2], -1), draws["o_proj"]), by_row)
        h = rms_norm(x, self.post_norm[...], self.config.rms_norm_eps)
        gate = self.gate_proj(h, draws["gate_proj"])
        up = self.up_proj(h, draws["up_proj"])
        h = (jax.nn.silu(gate.astype(jnp.float32)) * up.astype(jnp.float32)).astype(x.dtype)
        return x + self._pin(self.down_proj(h, draws["down_proj"]), by_row)

    def __call__(self, x: Float[Array, "B T D"], attend: Callable[..., Array], tiles: Tiles | None, keys: Any) -> Array:
        draws = draws_of(keys, NAMES)
        return self.finish(x, attend(*self.qkv(x, draws)), draws)

    def in_blocks(
        self, x: Float[Array, "B T D"], attend: Callable[..., Array], tiles: Tiles | None, keys: Any
    ) -> Array:
        """The same in blocks of positions, except for the attention (position_blocks.py)."""
        T = x.shape[1]
        size = positions_of_block(T)
        count = jnp.int32(T // size)
        if tiles is not None:
            used = jnp.max(used_blocks(tiles.ends)) * block_size(T)
            count = jnp.minimum(count, (used + (size - 1)) // size)
        graph, adapter, frozen = nnx.split(self, LoraParam, ...)
        fixed = (frozen, keys)
        q, k, v = over_blocks(partial(_qkv_of_block, graph), size, adapter, fixed, (x,), count)
        attended = attend(q, k, v)
        return over_blocks(partial(_finish_block, graph), size, adapter, fixed, (x, attended), count)

    def _pin(self, x: Array, partition: PartitionSpec) -> Array:
        """Constrain an activation's sharding; no-op without a mesh."""
        sharding = named(self.mesh, partition)
        return x if sharding is None else jax.lax.with_sharding_constraint(x, sharding)


def _qkv_of_block(graph: Any, adapter: Any, fixed: Any, inputs: Any, block: Array) -> Any:
    frozen, keys = fixed
    return nnx.merge(graph, adapter, frozen).qkv(*inputs, draws_of(keys, NAMES, block))


def _finish_block(graph: Any, adapter: Any, fixed: Any, inputs: Any, block: Array) -> Any:
    frozen, keys = fixed
    return nnx.merge(graph, adapter, frozen).finish(*inputs, draws_of(keys, NAMES, block))


class Llama(nnx.Module):
    """A causal language model of the Llama family; `load.load_model` builds it from a folder."""

    def __init__(
        self,
        config: ModelConfig,
        base: Mapping[str, Array],
        adapter: Mapping[str, tuple[Array, Array]] | None = None,
        lora: LoraSettings | None = None,
        mesh: Mesh | None = None,
        compute_dtype: Any = jnp.bfloat16,
    ):
        """
        Args:
            base: arrays by the names of `parameters.py`, shapes of `shape_of`; bf16 as uint16 bits, or float32.
            adapter: target name -> (A `[L, R, in]`, B transposed `[L, R, out]`), float32.
            compute_dtype: dtype of the activations and of the products' operands.
        """
        self.config = config
        self.mesh = mesh
        self.compute_dtype = jnp.dtype(compute_dtype)
        # The platform of the weights' devices, which may not be JAX's own: a plan may be for a chip that is not here.
        self.platform = next(iter(base["embed"].sharding.device_set)).platform
        self.frequencies = tuple(rope_frequencies(config).tolist())
        self.embed = Frozen(base["embed"])
        self.final_norm = Frozen(base["final_norm"])
        if not config.tie_embeddings:
            self.lm_head = Frozen(base["lm_head"])
        self.layers = Layer(config, base, adapter or {}, lora, mesh)

    def without_mesh(self) -> "Llama":
        """The same variables without sharding, for a device that holds all of them."""
        graph, state = nnx.split(self)
        alone = nnx.merge(graph, state)
        alone.mesh = alone.layers.mesh = None
        return alone

    def embed_tokens(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Rows of the embedding in the compute dtype."""
        return take_rows(self.embed[...], tokens).astype(self.compute_dtype)

    def rope(self, positions: Int[Array, "B T"]) -> tuple[Array, Array]:
        """Cosine and sine for `attention.rotate`."""
        return rotary(positions, np.asarray(self.frequencies, np.float32))

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
            tiles: `tiles.visible_tiles` of the rows, so that attention skips hidden tiles.
            dropout_keys: one per row; they turn the adapters' dropout on (training only).
            remat: what the backward pass recomputes. "full" saves each layer's input and its attention, "dots" the
                results of its products too. On a CPU without a mesh, "full" computes the parts before and after the
                attention in blocks of positions.
            attention: "cudnn" and "xla" only if `reach` is plain (`plain_attention.is_plain`). The backward pass
                recomputes all but "tiles", unless `remat` is "none".
        """
        x = self.embed_tokens(tokens)
        rope = self.rope(positions)
        if attention == "tiles":
            blocks = block_rope(rope, self.config.num_heads // self.config.num_kv_heads)
            attend = partial(attend_blocked, rope=blocks, reach=reach, tiles=tiles, mesh=self.mesh)
        else:
            bias = reach_bias(reach, self.compute_dtype) if attention.endswith("bias") else None
            attend = partial(attend_plain, rope=rope, attention=attention, bias=bias, mesh=self.mesh)
        graph, stacked = nnx.split(self.layers)
        L = self.config.num_layers
        in_blocks = remat == "full" and self.platform == "cpu" and self.mesh is None
        keys = None if dropout_keys is None else jax.vmap(partial(jax.random.split, num=L), out_axes=1)(dropout_keys)

        def body(x: Array, scanned: Any) -> tuple[Array, None]:
            state, key = scanned
            x = saved_as_bits(x, SAVED)
            layer = nnx.merge(graph, state)
            run = layer.in_blocks if in_blocks else layer
            return run(x, attend, tiles, key), None

        if remat != "none":
            names = (SAVED, PRODUCT) if remat == "dots" else (SAVED,)
            body = jax.checkpoint(body, policy=jax.checkpoint_policies.save_only_these_names(*names))
        x, _ = jax.lax.scan(body, x, (stacked, keys))
        return rms_norm(x, self.final_norm[...], self.config.rms_norm_eps)

    def head(self, hidden: Float[Array, "*b D"]) -> Float[Array, "*b V"]:
        """Logits in float32."""
        return contract(hidden, self.head_kernel.astype(hidden.dtype), -1, 1)

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


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def rms_norm(x: Float[Array, "*b D"], weight: Array, eps: float) -> Float[Array, "*b D"]:
    """Root-mean-square norm in float32, rounded to x's dtype before the weight (as transformers' LlamaRMSNorm).

    The weight is frozen: no gradient is formed for it.
    """
    wide = x.astype(jnp.float32)
    return (wide * _inverse_root(wide, eps)).astype(x.dtype) * _norm_weight(weight, x)


def _inverse_root(x: Array, eps: float) -> Array:
    return jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + eps)


def _norm_weight(weight: Array, x: Array) -> Array:
    scale = as_float(weight).astype(x.dtype)
    return scale.reshape((1,) * (x.ndim - 1) + scale.shape)


def _norm_forward(x: Array, weight: Array, eps: float) -> tuple[Array, Any]:
    return rms_norm(x, weight, eps), (x, weight)


def _norm_backward(eps: float, residuals: Any, g: Array) -> tuple[Array, None]:
    x, weight = residuals
    wide = x.astype(jnp.float32)
    inverse = _inverse_root(wide, eps)
    g = g.astype(jnp.float32) * _norm_weight(weight, x).astype(jnp.float32)
    shared = dot_last(g, wide)[..., None] / x.shape[-1]
    shared = shared * jnp.square(inverse)
    return (inverse * (g - wide * shared)).astype(x.dtype), None


rms_norm.defvjp(_norm_forward, _norm_backward)
