"""Cross entropy at the trainable tokens only, in chunks: the logits of a full row, [S, V], never exist.

The head is frozen, so a chunk's gradient with respect to its states is computed along with its logits: two products a
chunk instead of the three that recomputing the logits would take, and nothing of the vocabulary's size is kept.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from jora_model.model.layer import scaled_logits
from jora_model.model.transformer import Transformer
from jora_model.ops.cpu import LOG2_E, contract, exp2
from jora_model.spec.config import ModelConfig

CHUNK = 128


def answer_loss(
    model: Transformer,
    hidden: Float[Array, "B S D"],
    predict_at: Int[Array, "B S"],
    targets: Int[Array, "B S"],
    weights: Float[Array, "B S"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Sum of the weighted token losses and sum of the weights, float32; differentiable in `hidden` alone.

    Args:
        predict_at: positions of the predictions, packed at the start of each row; the rest has weight 0. The head runs
            for as many chunks as the row with most predictions needs, whatever S is.
    """
    chunk = min(CHUNK, predict_at.shape[1])

    def padded(x: Array) -> Array:
        return jnp.pad(x, ((0, 0), (0, -x.shape[1] % chunk)))

    all_positions, all_targets, all_weights = padded(predict_at), padded(targets), padded(weights)
    chunks = (jnp.max(jnp.sum((all_weights > 0).astype(jnp.int32), axis=1)) + (chunk - 1)) // chunk

    kernel = model.head_kernel.astype(hidden.dtype)
    config = model.config

    def sums(hidden: Array, differentiate: bool) -> tuple[Array, Array]:
        def add(index: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            total, gradient = carry
            positions, target, weight = (
                lax.dynamic_slice_in_dim(x, index * chunk, chunk, axis=1)
                for x in (all_positions, all_targets, all_weights)
            )
            states = jnp.take_along_axis(hidden, positions[:, :, None], axis=1)
            logits = scaled_logits(config, contract(states, kernel, -1, 1))
            # The target's term is computed separately in float32: its gradient, p - 1, suffers from cancellation.
            target_rows = model.head_rows(target).astype(jnp.float32)
            picked = scaled_logits(config, jnp.sum(states.astype(jnp.float32) * target_rows, axis=-1))
            is_target = lax.broadcasted_iota(jnp.int32, logits.shape, 2) == target[:, :, None]
            top = jnp.max(logits, axis=-1)
            others = exp2((logits - top[:, :, None]) * LOG2_E, states.dtype)
            others = jnp.where(is_target, jnp.zeros((), others.dtype), others)
            own = jnp.exp(picked - top)
            normalizer = jnp.sum(others.astype(jnp.float32), axis=-1) + own
            total = total + jnp.sum((top + jnp.log(normalizer) - picked) * weight)
            if differentiate:
                if config.logit_cap is not None:
                    others = (others.astype(jnp.float32) * _slope(config, logits)).astype(others.dtype)
                change = contract(others, kernel, -1, 0) * (weight / normalizer)[:, :, None]
                of_target = weight * (own / normalizer - 1.0) * _slope(config, picked)
                change = change + target_rows * of_target[:, :, None]
                if config.logit_scale != 1:
                    change = change * jnp.float32(config.logit_scale)
                # A mapped scatter keeps each row on its device; an indexed one would gather the batch.
                gradient = jax.vmap(lambda into, at, part: into.at[at].add(part))(
                    gradient, positions, change.astype(hidden.dtype)
                )
            return total, gradient

        return lax.fori_loop(0, chunks, add, (jnp.zeros((), jnp.float32), jnp.zeros_like(hidden)))

    @jax.custom_vjp
    def total_of(hidden: Array) -> Array:
        return sums(hidden, differentiate=False)[0]

    def forward(hidden: Array) -> tuple[Array, Array]:
        return sums(hidden, differentiate=True)

    def backward(gradient: Array, g: Array) -> tuple[Array]:
        return ((gradient.astype(jnp.float32) * g).astype(gradient.dtype),)

    total_of.defvjp(forward, backward)
    return total_of(hidden), jnp.sum(weights)


def _slope(config: ModelConfig, logits: Array) -> Array:
    """Derivative of the cap at capped logits, 1 - tanh^2; 1 without a cap."""
    if config.logit_cap is None:
        return jnp.ones_like(logits)
    return 1 - jnp.square(logits * jnp.float32(1 / config.logit_cap))
