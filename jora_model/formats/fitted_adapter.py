"""A PEFT adapter that has been checked against its base model: what is added to each weight, or stands in its place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jora_model.formats.dora import row_factors
from jora_model.formats.initializations import first_factors
from jora_model.formats.peft_format import EMBED_MODULE, HEAD_MODULE, PeftAdapter, tensor_name
from jora_model.formats.peft_names import shown
from jora_model.formats.replaced import Replaced
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import LINEAR_BY_NAME, Parameter, dim_sizes, linears_of
from user_error import UserError

Factors = dict[str, tuple[np.ndarray, np.ndarray]]


class Tensors(Protocol):
    """The base's tensors: `hf_weights.Checkpoint`, or `WithReplaced`."""

    def slice(self, name: str) -> Any:
        """A lazy slice of a tensor, with `get_shape()`, `get_dtype()` and indexing."""


class FittedAdapter:
    """An adapter of one base model.

    Attributes:
        lora: the adapter as one rank and one scale.
        factors: target -> (A `[L, R, in]`, B `[L, out, R]`), float32. Layers and ranks that it lacks are zeros.
        magnitudes: of DoRA, target -> `[L, out]`, float32, NaN where a layer has no adapter; empty for LoRA.
        replaced: weights that stand in place of the base's.
        config: of the base with this adapter: its head may have become untied from the embedding.
    """

    def __init__(
        self, folder: Path, config: ModelConfig, base: Tensors | None = None, *, headers_only: bool = False
    ) -> None:
        """
        Args:
            base: needed only by adapters whose initialization has changed the base (initializations.py).
            headers_only: leave `factors` and `magnitudes` empty; the adapter is checked by names and shapes.

        Raises:
            UserError: the adapter is missing or damaged, uses a feature of PEFT that is not implemented, or is of
                another base model; the tensor or setting is named.
        """
        self._adapter = adapter = PeftAdapter(folder)
        self.path = adapter.path
        self.lora = adapter.settings
        self._check_modules(config)
        self.replaced = Replaced(adapter, config)
        for name in self.replaced.missing():
            raise UserError(f"{self.path} lacks {name}; is it an adapter of this base model?")
        self.config = self.replaced.config
        self.factors: Factors = {}
        self.magnitudes: dict[str, np.ndarray] = {}
        for target in self.lora.target_modules:
            self._check_shapes(LINEAR_BY_NAME[target], config)
            if not headers_only:
                self._stack(LINEAR_BY_NAME[target], config, base)

    def sharing(self) -> "FittedAdapter":
        """Return itself.

        Raises:
            UserError: it replaces weights of the base, which other adapters of an engine share.
        """
        if self.replaced.names:
            raise UserError(
                f"{self.path} holds weights in place of the base model's ({shown(self.replaced.names)}), "
                "which models that are served together share: ask or serve this "
                "model alone, or export it merged (export.merged=true) and name that folder as base_model"
            )
        return self

    def row_factors(self, base: Tensors) -> dict[str, np.ndarray]:
        """Return DoRA's factor of each output row, target -> `[L, out]`, float32; empty for LoRA."""
        found = {}
        for target, magnitude in self.magnitudes.items():
            names = LINEAR_BY_NAME[target].hf_names(len(magnitude))
            found[target] = np.stack(
                [
                    row_factors(base.slice(name)[:], a, b, self.lora.scale, lengths)
                    for name, a, b, lengths in zip(names, *self.factors[target], magnitude, strict=True)
                ]
            )
        return found

    def _check_modules(self, config: ModelConfig) -> None:
        """Check that the modules are those that the config announces for this base model."""
        adapter = self._adapter
        linears = [p.module(layer) for p in linears_of(config) for layer in range(config.num_layers)]
        wanted = {name for name in (*linears, EMBED_MODULE, HEAD_MODULE) if adapter.config.adapts(name)}
        if adapter.config.get("ensure_weight_tying") and {EMBED_MODULE, HEAD_MODULE} & wanted:
            wanted |= {EMBED_MODULE, HEAD_MODULE} & set(adapter.modules)
        for module in sorted(wanted - set(adapter.modules)):
            raise UserError(f"{self.path} lacks {tensor_name(module, 'A')}; is it an adapter of this base model?")
        for module in sorted(set(adapter.modules) - wanted):
            name = adapter.pair(module)[0].name
            raise UserError(f"{self.path} holds unknown tensors: {name}; is it an adapter of this base model?")

    def _check_shapes(self, parameter: Parameter, config: ModelConfig) -> None:
        """Check the shapes of a target's tensors."""
        adapter = self._adapter
        out, inner = (dim_sizes(config)[dim] for dim in parameter.dims)
        for layer in range(config.num_layers):
            if (module := parameter.module(layer)) not in adapter.modules:
                continue
            rank = adapter.modules[module].rank
            tensors = [*adapter.pair(module), adapter.stored(module, "magnitude")]
            for tensor, shape in zip(tensors, ((rank, inner), (out, rank), (out,)), strict=True):
                if tensor is not None and tensor.shape != shape:
                    raise UserError(
                        f"{self.path}: {tensor.name} has shape {tensor.shape}; the base model needs {shape}"
                    )

    def _stack(self, parameter: Parameter, config: ModelConfig, base: Tensors | None) -> None:
        """Read a target of all layers."""
        adapter, layers, rank = self._adapter, config.num_layers, self.lora.rank
        out, inner = (dim_sizes(config)[dim] for dim in parameter.dims)
        a = np.zeros((layers, rank, inner), np.float32)
        b = np.zeros((layers, out, rank), np.float32)
        lengths = np.full((layers, out), np.nan, np.float32)
        for layer, name in enumerate(parameter.hf_names(layers)):
            module = parameter.module(layer)
            if module not in adapter.modules:
                continue
            own, magnitude = adapter.modules[module], adapter.stored(module, "magnitude")
            a_layer, b_layer = adapter.factors(module)
            if (kind := adapter.config.repeated_init) is not None:
                if base is None:
                    raise UserError(f"{self.path}: init_lora_weights={kind!r} can only be read together with its base")
                weight = self._base_weight(name, base)
                a_first, b_first = first_factors(kind, weight, own.rank, own.scale)
                a_layer, b_layer = np.concatenate([a_layer, a_first]), np.concatenate([b_layer, -b_first], axis=1)
            a[layer, : len(a_layer)] = a_layer
            b[layer, :, : b_layer.shape[1]] = b_layer
            if own.scale != self.lora.scale:
                b[layer] *= np.float32(own.scale / self.lora.scale)
            if magnitude is not None:
                lengths[layer] = adapter.read(magnitude)
        self.factors[parameter.name] = (a, b)
        if adapter.config.use_dora:
            self.magnitudes[parameter.name] = lengths

    def _base_weight(self, name: str, base: Tensors) -> np.ndarray:
        weight: np.ndarray = WithReplaced(base, self.replaced).slice(name)[:]
        return weight


class WithReplaced:
    """The base's tensors, with those in place that an adapter replaces, and rows scaled as DoRA scales them.

    Tensors are float32 where they differ from the base's; `get_dtype()` is always the base's.
    """

    def __init__(
        self,
        base: Tensors,
        replaced: Replaced,
        row_factors: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self._base = base
        self._replaced = replaced
        self._factors = {
            name: factors[layer]
            for target, factors in (row_factors or {}).items()
            for layer, name in enumerate(LINEAR_BY_NAME[target].hf_names(len(factors)))
        }
        self._last: tuple[str, np.ndarray] | None = None

    def slice(self, name: str) -> Any:
        """A tensor by its Hugging Face name, as `Checkpoint.slice` gives it."""
        part = self._base.slice(self._replaced.source(name))
        if name not in self._replaced.names and name not in self._factors:
            return part
        return _Computed(self, name, part)

    def computed(self, name: str, part: Any) -> np.ndarray:
        """A tensor that differs from the base's, in float32; the last one is kept, since devices read slices of it."""
        if self._last is None or self._last[0] != name:
            if name in self._replaced.names:
                weight = self._replaced.weight(name, lambda: part[:])
            else:
                weight = part[:].astype(np.float32)
            if name in self._factors:
                weight = weight * self._factors[name][:, None]
            self._last = (name, weight)
        return self._last[1]


class _Computed:
    """A tensor of `WithReplaced`; it is computed when it is first indexed."""

    def __init__(self, whole: WithReplaced, name: str, part: Any) -> None:
        self._whole, self._name, self._part = whole, name, part

    def get_shape(self) -> list[int]:
        return list(self._part.get_shape())

    def get_dtype(self) -> str:
        return str(self._part.get_dtype())

    def __getitem__(self, index: Any) -> np.ndarray:
        tensor: np.ndarray = self._whole.computed(self._name, self._part)[index]
        return tensor
