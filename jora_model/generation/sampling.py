"""Chooses the next token from logits: the likeliest, or sampled; with penalties on tokens that were there before.

The arithmetic and its order are those of transformers and vLLM: repetition, frequency and presence penalty, grammar,
temperature, top-k, top-p, min-p.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Key, UInt8

from jora_model.ops.cpu import argmax_last
from jora_model.spec.settings import GenerationSettings

# Programs have fixed shapes: tokens with a penalty, and the k of top-k, are rounded up to a power of this.
_FACTOR = 4
_FEWEST_PENALIZED, _FEWEST_RANKED = 256, 16


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
    min_p: float | None = None,
) -> Int[Array, " B"]:
    """The next token of each sequence, all with the same settings, int32.

    Args:
        logits: float32.
        keys: from `prompt_keys`.
        step: index of the token in its answer; each has its own draw.
        temperature, top_k, top_p, min_p: as in `GenerationSettings`.
    """
    if temperature == 0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    B, V = logits.shape
    limits = None
    if not (top_k is None and top_p is None and min_p is None):
        shares = (jnp.full(B, value, jnp.float32) for value in (top_p or 1.0, min_p or 0.0))
        ranks = None if top_k is None and top_p is None else jnp.full(B, top_k or V, jnp.int32)
        limits = Limits(ranks, *shares)
    return drawn(logits, keys, jnp.full(B, step), jnp.full(B, temperature, jnp.float32), limits, ranked=top_k)


class Limits(NamedTuple):
    """What of the vocabulary is drawn from, per sequence.

    Attributes:
        top_k: int32, the k most likely tokens; None: no sequence has a top_k or a top_p, and nothing is sorted.
        top_p: float32, of these the most likely ones up to this probability.
        min_p: float32, of these the ones at least this likely in relation to the likeliest.
    """

    top_k: Int[Array, " B"] | None
    top_p: Float[Array, " B"]
    min_p: Float[Array, " B"]


def drawn(
    logits: Float[Array, "B V"],
    keys: Key[Array, " B"],
    steps: Int[Array, " B"],
    temperature: Float[Array, " B"],
    limits: Limits | None,
    *,
    ranked: int | None,
) -> Int[Array, " B"]:
    """The next token of each sequence, int32.

    Args:
        logits: float32.
        keys: from `prompt_keys`.
        steps: index of the token in its answer; each has its own draw.
        temperature: float32, above 0.
        limits: None: any token may be drawn.
        ranked: with limits, how many of the most likely tokens are looked at, at least the largest top_k; None: all.
    """
    draws = jax.vmap(jax.random.fold_in)(keys, steps)
    draw = jax.vmap(lambda key, row: jax.random.categorical(key, row))
    logits = logits / temperature[:, None]
    if limits is None:
        return draw(draws, logits).astype(jnp.int32)
    if limits.top_k is None:
        # Sorting a vocabulary takes many times as long as the rest.
        least = jnp.max(logits, axis=-1) + jnp.log(limits.min_p)
        return draw(draws, jnp.where(logits >= least[:, None], logits, -jnp.inf)).astype(jnp.int32)
    # Likeliest first. The rest works on ranks; `tokens` maps them back.
    vocabulary = logits.shape[-1]
    ordered, tokens = lax.top_k(logits, vocabulary if ranked is None else min(ranked, vocabulary))
    ranks = jnp.arange(ordered.shape[-1], dtype=jnp.int32)[None, :]
    ordered = jnp.where(ranks < limits.top_k[:, None], ordered, -jnp.inf)
    probabilities = jax.nn.softmax(ordered, axis=-1)
    before = jnp.cumsum(probabilities, axis=-1) - probabilities
    # The sum up to the last rank may round to 1 before it: without this, top_p = 1 would drop some.
    within = (before < limits.top_p[:, None]) | (limits.top_p[:, None] >= 1)
    likely = probabilities >= limits.min_p[:, None] * probabilities[:, :1]
    # The first rank is always kept; rounding could make the comparison drop it.
    ordered = jnp.where((within & likely) | (ranks == 0), ordered, -jnp.inf)
    rank = draw(draws, ordered)
    return jnp.take_along_axis(tokens, rank[:, None], axis=-1)[:, 0].astype(jnp.int32)


_drawn = jax.jit(drawn, static_argnames="ranked")


class Counts:
    """The tokens of one answer that its penalties apply to, with how often each was generated.

    Args:
        prompt: int32 tokens; the repetition penalty applies to them as well, the others to the answer only.
        settings: with a penalty (`GenerationSettings.penalized`).
    """

    def __init__(self, prompt: np.ndarray, settings: GenerationSettings) -> None:
        repeated = settings.repetition_penalty != 1
        self._generated: dict[int, int] = dict.fromkeys(np.unique(prompt).tolist(), 0) if repeated else {}

    def add(self, token: int) -> None:
        """Count a generated token."""
        self._generated[token] = self._generated.get(token, 0) + 1

    def __len__(self) -> int:
        return len(self._generated)

    def items(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens, each once, and how often they were generated, int32."""
        length = len(self._generated)
        return (
            np.fromiter(self._generated.keys(), np.int32, length),
            np.fromiter(self._generated.values(), np.int32, length),
        )


class Wanted(NamedTuple):
    """The next token of one answer.

    Attributes:
        draw: index of the answer's random key under the seed.
        step: index of the token in its answer.
        allowed: which tokens may be chosen, as bits (`Guide.allowed`); None allows all.
        counts: what the penalties apply to; None: the settings have no penalty.
    """

    settings: GenerationSettings
    draw: int
    step: int
    allowed: np.ndarray | None = None
    counts: Counts | None = None

    @property
    def kind(self) -> tuple[bool, bool, int | None] | None:
        """Whether there are limits, whether those are by rank, and how many ranks are looked at, None for all.

        Answers of one kind are sampled in one call. None: the likeliest token is chosen.
        """
        settings = self.settings
        if settings.temperature == 0:
            return None
        by_rank = settings.top_k is not None or settings.top_p is not None
        return settings.limited, by_rank, None if settings.top_k is None else _size(settings.top_k, _FEWEST_RANKED)


def with_penalties(
    logits: Float[Array, "B V"], likeliest: Int[Array, " B"], wanted: Sequence[Wanted | None]
) -> tuple[Float[Array, "B V"], Int[Array, " B"]]:
    """The logits with the penalties of each row, and the likeliest token; nothing is done while no row has one."""
    counts = {row: want.counts for row, want in enumerate(wanted) if want is not None and want.counts}
    return _penalized(logits, *_penalties(logits.shape, counts, wanted)) if counts else (logits, likeliest)


def choose(logits: Float[Array, "B V"], likeliest: Int[Array, " B"], wanted: Sequence[Wanted | None]) -> list[int]:
    """A token for each row of `wanted`, by its own settings; rows that are None get any token, further rows none.

    Args:
        logits, likeliest: from `with_penalties`.
    """
    if any(want is not None and want.allowed is not None for want in wanted):
        logits, likeliest = _masked(logits, _bits(logits.shape, wanted))
    chosen = np.array(likeliest)
    kinds = {kind for want in wanted if want is not None and (kind := want.kind) is not None}
    for kind in kinds:
        members = {row: want for row, want in enumerate(wanted) if want is not None and want.kind == kind}
        rows = list(members)
        chosen[rows] = _sampled(logits, members, *kind)[rows]
    return [int(token) for token in chosen[: len(wanted)]]


def _sampled(
    logits: Float[Array, "B V"], wanted: dict[int, Wanted], limited: bool, by_rank: bool, ranked: int | None
) -> np.ndarray:
    """A token for each row, drawn for those of `wanted`."""
    count, vocabulary = logits.shape
    keys = np.zeros((count, 2), np.uint32)
    steps, top_k = np.zeros(count, np.int32), np.full(count, vocabulary, np.int32)
    temperature, top_p = np.ones(count, np.float32), np.ones(count, np.float32)
    min_p = np.zeros(count, np.float32)
    for row, want in wanted.items():
        settings = want.settings
        keys[row] = _key(settings.seed, want.draw)
        steps[row], temperature[row] = want.step, settings.temperature
        top_k[row] = min(settings.top_k or vocabulary, vocabulary)
        top_p[row], min_p[row] = settings.top_p or 1.0, settings.min_p or 0.0
    limits = None
    if limited:
        limits = Limits(jnp.asarray(top_k) if by_rank else None, jnp.asarray(top_p), jnp.asarray(min_p))
    return np.asarray(_drawn(logits, jax.random.wrap_key_data(keys), steps, temperature, limits, ranked=ranked))


def _penalties(
    shape: tuple[int, ...], counts: Mapping[int, Counts], wanted: Sequence[Wanted | None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per row: tokens and their counts, int32 [B, N], filled up with tokens beyond the vocabulary; and the repetition,
    frequency and presence penalty, float32 [B, 3]."""
    rows, vocabulary = shape
    size = _size(max(map(len, counts.values())), _FEWEST_PENALIZED)
    tokens, times = np.full((rows, size), vocabulary, np.int32), np.zeros((rows, size), np.int32)
    penalties = np.tile(np.array([1, 0, 0], np.float32), (rows, 1))
    for row, of_row in counts.items():
        want = wanted[row]
        assert want is not None
        settings = want.settings
        tokens[row, : len(of_row)], times[row, : len(of_row)] = of_row.items()
        penalties[row] = settings.repetition_penalty, settings.frequency_penalty, settings.presence_penalty
    return tokens, times, penalties


@jax.jit
def _penalized(
    logits: Float[Array, "B V"], tokens: Int[Array, "B N"], times: Int[Array, "B N"], penalties: Float[Array, "B 3"]
) -> tuple[Float[Array, "B V"], Int[Array, " B"]]:
    """The logits with the penalties on the given tokens, and the likeliest token."""
    repetition, frequency, presence = (penalties[:, n, None] for n in range(3))
    rows = jnp.arange(len(logits), dtype=jnp.int32)[:, None]
    x = logits.at[rows, tokens].get(mode="fill", fill_value=0)
    x = jnp.where(x > 0, x / repetition, x * repetition)
    x = x - frequency * times.astype(jnp.float32) - presence * (times > 0).astype(jnp.float32)
    logits = logits.at[rows, tokens].set(x, mode="drop")
    return logits, argmax_last(logits)


def _size(count: int, fewest: int) -> int:
    """The least of fewest, 4 x fewest, 16 x fewest, ... that is at least `count`."""
    size = fewest
    while size < count:
        size *= _FACTOR
    return size


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
