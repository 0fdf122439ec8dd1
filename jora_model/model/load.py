"""Weights from safetensors onto the devices: each device's slice is read by itself, no host copy of the model."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import ShapeDtypeStruct
from jax.sharding import Mesh

from jora_model.formats.hf_weights import Checkpoint, check_names
from jora_model.formats.lora import check_start, fresh_adapter, read_adapter
from jora_model.model.abstract import adapter_shapes, base_shapes
from jora_model.model.transformer import Llama
from jora_model.runtime.distributed import gather, put
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import LINEAR_BY_NAME, Parameter, parameters_of
from jora_model.spec.settings import LoraSettings


def load_model(
    folder: Path,
    *,
    lora: LoraSettings | None = None,
    adapter: Path | None = None,
    mesh: Mesh | None = None,
    seed: int = 0,
    compute_dtype: Any = jnp.bfloat16,
) -> Llama:
    """Load a Hugging Face folder; with `lora` a fresh adapter, with `adapter` a trained one in PEFT's format, and with
    both the trained one to be trained further.

    Args:
        lora: of a trained adapter, what its settings must be; its dropout is free.
        seed: for the fresh adapter's A.
        compute_dtype: bf16 holds the weights as bf16 bits; float32 widens them (for tests and comparisons).

    Raises:
        UserError: a file is missing or damaged, a tensor is missing, unknown or of another shape; an adapter with
            other settings than `lora`.
    """
    config = ModelConfig.read(folder)
    checkpoint = Checkpoint(folder)
    check_names(checkpoint, config)
    shapes = base_shapes(config, mesh, compute_dtype)
    base = {p.name: _place(checkpoint, p, config, shapes[p.name]) for p in parameters_of(config)}
    factors: dict[str, tuple[Any, Any]] = {}
    if adapter is not None:
        found, factors = read_adapter(Path(adapter), config)
        lora = found if lora is None else check_start(Path(adapter), found, lora)
    elif lora is not None:
        factors = fresh_adapter(config, lora, seed)
    placed = {}
    for target, places in (adapter_shapes(config, lora, mesh) if lora else {}).items():
        a, b = factors[target]
        pair = (a, np.ascontiguousarray(b.swapaxes(1, 2)))
        a, b = (put(x, like.sharding) for x, like in zip(pair, places, strict=True))
        placed[target] = (a, b)
    return Llama(config, base, placed, lora, mesh, compute_dtype)


def adapter_factors(model: Llama) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The adapter of a model on the host: target -> (A `[L, R, in]`, B `[L, out, R]`). Of several processes, all must
    call this."""
    found = {}
    for target in LINEAR_BY_NAME:
        linear = getattr(model.layers, target)
        if linear.adapted:
            found[target] = (gather(linear.lora_a[...]), gather(linear.lora_b[...]).swapaxes(1, 2))
    return found


def _place(checkpoint: Checkpoint, parameter: Parameter, config: ModelConfig, like: ShapeDtypeStruct) -> jax.Array:
    """One parameter on its devices; each device's slice is read from disk when it is placed."""
    names = parameter.hf_names(config.num_layers)
    convert = _as_bits if like.dtype == jnp.uint16 else _as_float32

    def read(index: tuple[slice, ...]) -> np.ndarray:
        if not parameter.stacked:
            return convert(_read(checkpoint, names[0], index))
        bounds = [range(*part.indices(size)) for part, size in zip(index, like.shape, strict=True)]
        stack = np.empty([len(part) for part in bounds], like.dtype)
        for place, layer in enumerate(bounds[0]):
            stack[place] = convert(_read(checkpoint, names[layer], index[1:]))
        return stack

    # Waited for: else the host copies of several parameters would live at once.
    return jax.block_until_ready(jax.make_array_from_callback(like.shape, like.sharding, read))


def _read(checkpoint: Checkpoint, name: str, index: tuple[slice, ...]) -> np.ndarray:
    part = checkpoint.slice(name)
    bounds = tuple(slice(*s.indices(n)[:2]) for s, n in zip(index, part.get_shape(), strict=True))
    return part[bounds]


def _as_bits(x: np.ndarray) -> np.ndarray:
    return x.astype(ml_dtypes.bfloat16, copy=False).view(np.uint16)


def _as_float32(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32)
