"""The weights of a model as decoding reads them: for each layer one array a product, in the compute dtype.

    weights = open_weights(folder, adapter=folder)      # from the files, tensor by tensor: no stack of layers beside it
    weights = weights_of(model)                         # a copy of a loaded model's

Training scans over stacks of layers; a step of decoding would copy each layer out of such a stack.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jora_model.formats.fitted_adapter import FittedAdapter, Tensors, WithReplaced
from jora_model.formats.hf_weights import facts_and_weights
from jora_model.generation.stacked_adapters import Adapter, Stacked
from jora_model.model.load import adapter_factors, adapter_magnitudes, read_tensor
from jora_model.model.transformer import Transformer
from jora_model.ops.cpu import as_float, storage_dtype
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import (
    EMBED,
    FINAL_NORM,
    HEAD,
    Parameter,
    bias_name,
    dim_sizes,
    groups_of,
    layer_norms_of,
    linears_of,
)
from jora_model.spec.settings import LoraSettings


class LayerWeights(NamedTuple):
    """One layer's weights in the compute dtype.

    Attributes:
        norms: by name.
        kernels: by group (`parameters.groups_of`): linears with the same input are one array `[out, in]`.
        biases: by group, `[out]`; a linear without one has zeros if another of its group has one.
        adapters: by group.
    """

    norms: dict[str, Array]
    kernels: dict[str, Array]
    biases: dict[str, Array]
    adapters: dict[str, Stacked | None]


@dataclass
class ModelWeights:
    """A model for decoding.

    Attributes:
        dtype: of the activations and of the products' operands.
        embed, head: as `cpu.storage_dtype` holds them; the same array if they are tied.
        layers: without adapters.
        own: the adapter that the model was opened with.
    """

    config: ModelConfig
    dtype: Any
    embed: Array
    final_norm: Array
    head: Array
    layers: list[LayerWeights]
    own: Adapter | None = None

    def kernel(self, target: str, layer: int) -> Float[Array, "out in"]:
        """W of a linear."""
        by_name = {parameter.name: parameter for parameter in linears_of(self.config)}
        for group, names in groups_of(self.config).items():
            if target in names:
                widths = [_out(by_name[name], self.config) for name in names]
                start = sum(widths[: names.index(target)])
                return self.layers[layer].kernels[group][start : start + widths[names.index(target)]]
        raise KeyError(target)


def open_weights(folder: Path, *, adapter: Path | None = None, compute_dtype: Any = jnp.bfloat16) -> ModelWeights:
    """Read a Hugging Face folder, with a trained adapter in PEFT's format, which stays unmerged.

    Raises:
        UserError: as `load.load_model`.
    """
    config, checkpoint = facts_and_weights(folder)
    tensors: Tensors = checkpoint
    own = None
    if adapter is not None:
        fitted = FittedAdapter(Path(adapter), config, checkpoint)
        config, tensors = fitted.config, WithReplaced(checkpoint, fitted.replaced)
        own = Adapter(fitted.lora, fitted.factors, fitted.magnitudes)
    held = storage_dtype(compute_dtype)

    def read(parameter: Parameter, layer: int = 0) -> Array:
        array = read_tensor(tensors, parameter.hf_names(config.num_layers)[layer], held)
        return jax.block_until_ready(jnp.asarray(array))

    embed = read(EMBED)
    return ModelWeights(
        config,
        jnp.dtype(compute_dtype),
        embed,
        as_float(read(FINAL_NORM)),
        embed if config.tie_embeddings else read(HEAD),
        [_layer(config, read, layer) for layer in range(config.num_layers)],
        own,
    )


def weights_of(model: Transformer) -> ModelWeights:
    """The weights of a loaded model, copied; drop the model to free its stacks."""
    config = model.config

    def read(parameter: Parameter, layer: int) -> Array:
        layers = model.layers
        if parameter.name in layers.norms:
            variable = layers.norms[parameter.name]
        elif parameter.name in layers.linears:
            variable = layers.linears[parameter.name].kernel
        else:
            variable = next(linear.bias for name, linear in layers.linears.items() if parameter.name == bias_name(name))
        return as_float(variable[...][layer])

    return ModelWeights(
        config,
        model.compute_dtype,
        model.embed[...],
        as_float(model.final_norm[...]),
        model.embed[...] if config.tie_embeddings else model.lm_head[...],
        [_layer(config, read, layer) for layer in range(config.num_layers)],
        _own_adapter(model),
    )


def _out(parameter: Parameter, config: ModelConfig) -> int:
    return dim_sizes(config)[parameter.dims[0]]


def _layer(config: ModelConfig, read_one: Callable[[Parameter, int], Array], layer: int) -> LayerWeights:
    def read(parameter: Parameter) -> Array:
        return as_float(read_one(parameter, layer))

    by_name = {parameter.name: parameter for parameter in linears_of(config)}
    kernels, biases = {}, {}
    for group, names in groups_of(config).items():
        kernels[group] = _joined([read(by_name[name]) for name in names])
        if any(name in config.biases for name in names):
            parts = [
                read(by_name[name].bias) if name in config.biases else np.zeros(_out(by_name[name], config), np.float32)
                for name in names
            ]
            biases[group] = _joined([jnp.asarray(part, kernels[group].dtype) for part in parts])
    return LayerWeights({norm.name: read(norm) for norm in layer_norms_of(config)}, kernels, biases, {})


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts)


def _own_adapter(model: Transformer) -> Adapter | None:
    """The adapter that the model was loaded with."""
    factors = adapter_factors(model)
    if not factors:
        return None
    rank = next(iter(factors.values()))[0].shape[1]
    scale = next(model.layers.linears[target].scale for target in factors)
    lora = LoraSettings(rank=rank, alpha=scale * rank, target_modules=tuple(factors))
    return Adapter(lora, factors, adapter_magnitudes(model))
