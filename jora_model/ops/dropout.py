"""Dropout masks keyed by row, layer, linear and block of positions: they are the same however rows are split over
devices and positions over blocks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jora_model.ops.position_blocks import positions_of_block


class Draws(NamedTuple):
    """Source of one linear's dropout masks.

    Attributes:
        keys: a key for each row, `[B]`.
        block: number of the block of positions that `x` holds; None if it holds all.
    """

    keys: Array
    block: Array | None = None

    def keep(self, x: Float[Array, "B T I"], rate: float) -> Float[Array, "B T I"]:
        """Factors in x's dtype: 0 with probability `rate`, else 1 / (1 - rate)."""
        B, T, width = x.shape
        size = T if self.block is not None else positions_of_block(T)
        blocks = jnp.arange(T // size, dtype=jnp.int32) if self.block is None else self.block[None]

        def row(key: Array) -> Array:
            def drawn(block: Array) -> Array:
                return jax.random.bernoulli(jax.random.fold_in(key, block), 1.0 - rate, (size, width))

            return jax.vmap(drawn)(blocks)

        kept = jax.vmap(row)(self.keys).reshape(B, T, width)
        return jnp.where(kept, jnp.asarray(1.0 / (1.0 - rate), x.dtype), jnp.zeros((), x.dtype))


def draws_of(keys: Array | None, names: tuple[str, ...], block: Array | None = None) -> dict[str, Draws | None]:
    """A layer's draws by linear, from a key for each row; all None if dropout is off."""
    if keys is None:
        return dict.fromkeys(names)
    return {
        name: Draws(jax.vmap(lambda key, number=number: jax.random.fold_in(key, number))(keys), block)
        for number, name in enumerate(names)
    }
