"""Choose the next token from logits: the likeliest, or drawn with temperature, top-k and top-p."""

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
    """As `next_tokens` at a temperature above 0, each sequence with its own."""
    draws = jax.vmap(jax.random.fold_in)(keys, steps)
    draw = jax.vmap(lambda key, row: jax.random.categorical(key, row))
    logits = logits / temperature[:, None]
    if top_k is None and top_p is None:
        return draw(draws, logits).astype(jnp.int32)
    # Likeliest first. What follows works on ranks, and `tokens` leads back.
    vocabulary = logits.shape[-1]
    ranked, tokens = lax.top_k(logits, vocabulary if top_k is None else min(top_k, vocabulary))
    if top_p is not None:
        probabilities = jax.nn.softmax(ranked, axis=-1)
        before = jnp.cumsum(probabilities, axis=-1) - probabilities
        # The first rank always stays; the comparison could lose it to rounding.
        stays = (before < top_p[:, None]) | (jnp.arange(ranked.shape[-1], dtype=jnp.int32) == 0)[None, :]
        ranked = jnp.where(stays, ranked, -jnp.inf)
    rank = draw(draws, ranked)
    return jnp.take_along_axis(tokens, rank[:, None], axis=-1)[:, 0].astype(jnp.int32)


_drawn = jax.jit(drawn, static_argnames="top_k")


class Wanted(NamedTuple):
    """One more token of an answer: its settings, which draw of the seed it is, the token's number in it, and, as bits
    (`Guide.allowed`), which tokens may be chosen; None: any."""

    settings: GenerationSettings
    place: int
    step: int
    allowed: np.ndarray | None = None


def choose(logits: Float[Array, "B V"], likeliest: Int[Array, " B"], wanted: Sequence[Wanted | None]) -> list[int]:
    """A token for each row that is wanted, by its own settings; the rows behind the last one, and those that are
    None, may be anything.

    Drawn together are those with one top_k, with or without top_p; everything else may differ within a call.
    """
    if any(w is not None and w.allowed is not None for w in wanted):
        logits, likeliest = _held(logits, _bits(logits.shape, wanted))
    chosen = np.array(likeliest)
    kinds = {(w.settings.top_k, w.settings.top_p is None) for w in wanted if w and w.settings.temperature > 0}
    for top_k, whole in kinds:
        keys = np.zeros((len(chosen), 2), np.uint32)
        steps = np.zeros(len(chosen), np.int32)
        temperature, top_p = np.ones(len(chosen), np.float32), np.ones(len(chosen), np.float32)
        rows = []
        for row, want in enumerate(wanted):
            if (
                want
                and want.settings.temperature > 0
                and (want.settings.top_k, want.settings.top_p is None)
                == (
                    top_k,
                    whole,
                )
            ):
                rows.append(row)
                keys[row] = _key(want.settings.seed, want.place)
                steps[row], temperature[row] = want.step, want.settings.temperature
                top_p[row] = want.settings.top_p or 1.0
        share = None if whole else top_p
        found = np.asarray(_drawn(logits, jax.random.wrap_key_data(keys), steps, temperature, share, top_k=top_k))
        chosen[rows] = found[rows]
    return [int(token) for token in chosen[: len(wanted)]]


def _bits(shape: tuple[int, ...], wanted: Sequence[Wanted | None]) -> np.ndarray:
    """uint8 [B, ceil(V / 8)]: what each row may choose from."""
    rows, vocabulary = shape
    bits = np.full((rows, -(-vocabulary // 8)), 0xFF, np.uint8)
    for row, want in enumerate(wanted):
        if want is not None and want.allowed is not None:
            bits[row] = want.allowed[: bits.shape[1]]
    return bits


@jax.jit
def _held(logits: Float[Array, "B V"], bits: UInt8[Array, "B _"]) -> tuple[Float[Array, "B V"], Int[Array, " B"]]:
    """The logits with those that are not allowed at minus infinity, and the likeliest of the others."""
    B, V = logits.shape
    allowed = (bits[:, :, None] >> jnp.arange(8, dtype=jnp.uint8)[None, None]) & jnp.uint8(1)
    logits = jnp.where(allowed.reshape(B, -1)[:, :V] == 1, logits, -jnp.inf)
    return logits, argmax_last(logits)


@functools.lru_cache(maxsize=4096)
def _key(seed: int, place: int) -> np.ndarray:
    return np.asarray(jax.random.key_data(prompt_keys(seed, jnp.array([place], jnp.int32))[0]))
