"""One cache of compiled programs for all tests."""

import os
from pathlib import Path


def shared_programs() -> Path:
    """The directory as jobs name it (`compilation_cache`); tests/conftest.py names JAX its part for this machine."""
    folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder
