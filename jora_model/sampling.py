"""Choose the next token from logits: the likeliest, or drawn with temperature, top-k and top-p."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Key


def prompt_keys(seed: int, prompts: Int[Array, " B"]) -> Key[Array, " B"]:
    """One key for each prompt, by its place in the input: draws do not depend on who shares its batch."""
    root = jax.random.key(seed)
    return jax.vmap(lambda place: jax.random.fold_in(root, place))(prompts)


def next_tokens(
    logits: Float[Array, "B V"],
    keys: Key[Array, " B"],
    step: Int[Array, ""],
    *,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
) -> Int[Array, " B"]:
    """The next token of each sequence, int32.

    Args:
        logits: float32.
        keys: from `prompt_keys`.
        step: number of the token in its answer; each has its own draw.
        temperature, top_k, top_p: as in `GenerationSettings`, applied in this order (as in transformers).
    """
    if temperature == 0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    draws = jax.vmap(lambda key: jax.random.fold_in(key, step))(keys)
    draw = jax.vmap(lambda key, row: jax.random.categorical(key, row))
    logits = logits / jnp.float32(temperature)
    if top_k is None and top_p is None:
        return draw(draws, logits).astype(jnp.int32)
    # Likeliest first. What follows works on ranks, and `tokens` leads back.
    vocabulary = logits.shape[-1]
    ranked, tokens = lax.top_k(logits, vocabulary if top_k is None else min(top_k, vocabulary))
    if top_p is not None:
        probabilities = jax.nn.softmax(ranked, axis=-1)
        before = jnp.cumsum(probabilities, axis=-1) - probabilities
        # The first rank always stays; the comparison could lose it to rounding.
        stays = (before < top_p) | (jnp.arange(ranked.shape[-1], dtype=jnp.int32) == 0)[None, :]
        ranked = jnp.where(stays, ranked, -jnp.inf)
    rank = draw(draws, ranked)
    return jnp.take_along_axis(tokens, rank[:, None], axis=-1)[:, 0].astype(jnp.int32)
