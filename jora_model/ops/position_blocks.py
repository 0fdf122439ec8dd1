"""Position-wise functions in blocks of positions, so that intermediates between products stay in the cache.

    after = over_blocks(function, size, trainable, fixed, inputs, count)

computes `function(trainable, fixed, inputs, block number)` for the first `count` blocks and concatenates the results.
Its gradient runs block by block too and recomputes each block first, so only the inputs are saved. For CPUs: a row's
float32 intermediates are many times the cache, and writing and reading them takes longer than the products.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from jora_model.ops.cpu import as_bits, as_float

POSITION_BLOCKS = "position_blocks"  # name of the loops in the compiled program
# Most and fewest positions of a block. Measured on one core (SmolLM2-135M): 512 is 6% faster than 256.
_MOST, _LEAST = 512, 128


def positions_of_block(length: int) -> int:
    """Positions per block: the largest divisor of the length from 128 to 512; the length itself if it has none.

    >>> positions_of_block(2560), positions_of_block(1000), positions_of_block(1021)
    (512, 500, 1021)
    """
    return next((size for size in range(min(_MOST, length), _LEAST - 1, -1) if length % size == 0), length)


def _length(tree: Any) -> int:
    first = jax.tree.leaves(tree)[0]
    return int(first.shape[1])


def _part(tree: Any, block: Array, size: int) -> Any:
    return jax.tree.map(lambda x: as_float(lax.dynamic_slice_in_dim(x, block * size, size, axis=1)), tree)


def _with_part(tree: Any, part: Any, block: Array, size: int) -> Any:
    return jax.tree.map(lambda x, y: lax.dynamic_update_slice_in_dim(x, as_bits(y), block * size, axis=1), tree, part)


def _bits(tree: Any) -> Any:
    return jax.tree.map(as_bits, tree)


def _zeros(shapes: Any, blocks: int) -> Any:
    def zeros(x: Any) -> Array:
        shape = list(x.shape)
        shape[1] *= blocks
        return as_bits(jnp.zeros(shape, x.dtype))

    return jax.tree.map(zeros, shapes)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def over_blocks(
    function: Callable[..., Any], size: int, trainable: Any, fixed: Any, inputs: Any, count: Int[Array, ""]
) -> Any:
    """Apply a function block by block. Arrays of `inputs` and the result are `[B, T, ..]`, bf16 or float32.

    Args:
        function: computes the results of one block; must not close over arrays.
        size: positions per block, a divisor of T.
        trainable: float32 arrays with a gradient, the same for all blocks.
        fixed: arrays without a gradient.
        inputs: arrays of positions with a gradient.
        count: how many blocks are computed; the results of the others are 0.
    """
    kept, blocks = _bits(inputs), _length(inputs) // size

    def block_results(block: Array) -> Any:
        return function(trainable, fixed, _part(kept, block, size), block)

    def add(block: Array, results: Any) -> Any:
        return _with_part(results, block_results(block), block, size)

    shapes = jax.eval_shape(block_results, jnp.int32(0))
    with jax.named_scope(POSITION_BLOCKS):
        results = lax.fori_loop(0, count, add, _zeros(shapes, blocks))
    return jax.tree.map(as_float, results)


def _forward(function: Any, size: int, trainable: Any, fixed: Any, inputs: Any, count: Array) -> tuple[Any, Any]:
    return over_blocks(function, size, trainable, fixed, inputs, count), (trainable, fixed, inputs, count)


def _backward(function: Any, size: int, residuals: Any, cotangents: Any) -> tuple[Any, None, Any, None]:
    trainable, fixed, inputs, count = residuals
    kept, cotangents = _bits(inputs), _bits(cotangents)

    def add(block: Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        def block_results(trainable: Any, inputs: Any) -> Any:
            return function(trainable, fixed, inputs, block)

        _, pull = jax.vjp(block_results, trainable, _part(kept, block, size))
        change, back = pull(_part(cotangents, block, size))
        return jax.tree.map(jnp.add, carry[0], change), _with_part(carry[1], back, block, size)

    start = jax.tree.map(jnp.zeros_like, (trainable, kept))
    with jax.named_scope(POSITION_BLOCKS):
        change, back = lax.fori_loop(0, count, add, start)
    return change, None, jax.tree.map(as_float, back), None


over_blocks.defvjp(_forward, _backward)
