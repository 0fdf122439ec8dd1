"""The base model with an adapter merged in, tensor by tensor: `W + scale * B A` for every adapted weight."""

import math
from pathlib import Path

import ml_dtypes
import numpy as np

from jora_model.formats.hf_weights import Checkpoint, check_names
from jora_model.formats.lora import read_adapter
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import parameters_of
from jora_model.spec.settings import ExportDtype
from user_error import UserError

_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_CHOSEN = {"bf16": np.dtype(ml_dtypes.bfloat16), "f32": np.dtype(np.float32)}


class Merged:
    """Names and tensors of the merged model; only the adapter is kept in memory.

    Attributes:
        shapes: Hugging Face name -> shape, in the model's order.
        sizes, widths: name -> bytes of the tensor, and of one element, in the chosen dtype.
        dtype: of every tensor; None if each keeps the base's dtype.
    """

    def __init__(self, base: Path, adapter: Path, dtype: ExportDtype = "base") -> None:
        """
        Args:
            dtype: of every tensor; `base` keeps the dtype that each has in the base.

        Raises:
            UserError: a file is missing or damaged, or the adapter does not fit this base model.
        """
        self.config = ModelConfig.read(base)
        self._checkpoint = Checkpoint(base)
        check_names(self._checkpoint, self.config)
        self.lora, self._factors = read_adapter(adapter, self.config)
        self.dtype = _CHOSEN.get(dtype)
        # Name of an adapted tensor -> (target, layer).
        self._adapted: dict[str, tuple[str, int]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.sizes: dict[str, int] = {}
        self.widths: dict[str, int] = {}
        for parameter in parameters_of(self.config):
            for layer, name in enumerate(parameter.hf_names(self.config.num_layers)):
                part = self._checkpoint.slice(name)
                stored = part.get_dtype()
                if stored not in _BYTES:
                    raise UserError(f"{base}: {name} is stored as {stored}; allowed are {', '.join(_BYTES)}")
                self.shapes[name] = tuple(part.get_shape())
                width = self.dtype.itemsize if self.dtype is not None else _BYTES[stored]
                self.widths[name] = width
                self.sizes[name] = width * math.prod(self.shapes[name])
                if parameter.name in self._factors:
                    self._adapted[name] = (parameter.name, layer)

    def tensor(self, name: str) -> np.ndarray:
        """Return a tensor in its dtype; computed in float32 and rounded once."""
        weight: np.ndarray = self._checkpoint.slice(name)[:]
        dtype = self.dtype or weight.dtype
        if name not in self._adapted:
            return weight.astype(dtype, copy=False)
        return self._sum(name, weight).astype(dtype)

    def wide(self, name: str) -> np.ndarray:
        """Return a tensor in float32, not rounded."""
        weight: np.ndarray = self._checkpoint.slice(name)[:]
        return self._sum(name, weight) if name in self._adapted else weight.astype(np.float32)

    def _sum(self, name: str, weight: np.ndarray) -> np.ndarray:
        target, layer = self._adapted[name]
        a, b = (factor[layer] for factor in self._factors[target])
        summed: np.ndarray = weight.astype(np.float32) + np.float32(self.lora.scale) * (b @ a)
        return summed
