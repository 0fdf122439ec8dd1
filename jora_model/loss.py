"""Cross entropy at the learnt tokens only, in chunks: logits of a whole row, [S, V], never exist."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jora_model.model import Llama

CHUNK = 128


def answer_loss(
    model: Llama,
    hidden: Float[Array, "B S D"],
    predict_at: Int[Array, "B S"],
    targets: Int[Array, "B S"],
    weights: Float[Array, "B S"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Sum of the weighted token losses and sum of the weights, float32.

    A chunk without a prediction is skipped: predictions stand first in each row, so the head is run for the
    answers' tokens and a few more.
    """
    S = predict_at.shape[1]
    chunk = min(CHUNK, S)
    pad = -S % chunk

    def chunks(x: Array) -> Array:
        x = jnp.pad(x, ((0, 0), (0, pad)))
        return x.reshape(x.shape[0], -1, chunk).swapaxes(0, 1)

    @jax.checkpoint
    def loss_of(places: Array, target: Array, weight: Array) -> Array:
        states = jnp.take_along_axis(hidden, places[:, :, None], axis=1)
        logits = model.head(states)
        picked = jnp.take_along_axis(logits, target[:, :, None], axis=2)[:, :, 0]
        return jnp.sum((jax.nn.logsumexp(logits, axis=-1) - picked) * weight)

    def body(total: Array, part: tuple[Array, Array, Array]) -> tuple[Array, None]:
        loss = jax.lax.cond(jnp.any(part[2] > 0), loss_of, lambda *_: jnp.zeros((), jnp.float32), *part)
        return total + loss, None

    zero = jnp.zeros((), jnp.float32)
    total, _ = jax.lax.scan(body, zero, (chunks(predict_at), chunks(targets), chunks(weights)))
    return total, jnp.sum(weights)
