"""Arrays and decisions of several processes that train one model; with one process, each of these is the plain thing.

Every process runs the same program on the same data, and holds those parts of an array that lie on its devices.
"""

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding


def is_first() -> bool:
    """Whether this is process 0, which alone writes files."""
    return jax.process_index() == 0


def put(array: np.ndarray, sharding: Sharding) -> jax.Array:
    """Place an array that every process has."""
    if sharding.is_fully_addressable:
        return jax.device_put(array, sharding)
    # device_put would make the processes compare the array first, and wait for one another.
    return jax.make_array_from_callback(array.shape, sharding, lambda part: array[part])


def whole(array: jax.Array) -> np.ndarray:
    """All of an array on the host, whichever process has its parts; all processes must call this."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def from_first(content: bytes) -> bytes:
    """What process 0 gives, in every process."""
    if jax.process_count() == 1:
        return content
    size = multihost_utils.broadcast_one_to_all(np.array([len(content)], np.uint32))
    buffer = np.zeros(int(size[0]), np.uint8)
    if is_first():
        buffer[:] = np.frombuffer(content, np.uint8)
    return multihost_utils.broadcast_one_to_all(buffer).tobytes()


def wait_for_all(name: str) -> None:
    """Return when all processes have come here.

    Before a program runs for the first time: those of its devices that talk to one another must find one another within
    30 seconds (XLA's Gloo), and one process may compile for longer than another.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
