"""The base model with an adapter merged in, tensor by tensor: `W + scale * B A` for every adapted weight.

DoRA scales the rows of that sum; weights that the adapter replaces (an embedding, say) are taken as they are.
"""

import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from jora_model.formats.fitted_adapter import FittedAdapter, WithReplaced
from jora_model.formats.hf_weights import facts_and_weights, rounding_note
from jora_model.formats.tensor_file import DTYPES
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import parameters_of
from jora_model.spec.settings import ExportDtype
from user_error import UserError

_CHOSEN = {"bf16": np.dtype(ml_dtypes.bfloat16), "f32": np.dtype(np.float32)}


class Merged:
    """Names and tensors of the merged model; only the adapter is kept in memory.

    Attributes:
        shapes: Hugging Face name -> shape, in the model's order.
        sizes, widths: name -> bytes of the tensor, and of one element, in the chosen dtype.
        dtype: of every tensor; None if each keeps the base's dtype.
        untied: whether config.json says that the head is the embedding's, and it is a weight of its own.
        rounding: a sentence about weights that training rounded to bfloat16; None if it took all as they are stored.
    """

    def __init__(self, base: Path, adapter: Path, dtype: ExportDtype = "base", compute_dtype: str = "float32") -> None:
        """
        Args:
            dtype: of every tensor; `base` keeps the dtype that each has in the base.
            compute_dtype: that of the training. With bfloat16, float16 weights were rounded to it, and are here: what
                is exported is the model that was trained and measured.

        Raises:
            UserError: a file is missing or damaged, or the adapter does not fit this base model.
        """
        config, checkpoint = facts_and_weights(base, rounded=compute_dtype == "bfloat16")
        fitted = FittedAdapter(adapter, config, checkpoint)
        self.config, self.lora, self._factors = fitted.config, fitted.lora, fitted.factors
        self.untied = ModelConfig.read(base).tie_embeddings and not self.config.tie_embeddings
        self._checkpoint = WithReplaced(checkpoint, fitted.replaced)
        self._rows = fitted.row_factors(self._checkpoint)
        self.dtype = _CHOSEN.get(dtype)
        # Name of an adapted tensor -> (target, layer).
        self._adapted: dict[str, tuple[str, int]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.sizes: dict[str, int] = {}
        self.widths: dict[str, int] = {}
        self._dtypes: dict[str, np.dtype[Any]] = {}
        for parameter in parameters_of(self.config):
            for layer, name in enumerate(parameter.hf_names(self.config.num_layers)):
                part = self._checkpoint.slice(name)
                self._dtypes[name] = self.dtype or DTYPES[part.get_dtype()]
                self.shapes[name] = tuple(part.get_shape())
                self.widths[name] = self._dtypes[name].itemsize
                self.sizes[name] = self.widths[name] * math.prod(self.shapes[name])
                if parameter.name in self._factors:
                    self._adapted[name] = (parameter.name, layer)
        self.rounding = rounding_note(checkpoint, compute_dtype)

    def tensor(self, name: str) -> np.ndarray:
        """Return a tensor in its dtype; computed in float32 and rounded once.

        Raises:
            UserError: a value is beyond the range of the dtype (named).
        """
        weight: np.ndarray = self._checkpoint.slice(name)[:]
        if name in self._adapted:
            weight = self._sum(name, weight)
        with np.errstate(over="ignore"):
            result = weight.astype(self._dtypes[name], copy=False)
        if result.dtype == np.float16 and not np.isfinite(result).all():
            raise UserError(
                f"{name} has weights beyond the range of float16 (65,504) when the adapter is merged in; set "
                "export.dtype=bf16 or f32"
            )
        return result

    def wide(self, name: str) -> np.ndarray:
        """Return a tensor in float32, not rounded."""
        weight: np.ndarray = self._checkpoint.slice(name)[:]
        return self._sum(name, weight) if name in self._adapted else weight.astype(np.float32, copy=False)

    def _sum(self, name: str, weight: np.ndarray) -> np.ndarray:
        target, layer = self._adapted[name]
        a, b = (factor[layer] for factor in self._factors[target])
        summed: np.ndarray = weight.astype(np.float32) + np.float32(self.lora.scale) * (b @ a)
        return summed * self._rows[target][layer][:, None] if target in self._rows else summed
