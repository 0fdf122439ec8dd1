"""What treats every position alike, in blocks of positions: what lies between two products stays in the cache.

    after = over_blocks(function, size, learnt, fixed, inputs, count)

computes `function(learnt, fixed, inputs, block number)` for the first `count` blocks and puts the results together. Its
gradient runs block by block too and computes each block again first, so nothing but the inputs is kept. On a CPU, a
row's float32 intermediates are many times the cache, and writing and reading them takes longer than the products.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from jora_model.ops.cpu import as_bits, as_float

POSITION_BLOCKS = "position_blocks"  # its loops, in the compiled program
# Positions of a block at most, and at least. Measured on one core (SmolLM2-135M): 512 is 6% faster than 256.
_MOST, _LEAST = 512, 128


def positions_of_block(length: int) -> int:
    """Positions of a block: the largest number of at most 512 that divides the length; the length where none of at
    least 128 does.

    >>> positions_of_block(2560), positions_of_block(1000), positions_of_block(1021)
    (512, 500, 1021)
    """
    return next((size for size in range(min(_MOST, length), _LEAST - 1, -1) if length % size == 0), length)


def _length(tree: Any) -> int:
    first = jax.tree.leaves(tree)[0]
    return int(first.shape[1])


def _part(whole: Any, block: Array, size: int) -> Any:
    return jax.tree.map(lambda x: as_float(lax.dynamic_slice_in_dim(x, block * size, size, axis=1)), whole)


def _with_part(whole: Any, part: Any, block: Array, size: int) -> Any:
    return jax.tree.map(lambda x, y: lax.dynamic_update_slice_in_dim(x, as_bits(y), block * size, axis=1), whole, part)


def _bits(tree: Any) -> Any:
    return jax.tree.map(as_bits, tree)


def _nothing(shapes: Any, blocks: int) -> Any:
    def whole(x: Any) -> Array:
        shape = list(x.shape)
        shape[1] *= blocks
        return as_bits(jnp.zeros(shape, x.dtype))

    return jax.tree.map(whole, shapes)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def over_blocks(
    function: Callable[..., Any], size: int, learnt: Any, fixed: Any, inputs: Any, count: Int[Array, ""]
) -> Any:
    """Arrays of `inputs` and the result are `[B, T, ..]`, bf16 or float32.

    Args:
        function: results of one block; must not close over arrays.
        size: positions of a block, a divisor of T.
        learnt: arrays with a gradient, float32, the same for all blocks.
        fixed: arrays without one.
        inputs: arrays of positions with a gradient.
        count: how many blocks are computed; the rest of the results is 0.
    """
    kept, blocks = _bits(inputs), _length(inputs) // size

    def block_results(block: Array) -> Any:
        return function(learnt, fixed, _part(kept, block, size), block)

    def add(block: Array, whole: Any) -> Any:
        return _with_part(whole, block_results(block), block, size)

    shapes = jax.eval_shape(block_results, jnp.int32(0))
    with jax.named_scope(POSITION_BLOCKS):
        whole = lax.fori_loop(0, count, add, _nothing(shapes, blocks))
    return jax.tree.map(as_float, whole)


def _forward(function: Any, size: int, learnt: Any, fixed: Any, inputs: Any, count: Array) -> tuple[Any, Any]:
    return over_blocks(function, size, learnt, fixed, inputs, count), (learnt, fixed, inputs, count)


def _backward(function: Any, size: int, residuals: Any, errors: Any) -> tuple[Any, None, Any, None]:
    learnt, fixed, inputs, count = residuals
    kept, errors = _bits(inputs), _bits(errors)

    def add(block: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        def block_results(learnt: Any, inputs: Any) -> Any:
            return function(learnt, fixed, inputs, block)

        _, pull = jax.vjp(block_results, learnt, _part(kept, block, size))
        change, back = pull(_part(errors, block, size))
        return jax.tree.map(jnp.add, carry[0], change), _with_part(carry[1], back, block, size)

    start = jax.tree.map(jnp.zeros_like, (learnt, kept))
    with jax.named_scope(POSITION_BLOCKS):
        change, back = lax.fori_loop(0, count, add, start)
    return change, None, jax.tree.map(as_float, back), None


over_blocks.defvjp(_forward, _backward)
