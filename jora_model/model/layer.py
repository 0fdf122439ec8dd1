"""The layer of every architecture, in one place, for training, evaluation and decoding.

    after = layer(config, part, x, attend)                 # training and evaluation
    q, k, v = before_attention(config, part, x)            # decoding attends between the two halves
    after = after_attention(config, part, x, attended)

`part` holds one layer's weights, in whatever form its caller keeps them: `part.norm(name, x)` normalizes with one of
its norms, `part.project(group, x)` multiplies with the linears of a group (`parameters.groups_of`) and returns their
outputs. `attend(q, k, v)` takes queries `[.. N H]`, keys and values `[.. K H]`, not rotated, and returns `[.. N H]`.
Leading dims are the caller's: rows and positions in training, positions or slots in decoding.
"""

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jora_model.model.norms import rms_norm
from jora_model.spec.config import Activation, ModelConfig

_ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
}


class Part(Protocol):
    """One layer's weights."""

    def norm(self, name: str, x: Float[Array, "*b D"]) -> Float[Array, "*b D"]:
        """x, normalized with the norm of this name."""

    def project(self, group: str, x: Float[Array, "*b D"]) -> tuple[Array, ...]:
        """Outputs of the linears of a group: q, k and v; or gate and up; or one."""


def layer(config: ModelConfig, part: Part, x: Float[Array, "*b D"], attend: Callable[..., Array]) -> Array:
    """States after a layer."""
    return after_attention(config, part, x, attend(*before_attention(config, part, x)))


def before_attention(config: ModelConfig, part: Part, x: Float[Array, "*b D"]) -> tuple[Array, Array, Array]:
    """Queries `[.. N H]`, keys and values `[.. K H]`, not rotated."""
    h = x if config.norms == "after" else part.norm("norm_before_attention", x)
    q, k, v = part.project("qkv", h)
    if config.qk_norm == "width":
        q, k = part.norm("q_norm", q), part.norm("k_norm", k)
    q, k, v = (y.reshape(*y.shape[:-1], -1, config.head_dim) for y in (q, k, v))
    if config.qk_norm == "head":
        q, k = part.norm("q_norm", q), part.norm("k_norm", k)
    return q, k, v


def after_attention(
    config: ModelConfig, part: Part, x: Float[Array, "*b D"], attended: Float[Array, "*b N H"]
) -> Float[Array, "*b D"]:
    """Output projection, feed-forward and both residuals."""
    (h,) = part.project("o", attended.reshape(*x.shape[:-1], -1))
    x = _add(config, x, h if config.norms == "before" else part.norm("norm_after_attention", h))
    h = x if config.norms == "after" else part.norm("norm_before_mlp", x)
    gate, up = part.project("gate_up", h)
    h = (_ACTIVATIONS[config.activation](gate.astype(jnp.float32)) * up.astype(jnp.float32)).astype(x.dtype)
    (h,) = part.project("down", h)
    return _add(config, x, h if config.norms == "before" else part.norm("norm_after_mlp", h))


def normalize(config: ModelConfig, x: Float[Array, "*b D"], weight: Array) -> Float[Array, "*b D"]:
    """The norm of this architecture."""
    return rms_norm(x, weight, config.rms_norm_eps, config.norm_offset, config.norm_rounds_first)


def embedded(config: ModelConfig, rows: Float[Array, "*b D"]) -> Float[Array, "*b D"]:
    """Rows of the embedding, scaled; in their dtype."""
    if config.embed_scale == 1:
        return rows
    scale = jnp.float32(config.embed_scale)
    if config.embed_scale_rounds:
        scale = scale.astype(rows.dtype).astype(jnp.float32)
    return (rows.astype(jnp.float32) * scale).astype(rows.dtype)


def capped(x: Float[Array, "..."], cap: float) -> Float[Array, "..."]:
    """`cap * tanh(x / cap)`."""
    return jnp.tanh(x * jnp.float32(1 / cap)) * jnp.float32(cap)


def scaled_logits(config: ModelConfig, logits: Float[Array, "..."]) -> Float[Array, "..."]:
    """Logits from the products with the head's rows, float32."""
    if config.logit_scale != 1:
        logits = logits * jnp.float32(config.logit_scale)
    return logits if config.logit_cap is None else capped(logits, config.logit_cap)


def _add(config: ModelConfig, x: Array, h: Array) -> Array:
    if config.residual_scale != 1:
        h = (h.astype(jnp.float32) * jnp.float32(config.residual_scale)).astype(x.dtype)
    return x + h
