"""Loads weights from safetensors onto the devices, slice by slice: the host never holds a copy of the model."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import ShapeDtypeStruct
from jax.sharding import Mesh

from jora_model.formats.fitted_adapter import FittedAdapter, Tensors, WithReplaced
from jora_model.formats.hf_weights import facts_and_weights
from jora_model.formats.lora import check_start, fresh_adapter
from jora_model.model.abstract import adapter_shapes, base_shapes
from jora_model.model.transformer import Transformer
from jora_model.ops.cpu import stored
from jora_model.ops.dora import stacked_lengths
from jora_model.runtime.distributed import gather, put
from jora_model.spec.config import ModelConfig
from jora_model.spec.parameters import Parameter, parameters_of
from jora_model.spec.settings import LoraSettings

_CONVERTED = 1 << 24  # weights that are converted to the dtype of the devices at once


def load_model(
    folder: Path,
    *,
    lora: LoraSettings | None = None,
    adapter: Path | None = None,
    mesh: Mesh | None = None,
    seed: int = 0,
    compute_dtype: Any = jnp.bfloat16,
    rounded: bool = False,
) -> Transformer:
    """Load a Hugging Face folder, with a fresh adapter (`lora`), a trained one in PEFT's format (`adapter`), or, with
    both, a trained one to train further.

    Args:
        lora: together with `adapter`, the settings that it must have, dropout aside. Without it, DoRA's factors are
            multiplied into the rows of the frozen weights and of B, and the model has plain LoRA.
        seed: of the fresh adapter's A.
        compute_dtype: bf16 holds the weights as bits of bf16; float32 widens them (for tests and comparisons).
        rounded: round float16 weights to bf16 before they are widened, as training in bf16 does.

    Raises:
        UserError: a file is missing or damaged; a tensor is missing, unknown or of another shape or dtype, or holds
            NaN; the adapter has other settings than `lora`.
    """
    config, checkpoint = facts_and_weights(folder, rounded)
    factors: dict[str, tuple[Any, Any]] = {}
    magnitudes: dict[str, np.ndarray] = {}
    tensors: Tensors = checkpoint
    if adapter is not None:
        fitted = FittedAdapter(Path(adapter), config, checkpoint)
        config, factors, rows = fitted.config, fitted.factors, {}
        if lora is not None:
            lora = check_start(Path(adapter), fitted.lora, lora.of_model(config))
            magnitudes = fitted.magnitudes
        else:
            # Not trained: the frozen weights are this model's alone.
            lora = fitted.lora.model_copy(update={"use_dora": False})
            rows = fitted.row_factors(WithReplaced(checkpoint, fitted.replaced))
            factors |= {target: (factors[target][0], factors[target][1] * rows[target][..., None]) for target in rows}
        tensors = WithReplaced(checkpoint, fitted.replaced, rows)
    elif lora is not None:
        lora = lora.of_model(config)
        factors = fresh_adapter(config, lora, seed)
    shapes = base_shapes(config, mesh, compute_dtype)
    base = {p.name: _place(tensors, p, config, shapes[p.name]) for p in parameters_of(config)}
    placed: dict[str, tuple[jax.Array, ...]] = {}
    for target, (like_a, like_b, *like_m) in (adapter_shapes(config, lora, mesh) if lora else {}).items():
        a, b = factors[target]
        placed[target] = put(a, like_a.sharding), put(np.ascontiguousarray(b.swapaxes(1, 2)), like_b.sharding)
        if lora and like_m:
            sharding, given = like_m[0].sharding, magnitudes.get(target)
            # A fresh m is the length of the weight's row, as in PEFT.
            lengths = jax.jit(partial(stacked_lengths, scale=lora.scale), out_shardings=sharding)
            placed[target] += (lengths(base[target], *placed[target]) if given is None else put(given, sharding),)
    return Transformer(config, base, placed, lora, mesh, compute_dtype)


def adapter_factors(model: Transformer) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The adapter of a model on the host: target -> (A `[L, R, in]`, B `[L, out, R]`). All processes must call this."""
    factors = {}
    for target, linear in model.layers.linears.items():
        if linear.adapted:
            factors[target] = (gather(linear.lora_a[...]), gather(linear.lora_b[...]).swapaxes(1, 2))
    return factors


def adapter_magnitudes(model: Transformer) -> dict[str, np.ndarray]:
    """DoRA's magnitudes on the host: target -> m `[L, out]`; empty for LoRA. All processes must call this."""
    return {name: gather(linear.lora_m[...]) for name, linear in model.layers.linears.items() if linear.use_dora}


def _place(checkpoint: Tensors, parameter: Parameter, config: ModelConfig, like: ShapeDtypeStruct) -> jax.Array:
    """One parameter on its devices. Each device's slice is read from disk when it is placed."""
    names = parameter.hf_names(config.num_layers)

    def read(index: tuple[slice, ...]) -> np.ndarray:
        bounds = [range(*part.indices(size)) for part, size in zip(index, like.shape, strict=True)]
        stack = np.empty([len(part) for part in bounds], like.dtype)
        if parameter.stacked:
            for row, layer in enumerate(bounds[0]):
                _read(checkpoint, names[layer], bounds[1:], stack[row])
        else:
            _read(checkpoint, names[0], bounds, stack)
        return stack

    # Blocks: else the host would hold copies of several parameters at once.
    return jax.block_until_ready(jax.make_array_from_callback(like.shape, like.sharding, read))


def read_tensor(tensors: Tensors, name: str, dtype: Any) -> np.ndarray:
    """A whole tensor on the host, as a `storage_dtype`."""
    shape = tuple(tensors.slice(name).get_shape())
    out = np.empty(shape, dtype)
    _read(tensors, name, [range(size) for size in shape], out)
    return out


def _read(checkpoint: Tensors, name: str, bounds: list[range], out: np.ndarray) -> None:
    """Read a part of a tensor into `out`, a few rows at a time: to convert an array holds Python's lock."""
    part = checkpoint.slice(name)
    step = max(_CONVERTED // max(out[0].size, 1), 1) if len(out) else 1
    inner = tuple(slice(dim.start, dim.stop) for dim in bounds[1:])
    for begin in range(0, len(out), step):
        rows = slice(bounds[0].start + begin, min(bounds[0].start + begin + step, bounds[0].stop))
        out[begin : begin + step] = stored(part[(rows, *inner)], out.dtype)
