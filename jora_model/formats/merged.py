"""The base model with an adapter merged in, tensor by tensor: `W + scale * B A` for every adapted weight.

DoRA scales the rows of that sum; weights that the adapter replaces (an embedding, say) are taken as they are.
"""

import math
from pathlib import Path

import ml_dtypes
import numpy as np

from jora_model.formats.fitted_adapter import FittedAdapter, WithReplaced
from jora_model.formats.hf_weights import Checkpoint, check_names
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import parameters_of
from jora_model.spec.settings import ExportDtype
from user_error import UserError

_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_STORED = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": np.dtype(ml_dtypes.bfloat16)}
_CHOSEN = {"bf16": np.dtype(ml_dtypes.bfloat16), "f32": np.dtype(np.float32)}


class Merged:
    """Names and tensors of the merged model; only the adapter is kept in memory.

    Attributes:
        shapes: Hugging Face name -> shape, in the model's order.
        sizes, widths: name -> bytes of the tensor, and of one element, in the chosen dtype.
        dtype: of every tensor; None if each keeps the base's dtype.
        untied: whether the head was the embedding's in the base, and is a weight of its own now.
    """

    def __init__(self, base: Path, adapter: Path, dtype: ExportDtype = "base") -> None:
        """
        Args:
            dtype: of every tensor; `base` keeps the dtype that each has in the base.

        Raises:
            UserError: a file is missing or damaged, or the adapter does not fit this base model.
        """
        config = ModelConfig.read(base)
        checkpoint = Checkpoint(base)
        check_names(checkpoint, config)
        fitted = FittedAdapter(adapter, config, checkpoint)
        self.config, self.lora, self._factors = fitted.config, fitted.lora, fitted.factors
        self.untied = config.tie_embeddings and not self.config.tie_embeddings
        self._checkpoint = WithReplaced(checkpoint, fitted.replaced)
        self._rows = fitted.row_factors(self._checkpoint)
        self.dtype = _CHOSEN.get(dtype)
        # Name of an adapted tensor -> (target, layer).
        self._adapted: dict[str, tuple[str, int]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.sizes: dict[str, int] = {}
        self.widths: dict[str, int] = {}
        self._dtypes: dict[str, np.dtype] = {}
        for parameter in parameters_of(self.config):
            for layer, name in enumerate(parameter.hf_names(self.config.num_layers)):
                part = self._checkpoint.slice(name)
                stored = part.get_dtype()
                if stored not in _BYTES:
                    raise UserError(f"{base}: {name} is stored as {stored}; allowed are {', '.join(_BYTES)}")
                self._dtypes[name] = self.dtype or _STORED[stored]
                self.shapes[name] = tuple(part.get_shape())
                width = self.dtype.itemsize if self.dtype is not None else _BYTES[stored]
                self.widths[name] = width
                self.sizes[name] = width * math.prod(self.shapes[name])
                if parameter.name in self._factors:
                    self._adapted[name] = (parameter.name, layer)

    def tensor(self, name: str) -> np.ndarray:
        """Return a tensor in its dtype; computed in float32 and rounded once."""
        weight: np.ndarray = self._checkpoint.slice(name)[:]
        if name in self._adapted:
            weight = self._sum(name, weight)
        return weight.astype(self._dtypes[name], copy=False)

    def wide(self, name: str) -> np.ndarray:
        """Return a tensor in float32, not rounded."""
        weight: np.ndarray = self._checkpoint.slice(name)[:]
        return self._sum(name, weight) if name in self._adapted else weight.astype(np.float32)

    def _sum(self, name: str, weight: np.ndarray) -> np.ndarray:
        target, layer = self._adapted[name]
        a, b = (factor[layer] for factor in self._factors[target])
        summed: np.ndarray = weight.astype(np.float32) + np.float32(self.lora.scale) * (b @ a)
        return summed * self._rows[target][layer][:, None] if target in self._rows else summed
