"""The real base model, imported once for all tests of `jora_model`."""

from pathlib import Path

import pytest

from jora_model.formats.base import resolve_base
from jora_model.formats.gguf_import import import_gguf


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("smollm2")
    import_gguf(resolve_base("embedded"), folder)
    return folder
