"""Waiting with a limit."""

import time
from collections.abc import Callable


def wait_for(
    condition: Callable[[], bool], seconds: float = 30.0, what: str = "a condition", pause: float = 0.02
) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it does not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(pause)
