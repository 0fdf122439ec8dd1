"""Weights from safetensors onto the devices: each device's slice is read by itself, no host copy of the model."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import ShapeDtypeStruct
from jax.sharding import Mesh
from safetensors import SafetensorError, safe_open

from jora_model.abstract import adapter_shapes, base_shapes
from jora_model.config import ModelConfig
from jora_model.distributed import put
from jora_model.lora import check_start, fresh_adapter, read_adapter
from jora_model.model import Llama
from jora_model.parameters import Parameter, parameters_of, shape_of
from jora_model.settings import LoraSettings

# Old checkpoints carry buffers that are computed here.
_IGNORED_SUFFIXES = (".rotary_emb.inv_freq",)


class Checkpoint:
    """The tensors of a Hugging Face folder, opened lazily: name -> slices."""

    def __init__(self, folder: Path):
        """Raises ValueError when the folder has no safetensors, or a file is damaged."""
        self.folder = Path(folder)
        self._home = self._find()

    def names(self) -> set[str]:
        """All tensor names."""
        return set(self._home)

    def slice(self, name: str) -> Any:
        """A lazy slice of a tensor (`get_shape()`, indexing reads from disk); let it go once it is read.

        Its file is mapped as long as it lives, and what was read counts as this process's memory: kept open, the
        files of a model would take as much again as the model (measured, bench/loading.py).
        """
        return self._open(self._home[name]).get_slice(name)

    def _find(self) -> dict[str, str]:
        index = self.folder / "model.safetensors.index.json"
        if index.exists():
            return dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
        if not (self.folder / "model.safetensors").exists():
            raise ValueError(
                f"{self.folder} holds neither model.safetensors nor model.safetensors.index.json; "
                "give a Hugging Face folder with safetensors"
            )
        return dict.fromkeys(self._open("model.safetensors").keys(), "model.safetensors")

    def _open(self, file: str) -> Any:
        try:
            return safe_open(self.folder / file, framework="numpy")
        except FileNotFoundError:
            raise ValueError(f"{self.folder} lacks {file}, which its index names") from None
        except SafetensorError as error:
            raise ValueError(f"{self.folder / file} is damaged: {error}") from None


def check_names(checkpoint: Checkpoint, config: ModelConfig) -> None:
    """Every parameter of the table is there with its shape, and nothing else is.

    Raises:
        ValueError: names the missing, the unknown, or the tensor of another shape.
    """
    found = {name for name in checkpoint.names() if not name.endswith(_IGNORED_SUFFIXES)}
    expected = {
        name: shape_of(parameter, config)[1 if parameter.stacked else 0 :]
        for parameter in parameters_of(config)
        for name in parameter.hf_names(config.num_layers)
    }
    if config.tie_embeddings:
        # Some tied checkpoints store the head as well; it is the embedding.
        found.discard("lm_head.weight")
    for what, names in (("lacks", set(expected) - found), ("holds unknown", found - set(expected))):
        if names:
            shown = ", ".join(sorted(names)[:3])
            raise ValueError(
                f"{checkpoint.folder} {what} {len(names)} tensors: {shown}{', ...' if len(names) > 3 else ''}"
            )
    for name, shape in expected.items():
        actual = tuple(checkpoint.slice(name).get_shape())
        if actual != shape:
            raise ValueError(f"{checkpoint.folder}: {name} has shape {actual}; config.json says {shape}")


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
        ValueError: a file is missing or damaged, a tensor is missing, unknown or of another shape; an adapter with
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
