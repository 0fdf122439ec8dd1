"""The real embedder, loaded once for all tests of `data`."""

import pytest

from data.retrieval.embeddings import Embedder, resolve_embedder


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return Embedder(resolve_embedder("embedded"))
