"""A tiny base model and 24 examples, for all tests of training."""

from pathlib import Path

import pytest

from testing.sequences import random_sequences, write_sequences
from testing.tiny_models import hf_folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hf_folder(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sequences(tmp_path_factory.mktemp("data"), random_sequences(0, count=24))
