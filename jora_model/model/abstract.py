"""Shape, dtype and sharding of every array of a model, before anything is allocated.

    model = abstract_model(config, lora, mesh, "bfloat16")    # a model whose variables hold jax.ShapeDtypeStruct

Loading places real arrays by it; planning compiles with it, without arrays.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import ShapeDtypeStruct
from jax.sharding import Mesh, Sharding, SingleDeviceSharding

from jora_model.model.transformer import Transformer
from jora_model.ops.cpu import storage_dtype
from jora_model.runtime.sharding import adapter_specs, named, parameter_spec, rules_for, tp_size
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import LINEAR_BY_NAME, dim_sizes, parameters_of, shape_of
from jora_model.spec.settings import LoraSettings


def base_shapes(
    config: ModelConfig, mesh: Mesh | None, compute_dtype: Any, device: jax.Device | None = None
) -> dict[str, ShapeDtypeStruct]:
    """The base weights by our names: of a `storage_dtype`.

    Args:
        device: holds all arrays if there is no mesh; by default JAX's first.
    """
    dtype = storage_dtype(compute_dtype)
    rules = rules_for(config, tp_size(mesh))
    return {
        parameter.name: ShapeDtypeStruct(
            shape_of(parameter, config),
            dtype,
            sharding=named(mesh, parameter_spec(parameter, rules)) or _one_device(device),
        )
        for parameter in parameters_of(config)
    }


def adapter_shapes(
    config: ModelConfig, lora: LoraSettings, mesh: Mesh | None, device: jax.Device | None = None
) -> dict[str, tuple[ShapeDtypeStruct, ...]]:
    """The adapter: target -> (A `[L, R, in]`, B transposed `[L, R, out]`) and with DoRA m `[L, out]`, float32."""
    sizes = dim_sizes(config)
    rules = rules_for(config, tp_size(mesh))
    shapes_of = {}
    for target in lora.target_modules:
        out, inner = (sizes[dim] for dim in LINEAR_BY_NAME[target].dims)
        L = config.num_layers
        shapes = ((L, lora.rank, inner), (L, lora.rank, out), (L, out))
        parts = tuple(
            ShapeDtypeStruct(shape, jnp.float32, sharding=named(mesh, partition) or _one_device(device))
            for shape, partition in zip(shapes, adapter_specs(target, rules), strict=True)
        )
        shapes_of[target] = parts if lora.use_dora else parts[:2]
    return shapes_of


def abstract_model(
    config: ModelConfig, lora: LoraSettings, mesh: Mesh | None, compute_dtype: Any, device: jax.Device | None = None
) -> Transformer:
    """The model that `load.load_model` returns, with shapes instead of arrays."""
    lora = lora.of_model(config)
    base: Any = base_shapes(config, mesh, compute_dtype, device)
    adapter: Any = adapter_shapes(config, lora, mesh, device)
    return Transformer(config, base, adapter, lora, mesh, compute_dtype)


def _one_device(device: jax.Device | None) -> Sharding:
    return SingleDeviceSharding(device or jax.devices()[0])
