"""Row order of the query and key projections in GGUF files.

llama.cpp rotates pairs of neighbouring rows, Hugging Face the two halves of a head; llama.cpp's converter therefore
interleaves the halves of each head (convert_hf_to_gguf.py, LlamaModel.permute).
"""

import numpy as np

from jora_model.spec.architecture import ARCHITECTURES
from jora_model.spec.config import ModelConfig


def to_gguf_rows(name: str, weight: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Return the tensor with Hugging Face name `name` with its rows interleaved, as llama.cpp expects them."""
    heads = _heads(name, config)
    return weight if heads is None else _swap_axes(weight, (heads, 2, -1, weight.shape[1]))


def from_gguf_rows(name: str, weight: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Return the tensor with Hugging Face name `name` with llama.cpp's interleaving undone."""
    heads = _heads(name, config)
    return weight if heads is None else _swap_axes(weight, (heads, -1, 2, weight.shape[1]))


def _heads(name: str, config: ModelConfig) -> int | None:
    """Number of heads of a projection that is rotated; None for any other tensor."""
    if ARCHITECTURES[config.architecture].gguf not in ("llama", "granite", "smollm3"):
        return None  # llama.cpp rotates halves there too
    if ".q_proj." in name:
        return config.num_heads
    return config.num_kv_heads if ".k_proj." in name else None


def _swap_axes(weight: np.ndarray, split: tuple[int, ...]) -> np.ndarray:
    return weight.reshape(split).swapaxes(1, 2).reshape(weight.shape)
