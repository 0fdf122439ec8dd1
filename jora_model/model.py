"""The Llama family in Flax NNX: layers stacked and scanned, base weights frozen, adapters beside them.

    model = load_model(folder, lora=LoraSettings())           # weights.py
    hidden = model.hidden_states(tokens, positions, reach)    # [B, T, D]
    logits = model.head(hidden[:, -1])                        # [B, V], float32

The tree of variables (L layers, R rank):

    embed [V, D], final_norm [D], lm_head [V, D] unless tied                  Frozen
    layers.input_norm.. [L, D], layers.q_proj.kernel [L, out, in] ...         Frozen
    layers.q_proj.lora_a [L, R, in], layers.q_proj.lora_b [L, out, R] ...     LoraParam, float32
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from jora_model.attention import rope_frequencies, rotary, rotate
from jora_model.blocked_attention import SAVED, attend_blocked
from jora_model.config import ModelConfig
from jora_model.linear import as_float, as_words, contract, from_words, frozen_matmul, trained_matmul
from jora_model.parameters import LINEARS
from jora_model.settings import LoraSettings
from jora_model.sharding import BATCH, named, rules_for, tp_size


class Frozen(nnx.Variable):
    """A base weight: never differentiated, never updated."""


class LoraParam(nnx.Variable):
    """A factor of an adapter: float32, trained."""


class Linear(nnx.Module):
    """A frozen kernel and, when it is a target, its adapter: `x W^T + scale * (x A^T) B^T`; never `W + BA`."""

    def __init__(self, kernel: Array, factors: tuple[Array, Array] | None, lora: LoraSettings | None):
        self.kernel = Frozen(kernel)
        self.adapted = factors is not None
        self.scale = lora.scale if lora else 0.0
        self.dropout = lora.dropout if lora else 0.0
        if factors is not None:
            self.lora_a = LoraParam(factors[0])
            self.lora_b = LoraParam(factors[1])

    def __call__(self, x: Float[Array, "*b I"], dropout_key: Array | None = None) -> Float[Array, "*b O"]:
        out = frozen_matmul(x, self.kernel[...])
        if not self.adapted:
            return out
        if self.dropout and dropout_key is not None:
            keep = jax.random.bernoulli(dropout_key, 1.0 - self.dropout, x.shape)
            x = jnp.where(keep, x / jnp.asarray(1.0 - self.dropout, x.dtype), jnp.zeros((), x.dtype))
        low = trained_matmul(x, self.lora_a[...])
        return out + trained_matmul(low, self.lora_b[...]) * jnp.asarray(self.scale, x.dtype)


class Layer(nnx.Module):
    """One transformer layer; its variables carry a leading dim of layers outside the scan and none inside."""

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

    def qkv(self, x: Float[Array, "B T D"], rope: Any, keys: Any) -> tuple[Array, Array, Array]:
        """Rotated queries `[B, T, N, H]` and keys, and values `[B, T, K, H]`."""
        h = rms_norm(x, self.input_norm[...], self.config.rms_norm_eps)
        heads = (*x.shape[:2], -1, self.config.head_dim)
        q = rotate(self.q_proj(h, keys["q_proj"]).reshape(heads), rope)
        k = rotate(self.k_proj(h, keys["k_proj"]).reshape(heads), rope)
        v = self.v_proj(h, keys["v_proj"]).reshape(heads)
        rules = rules_for(self.config, tp_size(self.mesh))
        split, kv_split = (PartitionSpec(*BATCH, None, rules[dim], None) for dim in ("heads", "kv_heads"))
        return self._pin(q, split), self._pin(k, kv_split), self._pin(v, kv_split)

    def finish(self, x: Float[Array, "B T D"], attended: Float[Array, "B T N H"], keys: Any) -> Array:
        """Output projection, feed-forward and both residuals."""
        whole = PartitionSpec(("data", "fsdp"), None, None)
        x = x + self._pin(self.o_proj(attended.reshape(*x.shape[:2], -1), keys["o_proj"]), whole)
        h = rms_norm(x, self.post_norm[...], self.config.rms_norm_eps)
        gate = self.gate_proj(h, keys["gate_proj"])
        up = self.up_proj(h, keys["up_proj"])
        h = (jax.nn.silu(gate.astype(jnp.float32)) * up.astype(jnp.float32)).astype(x.dtype)
        return x + self._pin(self.down_proj(h, keys["down_proj"]), whole)

    def __call__(self, x: Float[Array, "B T D"], rope: Any, reach: Int[Array, "B T"], keys: Any) -> Array:
        q, k, v = self.qkv(x, rope, keys)
        return self.finish(x, attend_blocked(q, k, v, reach), keys)

    def _pin(self, x: Array, partition: PartitionSpec) -> Array:
        """Tell the compiler where the parts of an activation live; free without a mesh."""
        sharding = named(self.mesh, partition)
        return x if sharding is None else jax.lax.with_sharding_constraint(x, sharding)


class Llama(nnx.Module):
    """A causal language model of the Llama family; built from arrays by `weights.load_model`."""

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
            adapter: target name -> (A `[L, R, in]`, B `[L, out, R]`), float32.
            compute_dtype: dtype of the activations and of the products' operands.
        """
        self.config = config
        self.mesh = mesh
        self.compute_dtype = jnp.dtype(compute_dtype)
        self.frequencies = tuple(rope_frequencies(config).tolist())
        self.embed = Frozen(base["embed"])
        self.final_norm = Frozen(base["final_norm"])
        if not config.tie_embeddings:
            self.lm_head = Frozen(base["lm_head"])
        self.layers = Layer(config, base, adapter or {}, lora, mesh)

    def embed_tokens(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Rows of the embedding in the compute dtype."""
        return as_float(jnp.take(self.embed[...], tokens, axis=0)).astype(self.compute_dtype)

    def rope(self, positions: Int[Array, "B T"]) -> tuple[Array, Array]:
        """Cosine and sine for `attention.rotate`."""
        return rotary(positions, np.asarray(self.frequencies, np.float32))

    def hidden_states(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        reach: Int[Array, "B T"],
        *,
        dropout_key: Array | None = None,
        remat: bool = False,
    ) -> Float[Array, "B T D"]:
        """States after the final norm, in the compute dtype.

        Args:
            reach: see `attention.visible`.
            dropout_key: turns the adapters' dropout on (training only).
            remat: keep each layer's input and its attention for the backward pass, and compute the rest again.
        """
        x = self.embed_tokens(tokens)
        rope = self.rope(positions)
        graph, stacked = nnx.split(self.layers)
        keys = None if dropout_key is None else jax.random.split(dropout_key, self.config.num_layers)

        def body(x: Array, scanned: Any) -> tuple[Array, None]:
            state, key = scanned
            x = from_words(x, self.compute_dtype)
            return as_words(nnx.merge(graph, state)(x, rope, reach, layer_keys(key))), None

        if remat:
            body = jax.checkpoint(body, policy=jax.checkpoint_policies.save_only_these_names(SAVED))
        x, _ = jax.lax.scan(body, as_words(x), (stacked, keys))
        return rms_norm(from_words(x, self.compute_dtype), self.final_norm[...], self.config.rms_norm_eps)

    def head(self, hidden: Float[Array, "*b D"]) -> Float[Array, "*b V"]:
        """Logits in float32; no gradient is formed for the head."""
        kernel = self.embed[...] if self.config.tie_embeddings else self.lm_head[...]
        return _frozen_logits(hidden, kernel)


def layer_keys(key: Array | None) -> dict[str, Array | None]:
    """One dropout key for each linear of a layer; all None when dropout is off."""
    keys = [None] * len(LINEARS) if key is None else list(jax.random.split(key, len(LINEARS)))
    return {parameter.name: k for parameter, k in zip(LINEARS, keys, strict=True)}


def rms_norm(x: Float[Array, "*b D"], weight: Array, eps: float) -> Float[Array, "*b D"]:
    """Root-mean-square norm in float32, rounded to x's dtype before the weight (as transformers' LlamaRMSNorm)."""
    wide = x.astype(jnp.float32)
    wide = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + eps)
    scale = as_float(weight).astype(x.dtype)
    return wide.astype(x.dtype) * scale.reshape((1,) * (x.ndim - 1) + scale.shape)


def _kept_inside(x: Array, kernel: Array) -> tuple[Array, Array]:
    """Tie the kernel to what a loop changes: else its float form, of the vocabulary's size, is made ahead of the loop
    and held throughout."""
    return jax.lax.optimization_barrier((x, kernel))


@jax.custom_vjp
def _frozen_logits(hidden: Array, kernel: Array) -> Array:
    # The kernel first, since as the second operand XLA's CPU backend keeps a transposed copy of it.
    hidden, kernel = _kept_inside(hidden, kernel)
    logits = contract(as_float(kernel).astype(hidden.dtype), hidden, 1, hidden.ndim - 1)
    return jnp.moveaxis(logits, 0, -1)


def _logits_forward(hidden: Array, kernel: Array) -> tuple[Array, Any]:
    # The empty array carries hidden's dtype to the backward pass.
    return _frozen_logits(hidden, kernel), (kernel, jnp.zeros((0,), hidden.dtype))


def _logits_backward(residuals: Any, g: Array) -> tuple[Array, None]:
    kernel, like = residuals
    g, kernel = _kept_inside(g.astype(like.dtype), kernel)
    return contract(g, as_float(kernel).astype(like.dtype), -1, 0).astype(like.dtype), None


_frozen_logits.defvjp(_logits_forward, _logits_backward)
