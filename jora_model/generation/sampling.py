"""Chooses the next token from logits: the likeliest, or sampled with temperature, top-k and top-p."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Key, UInt8

from jora_model.ops.cpu import argmax_last
from jora_model.spec.settings import GenerationSettings


def prompt_keys(seed: int, prompts: Int[Array, " B"]) -> Key[Array, " B"]:
    """One key per prompt, by its index in the input: draws do not depend on the batch."""
    root = jax.random.key(seed)
    return jax.vmap(lambda index: jax.random.fold_in(root, index))(prompts)


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
        step: index of the token in its answer; each has its own draw.
        temperature, top_k, top_p: as in `GenerationSettings`, applied in this order (as in transformers).
    """
    if temperature == 0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    B = len(logits)
    share = None if top_p is None else jnp.full(B, top_p, jnp.float32)
    return drawn(logits, keys, jnp.full(B, step), jnp.full(B, temperature, jnp.float32), share, top_k=top_k)


def drawn(
    logits: Float[Array, "B V"],
    keys: Key[Array, " B"],
    steps: Int[Array, " B"],
    temperature: Float[Array, " B"],
    top_p: Float[Array, " B"] | None,
    *,
    top_k: int | None,
) -> Int[Array, " B"]:
    """`next_tokens` at temperatures above 0, one per sequence."""
    draws = jax.vmap(jax.random.fold_in)(keys, steps)
    draw = jax.vmap(lambda key, row: jax.random.categorical(key, row))
    logits = logits / temperature[:, None]
    if top_k is None and top_p is None:
        return draw(draws, logits).astype(jnp.int32)
    # Likeliest first. The rest works on ranks; `tokens` maps them back.
    vocabulary = logits.shape[-1]
    ranked, tokens = lax.top_k(logits, vocabulary if top_k is None else min(top_k, vocabulary))
    if top_p is not None:
        probabilities = jax.nn.softmax(ranked, axis=-1)
        before = jnp.cumsum(probabilities, axis=-1) - probabilities
        # The first rank is always kept; rounding could make the comparison drop it.
        kept = (before < top_p[:, None]) | (jnp.arange(ranked.shape[-1], dtype=jnp.int32) == 0)[None, :]
        ranked = jnp.where(kept, ranked, -jnp.inf)
    rank = draw(draws, ranked)
    return jnp.take_along_axis(tokens, rank[:, None], axis=-1)[:, 0].astype(jnp.int32)


_drawn = jax.jit(drawn, static_argnames="top_k")


class Wanted(NamedTuple):
    """The next token of one answer.

    Attributes:
        draw: index of the answer's random key under the seed.
        step: index of the token in its answer.
        allowed: which tokens may be chosen, as bits (`Guide.allowed`); None allows all.
    """

    settings: GenerationSettings
    draw: int
    step: int
    allowed: np.ndarray | None = None


def choose(logits: Float[Array, "B V"], likeliest: Int[Array, " B"], wanted: Sequence[Wanted | None]) -> list[int]:
    """A token for each row of `wanted`, by its own settings; rows that are None get any token, further rows none.

    Rows with the same top_k, with or without top_p, are sampled in one call.
    """
    if any(w is not None and w.allowed is not None for w in wanted):
        logits, likeliest = _masked(logits, _bits(logits.shape, wanted))
    chosen = np.array(likeliest)
    kinds = {(w.settings.top_k, w.settings.top_p is None) for w in wanted if w and w.settings.temperature > 0}
    for kind in kinds:
        keys = np.zeros((len(chosen), 2), np.uint32)
        steps = np.zeros(len(chosen), np.int32)
        temperature, top_p = np.ones(len(chosen), np.float32), np.ones(len(chosen), np.float32)
        rows = []
        for row, want in enumerate(wanted):
            if want and want.settings.temperature > 0 and (want.settings.top_k, want.settings.top_p is None) == kind:
                rows.append(row)
                keys[row] = _key(want.settings.seed, want.draw)
                steps[row], temperature[row] = want.step, want.settings.temperature
                top_p[row] = want.settings.top_p or 1.0
        top_k, without_top_p = kind
        share = None if without_top_p else top_p
        sampled = np.asarray(_drawn(logits, jax.random.wrap_key_data(keys), steps, temperature, share, top_k=top_k))
        chosen[rows] = sampled[rows]
    return [int(token) for token in chosen[: len(wanted)]]


def _bits(shape: tuple[int, ...], wanted: Sequence[Wanted | None]) -> np.ndarray:
    """The tokens that each row may choose from, as bits, uint8 [B, ceil(V / 8)]."""
    rows, vocabulary = shape
    bits = np.full((rows, -(-vocabulary // 8)), 0xFF, np.uint8)
    for row, want in enumerate(wanted):
        if want is not None and want.allowed is not None:
            bits[row] = want.allowed[: bits.shape[1]]
    return bits


@jax.jit
def _masked(logits: Float[Array, "B V"], bits: UInt8[Array, "B _"]) -> tuple[Float[Array, "B V"], Int[Array, " B"]]:
    """The logits, minus infinity where a token is not allowed, and the likeliest token."""
    B, V = logits.shape
    allowed = (bits[:, :, None] >> jnp.arange(8, dtype=jnp.uint8)[None, None]) & jnp.uint8(1)
    logits = jnp.where(allowed.reshape(B, -1)[:, :V] == 1, logits, -jnp.inf)
    return logits, argmax_last(logits)


@functools.lru_cache(maxsize=4096)
def _key(seed: int, draw: int) -> np.ndarray:
    return np.asarray(jax.random.key_data(prompt_keys(seed, jnp.array([draw], jnp.int32))[0]))
