"""What process 0 sends to the others, whatever its size."""

import mmap

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from jora_model.runtime.distributed import from_first


class EnoughSentError(Exception):
    """The first two messages are known."""


def test_a_state_of_more_than_4_gib(monkeypatch):
    sent = []

    def broadcast(array):
        sent.append(array)
        if len(sent) == 2:
            raise EnoughSentError
        return array

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", broadcast)
    size = (1 << 32) + 7
    with pytest.raises(EnoughSentError):
        from_first(mmap.mmap(-1, size))  # memory that is never touched
    assert sent[0].dtype == np.uint32  # JAX has no 64 bits here
    assert int(sent[0][0]) * (1 << 32) + int(sent[0][1]) == size
    assert 0 < len(sent[1]) < 1 << 31
