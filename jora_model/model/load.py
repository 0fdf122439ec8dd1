"""Loads weights from safetensors onto the devices, slice by slice: the host never holds a copy of the model."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import ShapeDtypeStruct
from jax.sharding import Mesh

from jora_model.formats.fitted_adapter import FittedAdapter, Tensors, WithReplaced
from jora_model.formats.hf_weights import Checkpoint, check_names
from jora_model.formats.lora import check_start, fresh_adapter
from jora_model.model.abstract import adapter_shapes, base_shapes
from jora_model.model.transformer import Llama
from jora_model.ops.cpu import stored
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
    """Load a Hugging Face folder, with a fresh adapter (`lora`), a trained one in PEFT's format (`adapter`), or, with
    both, a trained one to train further.

    Args:
        lora: together with `adapter`, the settings that it must have, dropout aside.
        seed: of the fresh adapter's A.
        compute_dtype: bf16 holds the weights as bits of bf16; float32 widens them (for tests and comparisons).

    Raises:
        UserError: a file is missing or damaged; a tensor is missing, unknown or of another shape; the adapter has
            other settings than `lora`.
    """
    config = ModelConfig.read(folder)
    checkpoint = Checkpoint(folder)
    check_names(checkpoint, config)
    factors: dict[str, tuple[Any, Any]] = {}
    tensors: Tensors = checkpoint
    if adapter is not None:
        fitted = FittedAdapter(Path(adapter), config, checkpoint)
        lora = fitted.lora if lora is None else check_start(Path(adapter), fitted.lora, lora)
        config, factors = fitted.config, fitted.factors
        # DoRA's factors are in the rows of W and of B; the frozen weights are this model's alone.
        rows = fitted.row_factors(WithReplaced(checkpoint, fitted.replaced))
        tensors = WithReplaced(checkpoint, fitted.replaced, rows)
        factors |= {target: (factors[target][0], factors[target][1] * rows[target][..., None]) for target in rows}
    elif lora is not None:
        factors = fresh_adapter(config, lora, seed)
    shapes = base_shapes(config, mesh, compute_dtype)
    base = {p.name: _place(tensors, p, config, shapes[p.name]) for p in parameters_of(config)}
    placed = {}
    for target, shapes_of in (adapter_shapes(config, lora, mesh) if lora else {}).items():
        a, b = factors[target]
        pair = (a, np.ascontiguousarray(b.swapaxes(1, 2)))
        a, b = (put(x, like.sharding) for x, like in zip(pair, shapes_of, strict=True))
        placed[target] = (a, b)
    return Llama(config, base, placed, lora, mesh, compute_dtype)


def adapter_factors(model: Llama) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The adapter of a model on the host: target -> (A `[L, R, in]`, B `[L, out, R]`). All processes must call this."""
    factors = {}
    for target in LINEAR_BY_NAME:
        linear = getattr(model.layers, target)
        if linear.adapted:
            factors[target] = (gather(linear.lora_a[...]), gather(linear.lora_b[...]).swapaxes(1, 2))
    return factors


def _place(checkpoint: Tensors, parameter: Parameter, config: ModelConfig, like: ShapeDtypeStruct) -> jax.Array:
    """One parameter on its devices. Each device's slice is read from disk when it is placed."""
    names = parameter.hf_names(config.num_layers)

    def read(index: tuple[slice, ...]) -> np.ndarray:
        if not parameter.stacked:
            return stored(_read(checkpoint, names[0], index), like.dtype)
        bounds = [range(*part.indices(size)) for part, size in zip(index, like.shape, strict=True)]
        stack = np.empty([len(part) for part in bounds], like.dtype)
        for row, layer in enumerate(bounds[0]):
            stack[row] = stored(_read(checkpoint, names[layer], index[1:]), like.dtype)
        return stack

    # Blocks: else the host would hold copies of several parameters at once.
    return jax.block_until_ready(jax.make_array_from_callback(like.shape, like.sharding, read))


def _read(checkpoint: Tensors, name: str, index: tuple[slice, ...]) -> np.ndarray:
    part = checkpoint.slice(name)
    bounds = tuple(slice(*s.indices(n)[:2]) for s, n in zip(index, part.get_shape(), strict=True))
    return part[bounds]
