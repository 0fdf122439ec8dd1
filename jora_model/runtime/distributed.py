"""Communication between the processes that train one model; with a single process, nothing is sent.

Every process runs the same program on the same data, and holds the shards of its own devices.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding

_MESSAGE = 1 << 28  # bytes that are sent at once


def is_first() -> bool:
    """Whether this is process 0, the only one that writes files."""
    return jax.process_index() == 0


def put(array: np.ndarray, sharding: Sharding) -> jax.Array:
    """An array that every process has, on the devices of the sharding."""
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    # device_put would first compare the array between processes, which waits for all of them.
    return jax.make_array_from_callback(array.shape, sharding, lambda part: array[part])


def gather(array: jax.Array) -> np.ndarray:
    """The full array on the host, gathered from all processes, which must all call this."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def from_first(content: bytes) -> bytes:
    """The `content` of process 0, in every process."""
    if jax.process_count() == 1:
        return content
    # In two words: JAX has no 64 bits here, and a state may have more than 4 GiB.
    high, low = multihost_utils.broadcast_one_to_all(np.array(divmod(len(content), 1 << 32), np.uint32))
    size = (int(high) << 32) + int(low)
    pieces = []
    for start in range(0, size, _MESSAGE):
        piece = np.zeros(min(_MESSAGE, size - start), np.uint8)
        if is_first():
            piece[:] = np.frombuffer(content, np.uint8, len(piece), start)
        pieces.append(multihost_utils.broadcast_one_to_all(piece).tobytes())
    return b"".join(pieces)


def wait_for_all(name: str) -> None:
    """A barrier: return when all processes have called this.

    Needed before a program runs for the first time: its devices must connect within 30 seconds (XLA's Gloo), and one
    process may compile longer than another.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
