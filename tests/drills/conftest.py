"""Options of the drills. They break things on purpose, print figures and fail where recovery is not complete."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.box import Box

# As a person starts it: XLA optimizes, a process has the devices of its machine, and JAX promotes types as it does.
for name in ("XLA_FLAGS", "JAX_NUMPY_DTYPE_PROMOTION", "JAX_NUMPY_RANK_PROMOTION"):
    os.environ.pop(name, None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="the long form of each drill; together more than an hour")
    parser.addoption("--seed", type=int, help="of random moments; without it they differ from run to run")
    parser.addoption("--squad", type=Path, help="a SQuAD file for greedy parity instead of the samples")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(2 * 3600))


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("--full"))


@pytest.fixture
def moments(pytestconfig: pytest.Config) -> random.Random:
    """Random numbers, whose seed is printed."""
    seed = pytestconfig.getoption("--seed")
    seed = random.randrange(10**6) if seed is None else seed
    print(f"\nmoments drawn with --seed {seed}", flush=True)
    return random.Random(seed)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A server with our deployments and a worker."""
    # Else the keys of compiled programs hold the name of the work directory.
    box = Box(tmp_path, JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES="none")
    try:
        box.start_server()
        box.command("deploy/set_up.py")
        box.start_worker()
        yield box
    finally:
        box.stop()
