"""Decoding with a KV cache: prefill a row of prompts once, then add one token per step in every slot.

    decoder = Decoder(load_model(folder))
    logits, likeliest, row = decoder.prefill(pack_row(prompts))                # [M, V], after each prompt's last token
    groups = decoder.group([(row, {slot: end of its prompt})])                 # which slots attend to which row
    logits, likeliest = decoder.step(tokens, positions, which, ages, groups)   # [B, V], after one more token each

A row's KV cache is read once per step for all slots that attend to it, and is never written again. The answers of all
slots share a ring buffer, of which each step writes one column; a slot sees only the columns since its answer began.
The two parts of the attention are merged by their log-sums.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jora_model.generation.decode_programs import Cache, Lanes, Sums, programs
from jora_model.generation.layer_weights import ModelWeights, weights_of
from jora_model.generation.stacked_adapters import Adapter, stack_adapters
from jora_model.model.transformer import Transformer
from jora_model.ops.attention import Window
from jora_model.ops.cpu import FEWEST_ROWS, RING_DTYPE, as_float
from jora_model.packing.prompt_rows import PromptRow
from jora_model.packing.tiles import visible_tiles

# Lengths of the ring grow by a factor of four, so that few programs are compiled.
_SHORTEST_RING, _RING_FACTOR = 32, 4
_MOST_ROWS = 8  # per program


@dataclass(frozen=True)
class Row:
    """A row of prompts after prefill, with its KV cache per layer."""

    prompts: PromptRow
    caches: tuple[Cache, ...]


class Group(NamedTuple):
    """Rows of one length, and which slots attend to them."""

    rows: tuple[Row, ...]
    lanes: Lanes


class Decoder:
    """Prefills and steps of one model.

    Args:
        model: adapter 0 is its own adapter, or the base if it has none. A `Transformer` is copied: drop it to free its
            weights, or give `open_weights` of its folder.
        adapters: adapters 1 and up.
        slots: answers decoded at once, at least `FEWEST_ROWS`.
    """

    def __init__(self, model: Transformer | ModelWeights, adapters: Sequence[Adapter] = (), slots: int = 16):
        assert slots >= FEWEST_ROWS, f"{slots} slots"
        weights = weights_of(model) if isinstance(model, Transformer) else model
        config = self.config = weights.config
        self.dtype = weights.dtype
        self.slots = slots
        stacked = stack_adapters([weights.own, *adapters], config, self.dtype, weights.kernel)
        self._layers = [
            layer._replace(adapters=of_layer) for layer, of_layer in zip(weights.layers, stacked, strict=True)
        ]
        self._embed, self._norm = weights.embed, weights.final_norm
        # Not as bits, though a tied head is then held twice: the program would convert all of them at every step.
        self._head = as_float(weights.head).astype(self.dtype)
        self._run = programs(config, self.dtype)
        self._column = 0
        self._ring = self._new_ring(_SHORTEST_RING)
        B, N, H = slots, config.num_heads, config.head_dim
        self._sums = Sums(jnp.zeros((B, N, H), jnp.float32), jnp.full((B, N), -1e30, jnp.float32))

    def prefill(
        self, prompts: PromptRow, which: int = 0, long: bool = False
    ) -> tuple[Float[Array, "M V"], Int[Array, " M"], Row]:
        """Run a row of prompts with one adapter.

        Args:
            long: rotate with the long factors (`ModelConfig.long_from`).

        Returns:
            float32 logits after the last token of each prompt, the likeliest token there, and the row for `group`. M
            is the number of prompts, padded to a power of two.
        """
        x, ropes = self._run.start_row(self._embed, prompts.tokens, prompts.positions, np.array([long]))
        reach = prompts.reach[None]
        windows = self.config.windows(len(prompts.tokens))
        of_windows = {
            window: visible_tiles(reach, np.array([prompts.used]), prompts.positions[None], window)
            for window in set(windows)
        }
        adapter = np.array([which], np.int32)
        caches = []
        for layer, kind in zip(self._layers, self.config.layers, strict=True):
            window = None
            if (size := windows[kind]) is not None:
                window = Window(prompts.positions[None], np.array([size], np.int32))
            rope = ropes[self.config.kinds[kind].rope]
            x, cache = self._run.row_layer(layer, x, rope, reach, of_windows[size], adapter, window)
            caches.append(cache)
        ends = np.zeros(max(FEWEST_ROWS, _power_of_two(len(prompts.ends))), np.int32)
        ends[: len(prompts.ends)] = prompts.ends
        logits, likeliest = self._run.logits(self._norm, self._head, x, ends)
        return logits, likeliest, Row(prompts, tuple(caches))

    def group(self, queried: Sequence[tuple[Row, Mapping[int, int]]]) -> list[Group]:
        """Group rows of one shape, for as few programs as possible.

        Args:
            queried: each row with its slots: slot -> end of the prompt that it answers.
        """
        by_shape: dict[tuple[int, int], list[tuple[Row, Mapping[int, int]]]] = {}
        for row, ends in queried:
            by_shape.setdefault((len(row.prompts.reach), _lane_count(len(ends))), []).append((row, ends))
        groups = []
        for (_, lanes), members in by_shape.items():
            start = 0
            while start < len(members):
                count = min(_MOST_ROWS, 1 << ((len(members) - start).bit_length() - 1))
                groups.append(self._group(members[start : start + count], lanes))
                start += count
        return groups

    def _group(self, members: Sequence[tuple[Row, Mapping[int, int]]], M: int) -> Group:
        slots = np.zeros(len(members) * M, np.int32)
        lane_of = np.full(self.slots, -1, np.int32)
        visible = []
        for number, (row, ends) in enumerate(members):
            taken = np.array(list(ends), np.int32)
            lanes = number * M + np.arange(len(taken))
            slots[lanes], lane_of[taken] = taken, lanes
            padded = np.zeros(M, np.int32)
            padded[: len(taken)] = list(ends.values())
            visible.append(row.prompts.seen_from(padded))
        depths = np.stack([row.prompts.positions for row, _ in members])
        arrays = map(jnp.asarray, (slots, lane_of, np.stack(visible), depths))
        return Group(tuple(row for row, _ in members), Lanes(*arrays))

    def step(
        self,
        tokens: Int[np.ndarray, " B"],
        positions: Int[np.ndarray, " B"],
        which: Int[np.ndarray, " B"],
        ages: Int[np.ndarray, " B"],
        groups: Sequence[Group],
        long: Bool[np.ndarray, " B"] | None = None,
    ) -> tuple[Float[Array, "B V"], Int[Array, " B"]]:
        """Add one token in each slot.

        Args:
            tokens, positions: int32, as the others.
            which: index of each slot's adapter.
            ages: length of each slot's answer including this token; 1 for an empty slot.
            long: which slots' answers rotate with the long factors, as their prompts; by default none.

        Returns:
            float32 logits for the next token, and the likeliest token.
        """
        run = self._run
        self._fit_ring(int(ages.max()))
        column = np.int32(self._column)
        config = self.config
        long = np.zeros(self.slots, bool) if long is None else long
        x, ropes = run.start(self._embed, tokens, positions, long)
        which_B, ages_B, positions_B = map(jnp.asarray, (which, ages, positions))
        # A window longer than every answer with its prompt hides nothing.
        windows = [
            None if size is None else np.int32(size) for size in config.windows(int(positions.max(initial=0)) + 1)
        ]
        for number, (layer, kind) in enumerate(zip(self._layers, config.layers, strict=True)):
            q, k, v = run.queries(layer, x, ropes[config.kinds[kind].rope], which_B)
            for group in groups:
                rows = tuple(row.caches[number] for row in group.rows)
                self._sums = run.over_rows(q, rows, group.lanes, positions_B, windows[kind], sums=self._sums)
            x, self._ring[number] = run.finish_layer(
                layer, x, q, k, v, self._sums, column, ages_B, which_B, windows[kind], ring=self._ring[number]
            )
        self._column = (self._column + 1) % self._ring_length
        logits, likeliest = run.logits(self._norm, self._head, x, np.arange(self.slots, dtype=np.int32))
        return logits, likeliest

    def _new_ring(self, length: int) -> list[Cache]:
        self._ring_length = length
        B, K, H = self.slots, self.config.num_kv_heads, self.config.head_dim
        shapes = Cache((B, K, H, length), (B, K, length, H))
        return [Cache(*(jnp.zeros(shape, RING_DTYPE) for shape in shapes)) for _ in self._layers]

    def _fit_ring(self, age: int) -> None:
        """Lengthen the ring if an answer is longer, shorten it if all are much shorter; the newest columns are kept."""
        old_length = self._ring_length
        length = _ring_length(age)
        if length <= old_length:
            # With room to grow, so that it is not lengthened again soon.
            length = min(old_length, _ring_length(age * _RING_FACTOR))
        if length == old_length:
            return
        kept = min(length, old_length)
        old, self._ring = self._ring, self._new_ring(length)
        for number, cache in enumerate(old):
            # In order of age, the newest last.
            moved = (
                jax.lax.slice_in_dim(jnp.roll(part, -self._column, axis), old_length - kept, old_length, axis=axis)
                for part, axis in zip(cache, (3, 2), strict=True)
            )
            self._ring[number] = Cache(
                *(
                    jax.lax.dynamic_update_slice_in_dim(new, part, 0, axis)
                    for new, part, axis in zip(self._ring[number], moved, (3, 2), strict=True)
                )
            )
        self._column = kept % length


def _ring_length(age: int) -> int:
    length = _SHORTEST_RING
    while length < age:
        length *= _RING_FACTOR
    return length


def _power_of_two(count: int) -> int:
    return 1 << max(0, count - 1).bit_length()


def _lane_count(slots: int) -> int:
    """Lanes per row in a compiled program: 1, 4, or a larger power of two."""
    return 1 if slots == 1 else max(4, _power_of_two(slots))
